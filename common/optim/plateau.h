// When lr_policy plateau takes its steps: the one policy that follows the loss.
#ifndef CSSP_COMMON_OPTIM_PLATEAU_H_
#define CSSP_COMMON_OPTIM_PLATEAU_H_

#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/caffe.pb.h"
#include "proto/checkpoint.pb.h"

namespace cssp {

// All that a resumed run needs to go on as if it had never stopped.
struct PlateauState {
  float smoothed_loss = 0;
  float minimum_loss = std::numeric_limits<float>::max();
  int64_t last_event = 0;  // clock of the last improvement or step
  int step = 0;            // the rate is base_lr * gamma^step
};

PlateauRecord ToRecord(const PlateauState& state);
// A record that does not say stands for the beginning.
PlateauState FromRecord(const PlateauRecord& record);

// Thread-confined: the training or the shard thread.  A pure recurrence on the
// losses:
//   smoothed += (loss - smoothed) / min(clock + 1, average_loss)
//   smoothed < minimum:                  an improvement
//   clock - last_event >= plateau_winsize[step]:  a step; the search for a
//                                                 minimum starts again
class PlateauTracker {
 public:
  // InvalidArgument: no plateau_winsize, or one that is not positive.
  static absl::StatusOr<PlateauTracker> Create(
      const caffe::SolverParameter& solver);

  // The mean loss of `clock`, once for each clock in order.  A loss that is
  // not finite improves nothing and is not remembered.
  void Observe(int64_t clock, float loss);

  const PlateauState& state() const { return state_; }
  void Restore(const PlateauState& state) { state_ = state; }

 private:
  int64_t Window() const;

  std::vector<int> winsize_;  // the last entry repeats
  int64_t average_loss_ = 1;
  PlateauState state_;
};

}  // namespace cssp

#endif  // CSSP_COMMON_OPTIM_PLATEAU_H_
