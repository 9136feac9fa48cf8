#include "worker/solver/training_log.h"

#include <sstream>

#include "common/base/logging.h"

namespace cssp {
namespace {

void LogOutputs(const char* net, absl::Span<const OutputSample> outputs) {
  int number = 0;
  for (const OutputSample& output : outputs) {
    std::ostringstream loss;
    if (output.loss_weight != 0) {
      loss << " (* " << output.loss_weight << " = "
           << output.loss_weight * output.value << " loss)";
    }
    LOG(INFO) << "    " << net << " net output #" << number++ << ": "
              << output.name << " = " << output.value << loss.str();
  }
}

}  // namespace

void LossSmoother::Reset() {
  losses_.clear();
  smoothed_ = 0;
}

float LossSmoother::Add(float loss, int64_t step) {
  if (static_cast<int64_t>(losses_.size()) < window_) {
    losses_.push_back(loss);
    const auto size = static_cast<float>(losses_.size());
    smoothed_ = (smoothed_ * (size - 1) + loss) / size;
  } else if (window_ == 1) {
    smoothed_ = loss;
  } else {
    const int64_t index = step % window_;
    smoothed_ += (loss - losses_[index]) / static_cast<float>(window_);
    losses_[index] = loss;
  }
  return smoothed_;
}

void LogDisplay(int64_t iter, int64_t iterations, double seconds, int display,
                float smoothed_loss, absl::Span<const OutputSample> outputs) {
  const auto lapse = static_cast<float>(seconds);
  const float per_second =
      static_cast<float>(iterations) / (lapse > 0 ? lapse : 1);
  LOG(INFO) << "Iteration " << iter << " (" << per_second << " iter/s, "
            << lapse << "s/" << display << " iters), loss = " << smoothed_loss;
  LogOutputs("Train", outputs);
}

void LogRate(int64_t iter, float rate) {
  LOG(INFO) << "Iteration " << iter << ", lr = " << rate;
}

void LogDataWait(int64_t iter, double waited, double seconds) {
  if (waited <= 0 || waited < 0.01 * seconds) return;
  LOG(INFO) << "Iteration " << iter << ", data wait = "
            << static_cast<float>(waited) << "s of "
            << static_cast<float>(seconds) << "s";
}

void LogStepTaken(int64_t iter, int step) {
  LOG(INFO) << "MultiStep Status: Iteration " << iter << ", step = " << step;
}

void LogClipping(float norm, float bound, float factor) {
  LOG(INFO) << "Gradient clipping: scaling down gradients (L2 norm " << norm
            << " > " << bound << ") by scale factor " << factor;
}

void LogFinalLoss(int64_t iter, float smoothed_loss) {
  LOG(INFO) << "Iteration " << iter << ", loss = " << smoothed_loss;
}

void LogTestBegin(int64_t iter, int net) {
  LOG(INFO) << "Iteration " << iter << ", Testing net (#" << net << ")";
}

void LogTestScores(const TestScores& scores, bool compute_loss) {
  if (compute_loss) LOG(INFO) << "Test loss: " << scores.loss;
  LogOutputs("Test", scores.outputs);
}

}  // namespace cssp
