// A solver's own upgrades and the files that it names.
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "common/model_file/file_bytes.h"
#include "common/model_file/prototxt.h"

namespace cssp {
namespace {

// In the order of the legacy enum.
constexpr const char* kSolverTypes[] = {"SGD",     "Nesterov", "AdaGrad",
                                        "RMSProp", "AdaDelta", "Adam"};

bool IsDirectory(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

absl::string_view FolderOf(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == absl::string_view::npos ? absl::string_view()
                                          : path.substr(0, slash + 1);
}

// "examples/lenet_solver.prototxt" -> "examples/lenet_solver".
absl::string_view WithoutExtension(absl::string_view path) {
  const size_t name = FolderOf(path).size();
  const size_t dot = path.rfind('.');
  return dot == absl::string_view::npos || dot <= name ? path
                                                       : path.substr(0, dot);
}

absl::StatusOr<caffe::NetParameter> ReadBeside(const std::string& path,
                                               const std::string& solver) {
  ASSIGN_OR_RETURN(const std::string found, ResolvePath(path, solver));
  return ReadNetText(found);
}

}  // namespace

absl::Status UpgradeSolver(const std::string& path,
                           caffe::SolverParameter* solver) {
  if (solver->has_solver_type()) {
    if (solver->has_type())
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": both solver_type and type are set: keep type"));
    solver->set_type(kSolverTypes[solver->solver_type()]);
    solver->clear_solver_type();
  }
  const absl::string_view stem = WithoutExtension(path);
  if (!solver->has_snapshot_prefix()) {
    solver->set_snapshot_prefix(std::string(stem));
  } else if (IsDirectory(solver->snapshot_prefix())) {
    const char* separator =
        absl::EndsWith(solver->snapshot_prefix(), "/") ? "" : "/";
    solver->set_snapshot_prefix(
        absl::StrCat(solver->snapshot_prefix(), separator,
                     stem.substr(FolderOf(stem).size())));
  }
  return absl::OkStatus();
}

absl::StatusOr<caffe::SolverParameter> ReadSolver(const std::string& path) {
  caffe::SolverParameter solver;
  RETURN_IF_ERROR(ReadTextFile(path, &solver));
  RETURN_IF_ERROR(UpgradeSolver(path, &solver));
  return solver;
}

absl::StatusOr<std::string> ResolvePath(const std::string& path,
                                        const std::string& beside) {
  if (path.empty()) return absl::InvalidArgumentError("an empty file name");
  if (Exists(path)) return path;
  const std::string second = absl::StrCat(FolderOf(beside), path);
  if (path[0] == '/' || second == path)
    return absl::NotFoundError(absl::StrCat("'", path, "': no such file"));
  if (Exists(second)) return second;
  return absl::NotFoundError(
      absl::StrCat("'", path, "': no such file, nor '", second, "'"));
}

absl::Status InlineNets(const std::string& solver_path,
                        caffe::SolverParameter* solver) {
  caffe::SolverParameter inlined;  // moved in when nothing can fail any more
  if (solver->has_net()) {
    if (solver->has_net_param())
      return absl::InvalidArgumentError(absl::StrCat(
          solver_path, ": both net and net_param are set: keep one"));
    ASSIGN_OR_RETURN(*inlined.mutable_net_param(),
                     ReadBeside(solver->net(), solver_path));
  }
  if (solver->has_train_net()) {
    if (solver->has_train_net_param())
      return absl::InvalidArgumentError(
          absl::StrCat(solver_path,
                       ": both train_net and train_net_param are set: "
                       "keep one"));
    ASSIGN_OR_RETURN(*inlined.mutable_train_net_param(),
                     ReadBeside(solver->train_net(), solver_path));
  }
  for (const std::string& path : solver->test_net()) {
    ASSIGN_OR_RETURN(*inlined.add_test_net_param(),
                     ReadBeside(path, solver_path));
  }
  solver->clear_net();
  solver->clear_train_net();
  solver->clear_test_net();
  solver->MergeFrom(inlined);  // appends the test nets
  return absl::OkStatus();
}

}  // namespace cssp
