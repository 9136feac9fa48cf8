// What P workers at s = 0 must give, computed in one process: the P sub-batches
// one after the other, summed in rank order, times 1/P, one update.
#ifndef CSSP_TESTS_INTEGRATION_TRAIN_REFERENCE_TRAINER_H_
#define CSSP_TESTS_INTEGRATION_TRAIN_REFERENCE_TRAINER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/device/device.h"
#include "proto/caffe.pb.h"
#include "worker/net/layer_registry.h"
#include "worker/net/net.h"
#include "worker/solver/local_sync.h"

namespace cssp {

// Thread-confined: the test.  On `device`; null: the processor, one thread.
class ReferenceTrainer {
 public:
  // REQUIRES: nets inlined, random_seed set.
  static absl::StatusOr<std::unique_ptr<ReferenceTrainer>> Create(
      const caffe::SolverParameter& solver, int workers,
      std::unique_ptr<Device> device = nullptr);

  // Gradients are rounded as JobSpec.wire BF16 does.  REQUIRES: no statistics.
  void RoundGradients() { rounds_ = true; }
  absl::Status Run(int64_t clocks);
  Net& net() { return *net_; }
  LocalSync& sync() { return *sync_; }

 private:
  ReferenceTrainer(const caffe::SolverParameter& solver, int workers)
      : solver_(solver), workers_(workers) {}
  absl::Status Clock(int64_t clock);

  const caffe::SolverParameter solver_;
  const int workers_;
  LayerRegistry layers_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Net> net_;
  std::unique_ptr<LocalSync> sync_;
  std::vector<std::vector<float>> parts_;
  std::vector<float> mean_;
  int64_t batch_ = 1;
  bool rounds_ = false;
};

}  // namespace cssp

#endif  // CSSP_TESTS_INTEGRATION_TRAIN_REFERENCE_TRAINER_H_
