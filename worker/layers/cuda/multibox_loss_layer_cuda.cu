#include <cmath>

#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/multibox.cuh"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/multibox_loss_layer.h"

namespace cssp::cuda {
namespace {

using caffe::MultiBoxLossParameter;
using multibox::Boxes;

// Forward makes the derivatives, too: it has all that they need.
// Thread-confined: the training thread.
class MultiBoxLossLayerCuda final : public CudaLayer<MultiBoxLossLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(
        g_, GeometryOf({bottom[0].shape, bottom[1].shape, bottom[2].shape}));
    rows_ = TruthRows(bottom[3].shape);
    plan_ = SumPlan(1, g_.items * g_.priors);
    Boxes unused = {};
    set_scratch_bytes(Place(nullptr, &unused));
    RETURN_IF_ERROR(Allocate(bottom[0].bytes(), &loc_slope_));
    RETURN_IF_ERROR(Allocate(bottom[1].bytes(), &conf_slope_));
    return Allocate(sizeof(double), &divisor_);
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    Boxes b = OptionsOf(args.bottom);
    Place(step.scratch().data(), &b);
    Stream& stream = step.stream();
    RETURN_IF_ERROR(multibox::ReadTruths(stream, b));
    RETURN_IF_ERROR(multibox::MeasureOverlaps(stream, b));
    const int items = static_cast<int>(g_.items);
    RETURN_IF_ERROR(Launch(stream, multibox::MatchKernel,
                           static_cast<int>(items * b.slots), kThreads, b));
    if (b.mines) {
      RETURN_IF_ERROR(
          Launch(stream, multibox::MineKernel, items, kThreads, b));
    }
    RETURN_IF_ERROR(multibox::ChooseTargets(stream, b));
    return SumLosses(stream, b, step.scratch().data(), args.top[0].data());
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const float* loss_weight = args.top_gradient[0].data();
    const double* divisor = static_cast<const double*>(divisor_.data());
    for (int i = 0; i < 2; ++i) {
      const GradientTensor& gradient = args.bottom_gradient[i];
      const float* slope = (i == 0 ? loc_slope_ : conf_slope_).floats();
      const double part = i == 0 ? double{options().loc_weight()} : 1.0;
      RETURN_IF_ERROR(
          Store(step.stream(), gradient.mode, gradient.tensor.data(),
                gradient.tensor.count(), [=] __device__(int64_t j) {
                  return static_cast<float>(*loss_weight / *divisor * part) *
                         slope[j];
                }));
    }
    return absl::OkStatus();
  }

  // Public only since device lambdas may not stand in private functions.
  absl::Status SumLosses(Stream& stream, const Boxes& b, void* sums,
                         float* loss) {
    float* loc_slope = loc_slope_.floats();
    float* conf_slope = conf_slope_.floats();
    double* divisor = static_cast<double*>(divisor_.data());
    const auto mode = normalization();
    const double loc_weight = Counts(0) ? options().loc_weight() : 0;
    const bool loc_counts = Counts(0), conf_counts = Counts(1);
    return SumSegments<SumPair>(
        stream, plan_, sums,
        [=] __device__(int64_t, int64_t i) {
          const int64_t n = i / b.g.priors, p = i % b.g.priors;
          SumPair sum{0, 0};
          for (int64_t c = 0; c < b.g.loc_classes; ++c) {
            float* slope = loc_slope + b.g.Loc(n, p, c);
            for (int k = 0; k < 4; ++k) slope[k] = 0;
            const int32_t t = b.MatchOf(n, c, p);
            if (t <= multibox::kUnmatched) continue;
            sum.b += 1;
            if (loc_counts) sum.a += loc_weight * b.LocLoss(n, c, p, t, slope);
          }
          float* slope = conf_slope + i * b.g.classes;
          for (int64_t c = 0; c < b.g.classes; ++c) slope[c] = 0;
          if (conf_counts && b.target[i] != multibox::kLeftOut) {
            sum.a += b.ConfLoss(i, b.target[i], slope);
          }
          return sum;
        },
        [=] __device__(int64_t, SumPair sum) {
          *divisor = LossDivisor(mode, b.g.items, b.g.priors,
                                 static_cast<int64_t>(sum.b));
          *loss = static_cast<float>(sum.a / *divisor);
          for (int64_t t = 0; t < b.rows; ++t) {
            if (b.item[t] == multibox::kBad) *loss = NAN;
          }
        });
  }

 private:
  int64_t SlotsPerItem() const {
    return options().use_prior_for_matching() ? 1 : g_.loc_classes;
  }

  Boxes OptionsOf(absl::Span<const ConstTensor> bottom) const {
    const MultiBoxLossParameter& p = options();
    Boxes b = {};
    b.g = g_;
    b.codec = {p.code_type(), p.encode_variance_in_target()};
    b.loc = bottom[0].data();
    b.conf = bottom[1].data();
    b.prior = bottom[2].data();
    b.truth = bottom[3].data();
    b.rows = rows_;
    b.match_priors = p.use_prior_for_matching();
    b.slots = SlotsPerItem();
    b.background = static_cast<int32_t>(p.background_label_id());
    b.overlap_threshold = p.overlap_threshold();
    b.neg_overlap = p.neg_overlap();
    b.neg_pos_ratio = p.neg_pos_ratio();
    b.per_prediction = p.match_type() == MultiBoxLossParameter::PER_PREDICTION;
    b.use_difficult = p.use_difficult_gt();
    b.inside_only = p.ignore_cross_boundary_bbox();
    b.bp_inside = p.bp_inside();
    b.agnostic = p.map_object_to_agnostic();
    b.mines = p.mining_type() != MultiBoxLossParameter::NONE;
    b.hard = p.mining_type() == MultiBoxLossParameter::HARD_EXAMPLE;
    b.sample_size = p.sample_size();
    const caffe::NonMaximumSuppressionParameter& nms = p.nms_param();
    b.suppresses = p.has_nms_param() && nms.nms_threshold() > 0;
    b.suppress_priors = p.use_prior_for_nms();
    b.most_candidates =
        nms.has_top_k() && nms.top_k() > -1 ? nms.top_k() : g_.priors;
    b.suppression = {nms.nms_threshold(), 1, kLeastMinedArea};
    b.l2 = p.loc_loss_type() == MultiBoxLossParameter::L2;
    b.logistic = p.conf_loss_type() == MultiBoxLossParameter::LOGISTIC;
    return b;
  }

  // Gives `b` its places behind the sums in the scratch; the bytes in all.
  size_t Place(uint8_t* scratch, Boxes* b) const {
    size_t used = AlignUp(plan_.scratch_bytes());
    const auto take = [&](auto** array, int64_t n) {
      using T = std::remove_reference_t<decltype(**array)>;
      if (scratch != nullptr) *array = reinterpret_cast<T*>(scratch + used);
      used += AlignUp(n * sizeof(T));
    };
    const int64_t priors = g_.items * g_.priors;
    take(&b->item, rows_);
    take(&b->taken, rows_);
    take(&b->overlaps, rows_ * g_.priors);
    const int64_t slots = g_.items * SlotsPerItem();
    take(&b->objects, slots);
    take(&b->matched, slots);
    take(&b->match, slots * g_.priors);
    take(&b->best, slots * g_.priors);
    take(&b->keys, priors);
    take(&b->selected, priors);
    take(&b->target, priors);
    return used;
  }

  BoxGeometry g_;
  int64_t rows_ = 0;
  SumPlan plan_;
  Buffer loc_slope_, conf_slope_;
  Buffer divisor_;  // one double
};

}  // namespace

absl::Status RegisterMultiBoxLoss(LayerRegistry& registry) {
  return registry.Register("MultiBoxLoss", DeviceType::kCuda,
                           MakeCudaLayer<MultiBoxLossLayerCuda>);
}

}  // namespace cssp::cuda
