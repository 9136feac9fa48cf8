#include <algorithm>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/detection_output_layer.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class DetectionOutputLayerCpu final : public DetectionOutputLayer {
 public:
  using DetectionOutputLayer::DetectionOutputLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(
        g_, GeometryOf({bottom[0].shape, bottom[1].shape, bottom[2].shape}));
    boxes_.resize(g_.priors * g_.loc_classes);
    candidates_.reserve(g_.priors);
    kept_.reserve(max_candidates(g_));
    found_.reserve(g_.classes * max_candidates(g_));
    SetRows(top[0].shape.dim(2));
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    float* row = args.top[0].data();
    int64_t rows = 0;
    for (int64_t n = 0; n < g_.items; ++n) {
      Decode(n, args.bottom[0].data(), args.bottom[2].data());
      found_.clear();
      for (int64_t c = 0; c < g_.classes; ++c) {
        if (c != background()) Detect(n, c, args.bottom[1].data());
      }
      KeepBest();
      for (const Detection& found : found_) {
        row = Write(static_cast<float>(n), found, row);
      }
      rows += static_cast<int64_t>(found_.size());
    }
    if (rows == 0) rows = WriteNothing(row);
    SetRows(rows);
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return absl::OkStatus();
  }

 private:
  void Decode(int64_t n, const float* loc, const float* prior) {
    const BoxCodec coded = codec();
    for (int64_t p = 0; p < g_.priors; ++p) {
      for (int64_t c = 0; c < g_.loc_classes; ++c) {
        boxes_[p * g_.loc_classes + c] =
            coded.Decode(Box::At(prior + p * 4), g_.Variance(prior, p),
                         loc + g_.Loc(n, p, c));
      }
    }
  }

  const Box& BoxOf(int64_t c, int64_t p) const {
    return boxes_[p * g_.loc_classes + (g_.loc_classes == 1 ? 0 : c)];
  }

  // Appends the detections of one class, best first.
  void Detect(int64_t n, int64_t c, const float* conf) {
    const float least = confidence_threshold();
    candidates_.clear();
    for (int64_t p = 0; p < g_.priors; ++p) {
      const float score = conf[g_.Conf(n, p) + c];
      if (score > least) {
        candidates_.push_back({score, static_cast<int32_t>(p)});
      }
    }
    const size_t most = max_candidates(g_);
    if (candidates_.size() > most) {
      std::nth_element(candidates_.begin(), candidates_.begin() + most,
                       candidates_.end());
      candidates_.resize(most);
    }
    std::sort(candidates_.begin(), candidates_.end());
    Suppress(c);
    for (const ScoredIndex& kept : kept_) {
      found_.push_back({kept.score, static_cast<int32_t>(c), kept.index});
    }
  }

  void Suppress(int64_t c) {
    float threshold = nms_threshold();
    kept_.clear();
    for (const ScoredIndex& candidate : candidates_) {
      const Box& box = BoxOf(c, candidate.index);
      const bool apart = std::all_of(
          kept_.begin(), kept_.end(), [&](const ScoredIndex& better) {
            return Overlap(box, BoxOf(c, better.index)) <= threshold;
          });
      if (!apart) continue;
      kept_.push_back(candidate);
      if (eta() < 1 && threshold > 0.5f) threshold *= eta();
    }
  }

  // Leaves an item's best, by class again.
  void KeepBest() {
    const size_t most = max_detections(g_);
    if (found_.size() <= most) return;
    const auto better = [](const Detection& a, const Detection& b) {
      if (a.score != b.score) return a.score > b.score;
      return a.label != b.label ? a.label < b.label : a.prior < b.prior;
    };
    std::sort(found_.begin(), found_.end(), better);
    found_.resize(most);
    std::sort(found_.begin(), found_.end(),
              [&](const Detection& a, const Detection& b) {
                return a.label != b.label ? a.label < b.label : better(a, b);
              });
  }

  float* Write(float item, const Detection& found, float* row) const {
    const Box& box = BoxOf(found.label, found.prior);
    const float values[] = {item,        static_cast<float>(found.label),
                            found.score, box.xmin,
                            box.ymin,    box.xmax,
                            box.ymax};
    return std::copy(std::begin(values), std::end(values), row);
  }

  int64_t WriteNothing(float* row) const {
    std::fill_n(row, g_.items * 7, -1.0f);
    for (int64_t n = 0; n < g_.items; ++n) row[n * 7] = static_cast<float>(n);
    return g_.items;
  }

  BoxGeometry g_;
  std::vector<Box> boxes_;  // of one item
  std::vector<ScoredIndex> candidates_, kept_;
  std::vector<Detection> found_;
};

}  // namespace

absl::Status RegisterDetectionOutput(LayerRegistry& registry) {
  return registry.Register("DetectionOutput", DeviceType::kCpu,
                           MakeLayer<DetectionOutputLayerCpu>);
}

}  // namespace cssp::cpu
