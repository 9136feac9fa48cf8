#include <type_traits>

#include "common/base/status_macros.h"
#include "worker/layers/cuda/candidates.cuh"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/scan.cuh"
#include "worker/layers/detection_output_layer.h"

namespace cssp::cuda {
namespace {

// Options, inputs and what is found; travels to kernels.  A list: the
// candidates of one class in one item, item by item.
struct Detector {
  BoxGeometry g;
  BoxCodec codec;
  const float *loc, *conf, *prior;
  int64_t most;        // candidates of a list
  int64_t keep;        // detections of an item
  int64_t background;  // a class, or none
  float least;         // score
  Suppression suppression;

  Box* boxes;       // items x priors x loc_classes
  uint64_t* keys;   // per list, places for all priors: kept ones, best first
  int64_t* kept;    // per list: how many overlap no better one
  int64_t* chosen;  // per list: how many of them are among the item's best
  int64_t* first;   // per list: its first row
  int64_t* rows;    // in all

  __device__ Box BoxOf(int64_t list, uint64_t key) const {
    const int64_t n = list / g.classes, c = list % g.classes;
    return boxes[(n * g.priors + KeyIndex(key)) * g.loc_classes +
                 (g.loc_classes == 1 ? 0 : c)];
  }
};

// A block a list: candidates, sorted, less those that overlap a better one.
__global__ void __launch_bounds__(kThreads) DetectKernel(Detector d) {
  const int64_t list = blockIdx.x;
  const int64_t n = list / d.g.classes, c = list % d.g.classes;
  uint64_t* keys = d.keys + list * d.g.priors;
  __shared__ int32_t found;
  if (threadIdx.x == 0) found = 0;
  __syncthreads();
  for (int64_t p = threadIdx.x; p < d.g.priors && c != d.background;
       p += kThreads) {
    const float score = d.conf[d.g.Conf(n, p) + c];
    if (!(score > d.least)) continue;
    keys[atomicAdd(&found, 1)] = ScoreKey(score, static_cast<int32_t>(p));
  }
  __syncthreads();
  int64_t candidates = found;
  BlockSort(keys, candidates);
  if (candidates > d.most) candidates = d.most;
  const int64_t kept = BlockSuppress(
      keys, candidates, d.suppression,
      [&](uint64_t key) { return d.BoxOf(list, key); });
  if (threadIdx.x == 0) d.kept[list] = kept;
}

// Whether detection `k` of `list` is among the item's best d.keep: fewer than
// that come before it.
__device__ inline bool AmongBest(const Detector& d, int64_t list, int64_t k) {
  const int64_t begin = list / d.g.classes * d.g.classes;
  const uint32_t score = KeyScore(d.keys[list * d.g.priors + k]);
  int64_t before = k;
  for (int64_t other = begin; other < begin + d.g.classes; ++other) {
    if (other == list) continue;
    const uint64_t* keys = d.keys + other * d.g.priors;
    int64_t low = 0, high = d.kept[other];
    while (low < high) {  // of equal scores the lower class comes first
      const int64_t middle = (low + high) / 2;
      const uint32_t theirs = KeyScore(keys[middle]);
      if (theirs < score || (theirs == score && other < list)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    before += low;
  }
  return before < d.keep;
}

// The best of a list are its first ones.
absl::Status ChooseBest(Stream& stream, const Detector& d) {
  return ForEach(stream, d.g.items * d.g.classes, [=] __device__(int64_t list) {
    int64_t low = 0, high = d.kept[list];
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (AmongBest(d, list, middle)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    d.chosen[list] = low;
  });
}

absl::Status DecodeBoxes(Stream& stream, const Detector& d) {
  return ForEach(stream, d.g.items * d.g.priors * d.g.loc_classes,
                 [=] __device__(int64_t i) {
                   const int64_t p = i / d.g.loc_classes % d.g.priors;
                   d.boxes[i] = d.codec.Decode(Box::At(d.prior + p * 4),
                                               d.g.Variance(d.prior, p),
                                               d.loc + i * 4);
                 });
}

// A block a list.
__global__ void __launch_bounds__(kThreads) WriteRows(Detector d, float* top) {
  const int64_t list = blockIdx.x;
  const int64_t n = list / d.g.classes, c = list % d.g.classes;
  for (int64_t k = threadIdx.x; k < d.chosen[list]; k += kThreads) {
    const uint64_t key = d.keys[list * d.g.priors + k];
    const Box box = d.BoxOf(list, key);
    float* row = top + (d.first[list] + k) * 7;
    row[0] = static_cast<float>(n);
    row[1] = static_cast<float>(c);
    row[2] = d.conf[d.g.Conf(n, KeyIndex(key)) + c];
    row[3] = box.xmin;
    row[4] = box.ymin;
    row[5] = box.xmax;
    row[6] = box.ymax;
  }
}

// A row an item, where there is no detection at all.
absl::Status WriteNothing(Stream& stream, const Detector& d, float* top) {
  return ForEach(stream, d.g.items * 7, [=] __device__(int64_t i) {
    if (*d.rows == 0) top[i] = i % 7 == 0 ? static_cast<float>(i / 7) : -1.0f;
  });
}

// Thread-confined: the training thread.
class DetectionOutputLayerCuda final : public CudaLayer<DetectionOutputLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(
        g_, GeometryOf({bottom[0].shape, bottom[1].shape, bottom[2].shape}));
    SetRows(top[0].shape.dim(2));
    Detector unused = {};
    set_scratch_bytes(Place(nullptr, &unused));
    ASSIGN_OR_RETURN(rows_, device().AllocateHost(sizeof(int64_t)));
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    Detector d = OptionsOf(args.bottom);
    Place(step.scratch().data(), &d);
    Stream& stream = step.stream();
    const int lists = static_cast<int>(g_.items * g_.classes);
    float* top = args.top[0].data();
    RETURN_IF_ERROR(DecodeBoxes(stream, d));
    RETURN_IF_ERROR(Launch(stream, DetectKernel, lists, kThreads, d));
    RETURN_IF_ERROR(ChooseBest(stream, d));
    RETURN_IF_ERROR(Scan(
        stream, lists, d.rows,
        [=] __device__(int64_t list) { return d.chosen[list]; },
        [=] __device__(int64_t list, int64_t at) { d.first[list] = at; }));
    RETURN_IF_ERROR(Launch(stream, WriteRows, lists, kThreads, d, top));
    RETURN_IF_ERROR(WriteNothing(stream, d, top));
    return device().CopyToHost(stream, rows_.data(), d.rows, sizeof(int64_t));
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return absl::OkStatus();
  }

  absl::Span<const Shape> ForwardShapes() override {
    const int64_t rows = *static_cast<const int64_t*>(rows_.data());
    SetRows(rows > 0 ? rows : g_.items);
    return DetectionOutputLayer::ForwardShapes();
  }

 private:
  Detector OptionsOf(absl::Span<const ConstTensor> bottom) const {
    Detector d = {};
    d.g = g_;
    d.codec = codec();
    d.loc = bottom[0].data();
    d.conf = bottom[1].data();
    d.prior = bottom[2].data();
    d.most = max_candidates(g_);
    d.keep = max_detections(g_);
    d.background = background();
    d.least = confidence_threshold();
    d.suppression = {nms_threshold(), eta(), 0};
    return d;
  }

  // Gives `d` its places in the scratch; the bytes in all.
  size_t Place(uint8_t* scratch, Detector* d) const {
    size_t used = 0;
    const auto take = [&](auto** array, int64_t n) {
      using T = std::remove_reference_t<decltype(**array)>;
      if (scratch != nullptr) *array = reinterpret_cast<T*>(scratch + used);
      used += AlignUp(n * sizeof(T));
    };
    const int64_t lists = g_.items * g_.classes;
    take(&d->boxes, g_.items * g_.priors * g_.loc_classes);
    take(&d->keys, lists * g_.priors);
    take(&d->kept, lists);
    take(&d->chosen, lists);
    take(&d->first, lists);
    take(&d->rows, 1);
    return used;
  }

  BoxGeometry g_;
  Buffer rows_;  // the host's: one int64
};

}  // namespace

absl::Status RegisterDetectionOutput(LayerRegistry& registry) {
  return registry.Register("DetectionOutput", DeviceType::kCuda,
                           MakeCudaLayer<DetectionOutputLayerCuda>);
}

}  // namespace cssp::cuda
