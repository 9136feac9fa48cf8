#include <algorithm>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/multibox_loss_layer.h"
#include "worker/layers/multibox_matcher.h"

namespace cssp::cpu {
namespace {

// Forward makes the derivatives, too: it has all that they need.
// Thread-confined: the training thread.
class MultiBoxLossLayerCpu final : public MultiBoxLossLayer {
 public:
  using MultiBoxLossLayer::MultiBoxLossLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(
        g_, GeometryOf({bottom[0].shape, bottom[1].shape, bottom[2].shape}));
    matcher_.Prepare(options(), g_, TruthRows(bottom[3].shape));
    target_.resize(g_.items * g_.priors);
    loc_slope_.resize(bottom[0].shape.count());
    conf_slope_.resize(bottom[1].shape.count());
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const MultiBoxInput in = {args.bottom[0].data(), args.bottom[1].data(),
                              args.bottom[2].data(), args.bottom[3].data()};
    RETURN_IF_ERROR(matcher_.Match(in));
    divisor_ = Divisor(g_, matcher_.matches());
    double loss = 0;
    if (Counts(0)) loss += double{options().loc_weight()} * LocLoss(in);
    if (Counts(1)) loss += ConfLoss(in);
    args.top[0].data()[0] = static_cast<float>(loss / divisor_);
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const double weight = args.top_gradient[0].data()[0] / divisor_;
    const std::vector<float>* slopes[] = {&loc_slope_, &conf_slope_};
    for (int i = 0; i < 2; ++i) {
      const GradientTensor& gradient = args.bottom_gradient[i];
      const float scale =
          static_cast<float>(i == 0 ? weight * options().loc_weight() : weight);
      Store(gradient.mode, gradient.tensor.data(), slopes[i]->size(),
            [slope = slopes[i]->data(), scale](int64_t j) {
              return scale * slope[j];
            });
    }
    return absl::OkStatus();
  }

 private:
  double LocLoss(const MultiBoxInput& in) {
    std::fill(loc_slope_.begin(), loc_slope_.end(), 0.0f);
    double loss = 0;
    for (int64_t n = 0; n < g_.items; ++n) {
      for (int64_t c = 0; c < g_.loc_classes; ++c) {
        for (int64_t p = 0; p < g_.priors; ++p) {
          if (matcher_.match(n, c, p) > MultiBoxMatcher::kUnmatched) {
            loss += LocLossOf(in, n, c, p);
          }
        }
      }
    }
    return loss;
  }

  double LocLossOf(const MultiBoxInput& in, int64_t n, int64_t c, int64_t p) {
    const bool square =
        options().loc_loss_type() == caffe::MultiBoxLossParameter::L2;
    float predicted[4], wanted[4];
    bool inert[4];
    matcher_.Encode(in, n, c, p, predicted, wanted, inert);
    float* slope = loc_slope_.data() + g_.Loc(n, p, c);
    double loss = 0;
    for (int k = 0; k < 4; ++k) {
      const float d = predicted[k] - wanted[k];
      loss += matcher_.LocationLoss(d);
      slope[k] = inert[k] ? 0 : square ? d : SmoothL1().Slope(d);
      if (options().encode_variance_in_target()) {
        slope[k] /= g_.Variance(in.prior, p)[k];
      }
    }
    return loss;
  }

  double ConfLoss(const MultiBoxInput& in) {
    SetTargets();
    std::fill(conf_slope_.begin(), conf_slope_.end(), 0.0f);
    double loss = 0;
    for (int64_t i = 0; i < g_.items * g_.priors; ++i) {
      if (target_[i] == kLeftOut) continue;
      loss += ConfidenceLoss(options().conf_loss_type(),
                             in.conf + i * g_.classes, g_.classes, target_[i],
                             conf_slope_.data() + i * g_.classes);
    }
    return loss;
  }

  void SetTargets() {
    const int32_t background =
        static_cast<int32_t>(options().background_label_id());
    const bool softmax =
        options().conf_loss_type() == caffe::MultiBoxLossParameter::SOFTMAX;
    const int32_t other = matcher_.mines() ? kLeftOut
                          : softmax        ? background
                                           : kNoClass;
    std::fill(target_.begin(), target_.end(), other);
    for (int64_t n = 0; n < g_.items; ++n) {
      for (int64_t p = 0; p < g_.priors; ++p) {
        int32_t& target = target_[n * g_.priors + p];
        if (matcher_.negative(n, p)) target = background;
        for (int64_t c = 0; c < g_.loc_classes; ++c) {
          const int32_t truth = matcher_.match(n, c, p);
          if (truth > MultiBoxMatcher::kUnmatched) {
            target = matcher_.ClassOf(matcher_.truths()[truth]);
          }
        }
      }
    }
  }

  static constexpr int32_t kLeftOut = -2;

  BoxGeometry g_;
  MultiBoxMatcher matcher_;
  std::vector<int32_t> target_;  // items x priors
  std::vector<float> loc_slope_, conf_slope_;
  double divisor_ = 1;
};

}  // namespace

absl::Status RegisterMultiBoxLoss(LayerRegistry& registry) {
  return registry.Register("MultiBoxLoss", DeviceType::kCpu,
                           MakeLayer<MultiBoxLossLayerCpu>);
}

}  // namespace cssp::cpu
