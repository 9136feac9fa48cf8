// The discrete half of MultiBoxLoss on the device: who is matched with whom,
// what is a negative, and the loss of one prior.  For one .cu file.
#ifndef CSSP_WORKER_LAYERS_CUDA_MULTIBOX_CUH_
#define CSSP_WORKER_LAYERS_CUDA_MULTIBOX_CUH_

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "common/base/status_macros.h"
#include "common/device/cuda/launch.h"
#include "worker/layers/boxes.h"
#include "worker/layers/cuda/candidates.cuh"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/smooth_l1_loss_layer.h"

namespace cssp::cuda::multibox {

inline constexpr int kRow = 8;  // item, label, instance, box, difficult
inline constexpr int32_t kUnmatched =
    -1;                                  // of a prior; of a truth: not counted
inline constexpr int32_t kOutside = -2;  // of a prior: crosses the border
inline constexpr int32_t kBad = -2;      // of a truth: no item or no class
inline constexpr int32_t kNoClass = -1, kLeftOut = -2;  // targets

// The layer's options, inputs and what it finds out; travels to kernels.
//
// Priors are matched once per item, in one slot; or, if predicted boxes are
// matched and every class has its own, once per item and class.
struct Boxes {
  BoxGeometry g;
  BoxCodec codec;
  const float *loc, *conf, *prior, *truth;
  int64_t rows;   // of truth
  int64_t slots;  // per item: 1, or one for every class
  int32_t background;
  float overlap_threshold, neg_overlap, neg_pos_ratio;
  bool per_prediction, use_difficult, inside_only, bp_inside, agnostic;
  bool match_priors, l2, logistic;
  bool mines, hard;          // MAX_NEGATIVE or HARD_EXAMPLE
  int64_t sample_size;       // HARD_EXAMPLE
  bool suppresses, suppress_priors;
  int64_t most_candidates;   // to suppress among
  Suppression suppression;

  int32_t* item;      // per truth: its item, kUnmatched or kBad
  uint8_t* taken;     // per truth
  float* overlaps;    // truths x priors
  int32_t* objects;   // per slot: truths
  int32_t* matched;   // per slot: matched priors
  int32_t* match;     // slots x priors: a truth, or negative
  float* best;        // slots x priors: the best overlap
  uint64_t* keys;     // items x priors: candidates for mining
  uint8_t* selected;  // items x priors: by mining; then: is a negative
  int32_t* target;    // items x priors

  __device__ Box Prior(int64_t p) const { return Box::At(prior + p * 4); }
  __device__ Box Truth(int64_t t) const {
    return Box::At(truth + t * kRow + 3);
  }
  __device__ int32_t Label(int32_t t) const {
    return static_cast<int32_t>(truth[t * kRow + 1]);
  }
  __device__ int32_t ClassOf(int32_t t) const {
    return agnostic ? background + 1 : Label(t);
  }
  // Whether truth `t` takes part in slot `slot` of item `n`.
  __device__ bool Counts(int64_t t, int64_t n, int64_t slot) const {
    return item[t] == n && (slots == 1 || Label(t) == slot);
  }
  // The prior, or what is predicted for it.  `c`: 0 where locations are shared.
  __device__ Box BoxOf(int64_t n, int64_t c, int64_t p, bool of_prior) const {
    if (of_prior) return Prior(p);
    return codec.Decode(Prior(p), g.Variance(prior, p), loc + g.Loc(n, p, c));
  }
  // The truth that class `c` of a prior is matched with, or a negative number.
  __device__ int32_t MatchOf(int64_t n, int64_t c, int64_t p) const {
    if (slots > 1) return match[(n * slots + c) * g.priors + p];
    const int32_t t = match[n * g.priors + p];
    return g.loc_classes == 1 || (t > kUnmatched && Label(t) == c) ? t
                                                                   : kUnmatched;
  }
  // Of the confidences of prior i (of all items) for class `target`.
  __device__ double ConfLoss(int64_t i, int32_t wanted, float* slope) const;
  // Of a location, if truth `t` is what it should be.
  __device__ double LocLoss(int64_t n, int64_t c, int64_t p, int32_t t,
                            float* slope) const;
  // What mining ranks by.
  __device__ float RankOf(int64_t n, int64_t p) const;
};

__device__ inline bool CrossesBorder(const Box& box) {
  return box.xmin < 0 || box.xmin > 1 || box.ymin < 0 || box.ymin > 1 ||
         box.xmax < 0 || box.xmax > 1 || box.ymax < 0 || box.ymax > 1;
}

__device__ inline double Boxes::ConfLoss(int64_t i, int32_t wanted,
                                         float* slope) const {
  const float* x = conf + i * g.classes;
  double loss = 0, sum = 0;
  float largest = x[0];
  for (int64_t c = 0; c < g.classes; ++c) largest = fmaxf(largest, x[c]);
  for (int64_t c = 0; c < g.classes; ++c) {
    const double v = x[c], own = c == wanted ? 1 : 0;
    if (logistic) {
      loss += fmax(v, 0.0) - v * own + log1p(exp(-fabs(v)));
      if (slope) slope[c] = static_cast<float>(0.5 * tanh(0.5 * v) + 0.5 - own);
    } else {
      sum += expf(x[c] - largest);
    }
  }
  if (logistic) return loss;
  for (int64_t c = 0; c < g.classes && slope != nullptr; ++c) {
    slope[c] = static_cast<float>(expf(x[c] - largest) / sum) -
               (c == wanted ? 1.0f : 0.0f);
  }
  return -log(fmax(expf(x[wanted] - largest) / sum, double{FLT_MIN}));
}

__device__ inline double Boxes::LocLoss(int64_t n, int64_t c, int64_t p,
                                        int32_t t, float* slope) const {
  const float* variance = g.Variance(prior, p);
  const float* predicted = loc + g.Loc(n, p, c);
  float wanted[4];
  codec.Encode(Prior(p), variance, Truth(t), wanted);
  const Box box = BoxOf(n, c, p, match_priors);
  const float sides[] = {box.xmin, box.ymin, box.xmax, box.ymax};
  double loss = 0;
  for (int k = 0; k < 4; ++k) {
    const bool inert = bp_inside && (sides[k] < 0 || sides[k] > 1);
    float d = inert ? 0.0f : predicted[k] - wanted[k];
    if (codec.variance_in_target) d /= variance[k];
    loss += l2 ? 0.5f * d * d : SmoothL1().Value(d);
    slope[k] = inert ? 0.0f : l2 ? d : SmoothL1().Slope(d);
    if (codec.variance_in_target) slope[k] /= variance[k];
  }
  return loss;
}

__device__ inline float Boxes::RankOf(int64_t n, int64_t p) const {
  const int32_t t = MatchOf(n, 0, p);
  double loss = ConfLoss(n * g.priors + p,
                         t > kUnmatched ? ClassOf(t) : background, nullptr);
  float unused[4];
  if (hard && t > kUnmatched) loss += LocLoss(n, 0, p, t, unused);
  return isnan(loss) ? FLT_MAX : static_cast<float>(loss);
}

// The first row of item -1 ends the truths.
inline absl::Status ReadTruths(Stream& stream, const Boxes& b) {
  return ForEach(stream, b.rows, [=] __device__(int64_t t) {
    b.taken[t] = 0;
    b.item[t] = kUnmatched;
    for (int64_t i = 0; i <= t; ++i) {
      if (b.truth[i * kRow] == -1) return;
    }
    const float* row = b.truth + t * kRow;
    const bool good = row[0] >= 0 && row[0] < static_cast<float>(b.g.items) &&
                      row[1] >= 0 && row[1] < static_cast<float>(b.g.classes) &&
                      static_cast<int32_t>(row[1]) != b.background;
    if (!good) {
      b.item[t] = kBad;
    } else if (b.use_difficult || row[7] == 0) {
      b.item[t] = static_cast<int32_t>(row[0]);
    }
  });
}

inline absl::Status MeasureOverlaps(Stream& stream, const Boxes& b) {
  return ForEach(stream, b.rows * b.g.priors, [=] __device__(int64_t i) {
    const int64_t t = i / b.g.priors, p = i % b.g.priors;
    const int64_t n = b.item[t];
    float overlap = 0;
    if (n >= 0) {
      const int64_t c = b.slots > 1 ? b.Label(t) : 0;
      overlap = Overlap(b.BoxOf(n, c, p, b.match_priors), b.Truth(t));
    }
    b.overlaps[i] = overlap > 1e-6f ? overlap : 0.0f;
  });
}

// A truth and a prior; of equal overlaps the first prior, then the first truth.
struct Pair {
  float overlap;
  int32_t prior, truth;
  __device__ bool Before(const Pair& o) const {
    if (overlap != o.overlap) return overlap > o.overlap;
    return prior != o.prior ? prior < o.prior : truth < o.truth;
  }
};

// The block's first pair, in every thread.
__device__ inline Pair First(Pair own) {
  __shared__ Pair pairs[kThreads];
  pairs[threadIdx.x] = own;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half &&
        pairs[threadIdx.x + half].Before(pairs[threadIdx.x]))
      pairs[threadIdx.x] = pairs[threadIdx.x + half];
    __syncthreads();
  }
  own = pairs[0];
  __syncthreads();
  return own;
}

// A block a slot: best overlap first, then each prior for itself.
__global__ void __launch_bounds__(kThreads) MatchKernel(Boxes b) {
  const int64_t n = blockIdx.x / b.slots, slot = blockIdx.x % b.slots;
  const int64_t priors = b.g.priors;
  int32_t* match = b.match + blockIdx.x * priors;
  float* best = b.best + blockIdx.x * priors;
  int32_t objects = 0;
  for (int64_t t = 0; t < b.rows; ++t) objects += b.Counts(t, n, slot);
  for (int64_t p = threadIdx.x; p < priors; p += kThreads) {
    match[p] = objects > 0 && b.inside_only &&
                       CrossesBorder(b.BoxOf(n, slot, p, b.match_priors))
                   ? kOutside
                   : kUnmatched;
    best[p] = 0;
    for (int64_t t = 0; t < b.rows && match[p] == kUnmatched; ++t) {
      if (b.Counts(t, n, slot))
        best[p] = fmaxf(best[p], b.overlaps[t * priors + p]);
    }
  }
  __syncthreads();
  for (int32_t round = 0; round < objects; ++round) {
    Pair own{0, INT32_MAX, INT32_MAX};
    for (int64_t p = threadIdx.x; p < priors; p += kThreads) {
      if (match[p] != kUnmatched) continue;
      for (int64_t t = 0; t < b.rows; ++t) {
        if (b.taken[t] || !b.Counts(t, n, slot)) continue;
        const Pair here{b.overlaps[t * priors + p], static_cast<int32_t>(p),
                        static_cast<int32_t>(t)};
        if (here.Before(own)) own = here;
      }
    }
    own = First(own);
    if (own.overlap <= 0) break;  // the others overlap nothing
    if (threadIdx.x == 0) {
      match[own.prior] = own.truth;
      best[own.prior] = own.overlap;
      b.taken[own.truth] = 1;
    }
    __syncthreads();
  }
  double matched = 0;
  for (int64_t p = threadIdx.x; p < priors; p += kThreads) {
    float most = 0;
    const bool open = b.per_prediction && match[p] == kUnmatched;
    for (int64_t t = 0; t < b.rows && open; ++t) {
      const float overlap = b.overlaps[t * priors + p];
      if (overlap < b.overlap_threshold || overlap <= most ||
          !b.Counts(t, n, slot))
        continue;
      most = overlap;
      match[p] = static_cast<int32_t>(t);
    }
    if (open && match[p] != kUnmatched) best[p] = most;
    matched += match[p] > kUnmatched;
  }
  matched = BlockSum(matched);
  if (threadIdx.x == 0) {
    b.objects[blockIdx.x] = objects;
    b.matched[blockIdx.x] = static_cast<int32_t>(matched);
  }
}

// The candidates of an item, written and sorted by its block: how many.
__device__ inline int64_t RankCandidates(const Boxes& b, int64_t n) {
  uint64_t* keys = b.keys + n * b.g.priors;
  __shared__ int32_t found;
  if (threadIdx.x == 0) found = 0;
  __syncthreads();
  for (int64_t p = threadIdx.x; p < b.g.priors; p += kThreads) {
    const int64_t i = n * b.g.priors + p;
    const bool eligible =
        b.hard || (b.match[i] == kUnmatched && b.best[i] < b.neg_overlap);
    if (!eligible) continue;
    keys[atomicAdd(&found, 1)] =
        ScoreKey(b.RankOf(n, p), static_cast<int32_t>(p));
  }
  __syncthreads();
  const int64_t candidates = found;
  BlockSort(keys, candidates);
  return candidates;
}

// A block an item: the hardest priors are selected.  Without any object none
// is.  HARD_EXAMPLE drops the matches that are not selected.
// REQUIRES: one slot an item, as whoever mines has.
__global__ void __launch_bounds__(kThreads) MineKernel(Boxes b) {
  const int64_t n = blockIdx.x, priors = b.g.priors;
  uint64_t* keys = b.keys + n * priors;
  uint8_t* selected = b.selected + n * priors;
  int32_t* match = b.match + n * priors;
  for (int64_t p = threadIdx.x; p < priors; p += kThreads) selected[p] = 0;
  if (b.objects[n] == 0) return;
  int64_t candidates = RankCandidates(b, n);
  if (b.suppresses) {
    if (candidates > b.most_candidates) candidates = b.most_candidates;
    candidates = BlockSuppress(
        keys, candidates, b.suppression, [&](uint64_t key) {
          return b.BoxOf(n, 0, KeyIndex(key), b.suppress_priors);
        });
  }
  const int64_t wanted =
      b.hard ? b.sample_size
             : static_cast<int64_t>(b.matched[n] * b.neg_pos_ratio);
  for (int64_t k = threadIdx.x; k < candidates && k < wanted; k += kThreads)
    selected[KeyIndex(keys[k])] = 1;
  __syncthreads();
  for (int64_t p = threadIdx.x; p < priors; p += kThreads) {
    const bool is_selected = selected[p] != 0;
    selected[p] = is_selected && match[p] == kUnmatched;
    if (b.hard && !is_selected && match[p] > kUnmatched) match[p] = kUnmatched;
  }
}

// What the confidences of each prior should say; of several classes that are
// matched, the last one.
inline absl::Status ChooseTargets(Stream& stream, const Boxes& b) {
  return ForEach(stream, b.g.items * b.g.priors, [=] __device__(int64_t i) {
    const int64_t n = i / b.g.priors, p = i % b.g.priors;
    int32_t target = b.mines      ? kLeftOut
                     : b.logistic ? kNoClass
                                  : b.background;
    if (b.mines && b.selected[i]) target = b.background;
    for (int64_t c = 0; c < b.g.loc_classes; ++c) {
      const int32_t t = b.MatchOf(n, c, p);
      if (t > kUnmatched) target = b.ClassOf(t);
    }
    b.target[i] = target;
  });
}

}  // namespace cssp::cuda::multibox

#endif  // CSSP_WORKER_LAYERS_CUDA_MULTIBOX_CUH_
