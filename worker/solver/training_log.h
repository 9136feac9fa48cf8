// Caffe's log lines, to the letter: people's scripts parse them.
#ifndef CSSP_WORKER_SOLVER_TRAINING_LOG_H_
#define CSSP_WORKER_SOLVER_TRAINING_LOG_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/sync/parameter_sync.h"

namespace cssp {

// Means over a test pass.
struct TestScores {
  std::vector<OutputSample> outputs;
  double loss = 0;          // of test_compute_loss
  bool interrupted = false;  // stopped half way: no scores
};

// Loss over the last `window` iterations, as BVLC's UpdateSmoothedLoss has it.
// Thread-confined: the training thread.
class LossSmoother {
 public:
  explicit LossSmoother(int window) : window_(window < 1 ? 1 : window) {}
  void Reset();
  // The smoothed loss after `loss`; `step` counts iterations since Reset.
  float Add(float loss, int64_t step);

 private:
  const int64_t window_;
  std::vector<float> losses_;
  float smoothed_ = 0;
};

// "Iteration N (X iter/s, Ys/Z iters), loss = L" and the output lines.
void LogDisplay(int64_t iter, int64_t iterations, double seconds,
                int display, float smoothed_loss,
                absl::Span<const OutputSample> outputs);
// "Iteration N, lr = R"
void LogRate(int64_t iter, float rate);
// "Iteration N, data wait = Ws of Ts": seconds that training stood still for
// records since the last display.  Only where that is 1 % or more.
void LogDataWait(int64_t iter, double waited, double seconds);
// lr_policy multistep has moved on (before the rate's line).
void LogStepTaken(int64_t iter, int step);
// clip_gradients at work, each time.
void LogClipping(float norm, float bound, float factor);
// "Iteration N, loss = L": the last line's form, after the last iteration.
void LogFinalLoss(int64_t iter, float smoothed_loss);
// "Iteration N, Testing net (#k)"
void LogTestBegin(int64_t iter, int net);
// "Test loss: L" when `compute_loss`, and the output lines.
void LogTestScores(const TestScores& scores, bool compute_loss);

}  // namespace cssp

#endif  // CSSP_WORKER_SOLVER_TRAINING_LOG_H_
