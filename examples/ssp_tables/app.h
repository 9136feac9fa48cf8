// What the three programs share: joining a job of tables, and one clock's order
// of things.
#ifndef CSSP_EXAMPLES_SSP_TABLES_APP_H_
#define CSSP_EXAMPLES_SSP_TABLES_APP_H_

#include <cstdint>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "worker/sync/table_session.h"

namespace cssp::examples {

// Thread-confined: the program's thread.  A program is
//   NAME COORDINATOR JOB TOKEN_FILE RANK CLOCKS CLOCK_MS STRAGGLER CSV [eager]
// CLOCK_MS: a clock computes at least so long (the rest is slept), STRAGGLER
// times as long where this worker's turn has come: in clock c it is that of
// rank c mod workers.  CSV gets a line a clock.
class App {
 public:
  // Runs `program` and gives the process's exit code.  It does all its work
  // between the App's calls, and is given to Finish by this function.
  static int Main(int argc, char** argv,
                  const std::function<absl::Status(App&)>& program);

  TableSession& tables() { return *tables_; }
  int rank() const { return tables_->rank(); }
  int workers() const { return tables_->workers(); }
  int64_t clocks() const { return clocks_; }

  // Before the clock's reads; after them, before the computing.
  void BeginClock();
  void BeginCompute();
  // After the increments.  `objective`: this worker's part of it; the parts of
  // all workers add up.
  absl::Status EndClock(double objective);

 private:
  App() = default;
  absl::Status Join(char** argv, bool eager);

  std::unique_ptr<TableSession> tables_;
  int64_t clocks_ = 0;
  absl::Duration least_;
  double straggler_ = 1;
  std::ofstream csv_;
  absl::Time start_, clock_begin_, compute_begin_;
};

// The same numbers for the same (seed, stream) everywhere.
std::mt19937_64 Random(uint64_t seed, uint64_t stream);

}  // namespace cssp::examples

#endif  // CSSP_EXAMPLES_SSP_TABLES_APP_H_
