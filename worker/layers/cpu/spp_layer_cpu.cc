#include "worker/layers/spp_layer.h"

#include <vector>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/pool_kernels.h"

namespace cssp::cpu {
namespace {

// Item by item and level by level, so that each level's result is where the
// top wants it.  Thread-confined: the training thread.
class SppLayerCpu final : public SppLayer {
 public:
  using SppLayer::SppLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const Shape& in = bottom[0].shape;
    items_ = in.dim(0);
    bottom_item_ = in.count_from(1);
    top_item_ = top[0].shape.count_from(1);
    levels_.clear();
    for (const Level& level : LevelsFor(in)) {
      PoolShape shape;
      shape.view =
          ChannelView::Of({.shape = {1, in.dim(1), in.dim(2), in.dim(3)}}, 1);
      for (int i = 0; i < 2; ++i) {
        shape.in[1 + i] = in.dim(2 + i);
        shape.out[1 + i] = level.bins;
        shape.kernel[1 + i] = shape.stride[1 + i] = level.kernel[i];
        shape.pad[1 + i] = level.pad[i];
      }
      levels_.push_back({shape, level.offset});
    }
    chosen_.assign(is_max() || draws() ? items_ * top_item_ : 0, 0);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const StepState& state = step.state();
    const DrawSite site{state.seed, state.clock, state.pass, step.layer(),
                        state.rank};
    for (int64_t item = 0; item < items_; ++item) {
      const float* x = args.bottom[0].data() + item * bottom_item_;
      for (const PoolLevel& level : levels_) {
        const int64_t at = item * top_item_ + level.offset;
        float* y = args.top[0].data() + at;
        if (is_max()) {
          MaxPoolForward(level.shape, x, y, &chosen_[at]);
        } else if (draws()) {
          StochasticPoolForward(level.shape, site, at, x, y, &chosen_[at]);
        } else if (is_stochastic()) {
          WeightedPoolForward(level.shape, x, y);
        } else {
          AvePoolForward(level.shape, x, y);
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    for (int64_t item = 0; item < items_; ++item) {
      float* dx = gradient.tensor.data() + item * bottom_item_;
      bool add = gradient.mode == GradientMode::kAdd;
      for (const PoolLevel& level : levels_) {
        const int64_t at = item * top_item_ + level.offset;
        const float* dy = args.top_gradient[0].data() + at;
        if (!chosen_.empty()) {
          ChosenPoolBackward(level.shape, &chosen_[at], dy, add, dx);
        } else if (is_stochastic()) {
          WeightedPoolBackward(level.shape,
                               args.bottom[0].data() + item * bottom_item_, dy,
                               add, dx);
        } else {
          AvePoolBackward(level.shape, dy, add, dx);
        }
        add = true;
      }
    }
    return absl::OkStatus();
  }

 private:
  struct PoolLevel {
    PoolShape shape;  // of one item
    int64_t offset;   // in an item of the top
  };

  std::vector<PoolLevel> levels_;
  int64_t items_ = 0, bottom_item_ = 0, top_item_ = 0;
  std::vector<int32_t> chosen_;  // by MAX, or by a draw
};

}  // namespace

absl::Status RegisterSpp(LayerRegistry& registry) {
  return registry.Register("SPP", DeviceType::kCpu, MakeLayer<SppLayerCpu>);
}

}  // namespace cssp::cpu
