#include "examples/ssp_tables/app.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp::examples {

int App::Main(int argc, char** argv,
              const std::function<absl::Status(App&)>& program) {
  if (argc != 9 && argc != 10) {
    std::fprintf(stderr,
                 "usage: %s COORDINATOR JOB TOKEN_FILE RANK CLOCKS CLOCK_MS "
                 "STRAGGLER CSV [eager]\n",
                 argv[0]);
    return 2;
  }
  App app;
  absl::Status status = app.Join(argv, argc == 10);
  if (status.ok()) status = program(app);
  if (status.ok()) status = app.tables_->Finish();
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s: %s\n", argv[0], status.ToString().c_str());
  return 1;
}

absl::Status App::Join(char** argv, bool eager) {
  TableSessionOptions options;
  options.coordinator = argv[1];
  options.job = argv[2];
  std::ifstream(argv[3]) >> options.token;
  options.rank = std::atoi(argv[4]);
  options.eager = eager;
  clocks_ = std::atoll(argv[5]);
  least_ = absl::Milliseconds(std::atof(argv[6]));
  straggler_ = std::atof(argv[7]);
  csv_.open(argv[8]);
  csv_ << "clock,seconds,compute,wait,objective\n";
  if (!csv_)
    return absl::InvalidArgumentError(
        absl::StrCat("cannot write ", argv[8]));
  ASSIGN_OR_RETURN(tables_, TableSession::Join(options));
  start_ = absl::Now();
  return absl::OkStatus();
}

void App::BeginClock() { clock_begin_ = absl::Now(); }

void App::BeginCompute() { compute_begin_ = absl::Now(); }

absl::Status App::EndClock(double objective) {
  const bool slow = tables_->clock() % workers() == rank();
  const absl::Duration due = least_ * (slow ? straggler_ : 1);
  absl::SleepFor(due - (absl::Now() - compute_begin_));
  const absl::Time computed = absl::Now();
  const int64_t clock = tables_->clock();
  RETURN_IF_ERROR(tables_->Clock());
  csv_ << clock << "," << absl::ToDoubleSeconds(computed - start_) << ","
       << absl::ToDoubleSeconds(computed - compute_begin_) << ","
       << absl::ToDoubleSeconds(compute_begin_ - clock_begin_) << ","
       << objective << std::endl;
  return absl::OkStatus();
}

std::mt19937_64 Random(uint64_t seed, uint64_t stream) {
  std::seed_seq words = {seed, seed >> 32, stream, stream >> 32};
  return std::mt19937_64(words);
}

}  // namespace cssp::examples
