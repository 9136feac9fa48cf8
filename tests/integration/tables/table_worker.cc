// One worker of HelloSSP (Ho et al., NIPS 2013): every clock it reads all rows,
// checks what it may and must see, and adds 1 to its own column of each.
//   table_worker COORDINATOR JOB TOKEN_FILE RANK CLOCKS
//                [hang | flush=FILE | sums=FILE]
// `hang`: stops after half of the clocks and waits to be killed.  `flush`: waits
// in each clock until its increments are held, then writes how many clocks are;
// row 0 at the end goes to FILE.sums.  `sums`: the latter only.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "worker/sync/table_session.h"

namespace cssp {
namespace {

absl::Status CheckRow(const TableSession& tables, int64_t row,
                      const std::vector<float>& values, int64_t clocks) {
  const int64_t clock = tables.clock();
  const int64_t slack = tables.staleness();
  for (int q = 0; q < tables.workers(); ++q) {
    const auto seen = static_cast<int64_t>(values[q]);
    // The last worker may have died: its column may stop anywhere.
    const bool own = q == tables.rank();
    const bool good = own ? seen == std::min(clock, clocks)
                          : seen <= std::min(clock + slack + 1, clocks) &&
                                (q == tables.workers() - 1 ||
                                 seen >= std::min(clock - slack, clocks));
    if (good) continue;
    return absl::InternalError(absl::StrCat("rank ", tables.rank(),
                                            " in clock ", clock, " sees ", seen,
                                            " of rank ", q, " in row ", row));
  }
  return absl::OkStatus();
}

absl::Status ReadAll(TableSession& tables, int64_t clocks) {
  for (int table = 0; table < tables.num_tables(); ++table) {
    std::vector<float> values(tables.width(table));
    for (int64_t row = 0; row < tables.rows(table); ++row) {
      RETURN_IF_ERROR(tables.Get(table, row, absl::MakeSpan(values)));
      RETURN_IF_ERROR(CheckRow(tables, row, values, clocks));
    }
  }
  return absl::OkStatus();
}

// A kill leaves the whole line of the last clock that was held.
absl::Status FlushAndTell(TableSession& tables, const std::string& file) {
  RETURN_IF_ERROR(tables.Flush());
  const std::string temporary = file + ".new";
  std::ofstream(temporary) << tables.clock() << "\n";
  if (std::rename(temporary.c_str(), file.c_str()) == 0)
    return absl::OkStatus();
  return absl::InternalError(absl::StrCat("cannot write ", file));
}

absl::Status Run(const TableSessionOptions& options, int64_t clocks,
                 absl::string_view mode) {
  const bool hang = mode == "hang";
  const bool flush = absl::ConsumePrefix(&mode, "flush=");
  const bool tell = absl::ConsumePrefix(&mode, "sums=") || flush;
  ASSIGN_OR_RETURN(const auto tables, TableSession::Join(options));
  for (int64_t clock = tables->clock(); clock < clocks; ++clock) {
    if (hang && clock == clocks / 2) {
      std::puts("hanging");
      std::fflush(stdout);
      pause();
    }
    RETURN_IF_ERROR(ReadAll(*tables, clocks));
    for (int table = 0; table < tables->num_tables(); ++table) {
      std::vector<float> delta(tables->width(table));
      delta[tables->rank()] = 1;
      for (int64_t row = 0; row < tables->rows(table); ++row) {
        RETURN_IF_ERROR(tables->Inc(table, row, delta));
      }
    }
    RETURN_IF_ERROR(tables->Clock());
    if (flush) RETURN_IF_ERROR(FlushAndTell(*tables, std::string(mode)));
  }
  // After s more clocks a read holds everything of the first `clocks`.
  for (int i = 0; i < tables->staleness(); ++i) {
    RETURN_IF_ERROR(tables->Clock());
  }
  std::vector<float> values(tables->width(0));
  RETURN_IF_ERROR(tables->Get(0, 0, absl::MakeSpan(values)));
  std::ofstream sums(tell ? std::string(mode) + ".sums" : "/dev/stdout");
  for (float value : values) sums << value << " ";
  sums << std::endl;
  RETURN_IF_ERROR(ReadAll(*tables, clocks));
  return tables->Finish();
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  cssp::TableSessionOptions options;
  options.coordinator = argv[1];
  options.job = argv[2];
  std::ifstream(argv[3]) >> options.token;
  options.rank = std::atoi(argv[4]);
  options.timeout = absl::Seconds(60);
  const absl::Status status = cssp::Run(options, std::atoll(argv[5]), argc > 6 ? argv[6] : "");
  if (status.ok()) return 0;
  std::fprintf(stderr, "table_worker: %s\n", status.ToString().c_str());
  return 1;
}
