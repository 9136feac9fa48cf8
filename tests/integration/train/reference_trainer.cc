#include "tests/integration/train/reference_trainer.h"

#include <algorithm>
#include <cstring>

#include "common/base/status_macros.h"
#include "common/optim/bfloat16.h"
#include "common/optim/update_rule.h"
#include "worker/layers/builtin_layers.h"
#include "worker/solver/solver_nets.h"

namespace cssp {
namespace {

void Round(std::vector<float>& values) {
  std::vector<uint16_t> packed(values.size());
  PackBf16(values, absl::MakeSpan(packed));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t bits = uint32_t{packed[i]} << 16;
    std::memcpy(&values[i], &bits, sizeof(bits));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<ReferenceTrainer>> ReferenceTrainer::Create(
    const caffe::SolverParameter& solver, int workers,
    std::unique_ptr<Device> device) {
  auto trainer = std::unique_ptr<ReferenceTrainer>(
      new ReferenceTrainer(solver, workers));
  RETURN_IF_ERROR(RegisterCpuLayers(trainer->layers_));
  RETURN_IF_ERROR(RegisterCudaLayers(trainer->layers_));
  trainer->device_ = device != nullptr ? std::move(device) : MakeCpuDevice(1);
  NetSetOptions options;
  options.seed = static_cast<uint64_t>(solver.random_seed());
  options.with_tests = false;
  options.log_creation = false;
  ASSIGN_OR_RETURN(NetSet nets, CreateNets(solver, trainer->layers_,
                                           *trainer->device_, options));
  trainer->net_ = std::move(nets.train);
  trainer->batch_ = BatchSize(*trainer->net_);
  ASSIGN_OR_RETURN(trainer->sync_, LocalSync::Create(solver, *trainer->net_));
  trainer->parts_.resize(workers);
  return trainer;
}

absl::Status ReferenceTrainer::Run(int64_t clocks) {
  for (int64_t clock = 0; clock < clocks; ++clock)
    RETURN_IF_ERROR(Clock(clock));
  return absl::OkStatus();
}

absl::Status ReferenceTrainer::Clock(int64_t clock) {
  const int passes = solver_.iter_size();
  double mean_loss = 0;
  for (int rank = 0; rank < workers_; ++rank) {
    double rank_loss = 0;
    for (int pass = 0; pass < passes; ++pass) {
      StepState state;
      state.clock = clock;
      state.pass = pass;
      state.rank = rank;
      state.seed = static_cast<uint64_t>(solver_.random_seed());
      state.first_record =
          ((clock * passes + pass) * workers_ + rank) * batch_;
      double loss = 0;
      RETURN_IF_ERROR(net_->ForwardBackward(state, pass == passes - 1, &loss));
      rank_loss += loss;
    }
    mean_loss += rank_loss / passes;
    const absl::Span<float> gradients =
        net_->gradients(net_->last_generation());
    parts_[rank].assign(gradients.begin(), gradients.end());
    if (rounds_) Round(parts_[rank]);
  }
  std::vector<const float*> parts;
  for (const std::vector<float>& part : parts_) parts.push_back(part.data());
  mean_.resize(parts_[0].size());
  SumParts(parts, 1.0f / static_cast<float>(workers_), absl::MakeSpan(mean_));
  sync_->ObserveLoss(clock, static_cast<float>(mean_loss / workers_));
  RETURN_IF_ERROR(sync_->Update(clock, mean_));
  net_->WeightsChanged();
  return absl::OkStatus();
}

}  // namespace cssp
