// One pass of a test net over its batches.
#ifndef CSSP_WORKER_SOLVER_TESTER_H_
#define CSSP_WORKER_SOLVER_TESTER_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/net/net.h"
#include "worker/solver/training_log.h"
#include "worker/sync/parameter_sync.h"

namespace cssp {

// The elements of the net's output blobs, in Caffe's order.
std::vector<OutputSample> Outputs(Net& net);

// Runs batches 0 .. batches-1 and averages the outputs.  Every pass sees the
// same records, whatever ran before.  `interrupted` is asked before each batch
// (may be empty).  `on_batch` (may be empty) is given each batch's outputs.
struct TestOptions {
  int batches = 1;
  uint64_t seed = 1;
  std::function<bool()> interrupted;
  std::function<void(int batch, const std::vector<OutputSample>&)> on_batch;
};
absl::StatusOr<TestScores> RunTest(Net& net, const TestOptions& options);

}  // namespace cssp

#endif  // CSSP_WORKER_SOLVER_TESTER_H_
