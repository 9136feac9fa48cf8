#include "worker/tools/upgrades.h"

#include <unistd.h>

#include <iostream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/model_file/atomic_file.h"
#include "common/model_file/caffemodel.h"
#include "common/model_file/prototxt.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/message_differencer.h"
#include "worker/net/net_passes.h"
#include "worker/tools/arguments.h"

namespace cssp {
namespace {

using google::protobuf::util::MessageDifferencer;

absl::Status WriteText(const google::protobuf::Message& message,
                       const std::string& path) {
  std::string text;
  google::protobuf::TextFormat::PrintToString(message, &text);
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  const char* at = text.data();
  for (size_t left = text.size(); left > 0;) {
    const ssize_t written = write(file.fd(), at, left);
    if (written <= 0)
      return absl::ResourceExhaustedError(
          absl::StrCat(path, ": cannot be written: is the disk full?"));
    at += written;
    left -= static_cast<size_t>(written);
  }
  return file.Commit();
}

// The nets that stand in the solver itself.
absl::Status UpgradeNetsInside(caffe::SolverParameter* solver) {
  std::vector<caffe::NetParameter*> nets;
  if (solver->has_net_param()) nets.push_back(solver->mutable_net_param());
  if (solver->has_train_net_param())
    nets.push_back(solver->mutable_train_net_param());
  for (caffe::NetParameter& net : *solver->mutable_test_net_param())
    nets.push_back(&net);
  for (caffe::NetParameter* net : nets) {
    ASSIGN_OR_RETURN(*net, UpgradeNet(*net));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> UpgradeNetText(const std::string& in,
                                    const std::string& out) {
  ASSIGN_OR_RETURN(const caffe::NetParameter old, ReadNetText(in));
  absl::StatusOr<caffe::NetParameter> net = UpgradeNet(old);
  if (!net.ok()) return Annotate(net.status(), in);
  RETURN_IF_ERROR(WriteText(*net, out));
  return !MessageDifferencer::Equals(old, *net);
}

absl::StatusOr<bool> UpgradeNetBinary(const std::string& in,
                                      const std::string& out) {
  ASSIGN_OR_RETURN(const caffe::NetParameter old, ReadCaffemodel(in));
  absl::StatusOr<caffe::NetParameter> net = UpgradeNet(old);
  if (!net.ok()) return Annotate(net.status(), in);
  RETURN_IF_ERROR(WriteCaffemodel(*net, out));
  return !MessageDifferencer::Equals(old, *net);
}

absl::StatusOr<bool> UpgradeSolverText(const std::string& in,
                                       const std::string& out) {
  caffe::SolverParameter old;
  RETURN_IF_ERROR(ReadTextFile(in, &old));
  ASSIGN_OR_RETURN(caffe::SolverParameter solver, ReadSolver(in));
  RETURN_IF_ERROR(Annotate(UpgradeNetsInside(&solver), in));
  RETURN_IF_ERROR(WriteText(solver, out));
  return !MessageDifferencer::Equals(old, solver);
}

int UpgradeMain(const char* tool, int argc, char** argv,
                absl::StatusOr<bool> (*upgrade)(const std::string&,
                                                const std::string&)) {
  InitLogging(argv[0]);
  const auto run = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const Arguments arguments, ParseArguments(argc, argv, {}));
    const std::string usage = absl::StrCat(tool, " IN OUT");
    if (arguments.help) {
      std::cout << usage
                << "\nWrites IN in today's form: fields that were renamed, "
                   "layers that changed.\n";
      return absl::OkStatus();
    }
    if (arguments.positional.size() != 2)
      return absl::InvalidArgumentError(absl::StrCat("usage: ", usage));
    const std::string& in = arguments.positional[0];
    const std::string& out = arguments.positional[1];
    ASSIGN_OR_RETURN(const bool changed, upgrade(in, out));
    if (!changed) LOG(INFO) << "File already in latest proto format: " << in;
    LOG(INFO) << "Wrote upgraded file to " << out;
    return absl::OkStatus();
  };
  return ExitCodeFor(tool, run());
}

}  // namespace cssp
