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
struct Boxes {
  BoxGeometry g;
  BoxCodec codec;
  const float *loc, *conf, *prior, *truth;
  int64_t rows;  // of truth
  int32_t background;
  float overlap_threshold, neg_overlap, neg_pos_ratio;
  bool per_prediction, use_difficult, inside_only, bp_inside, agnostic, mines;
  bool l2, logistic;

  int32_t* item;     // per truth: its item, kUnmatched or kBad
  uint8_t* taken;    // per truth
  float* overlaps;   // truths x priors
  int32_t* objects;  // per item: truths
  int32_t* matched;  // per item: matched priors
  int32_t* match;    // items x priors: a truth, or negative
  float* best;       // items x priors: the best overlap
  float* rank;       // items x priors: the loss to mine by; < 0: not eligible
  int32_t* target;   // items x priors

  __device__ Box Prior(int64_t p) const { return Box::At(prior + p * 4); }
  __device__ Box Truth(int64_t t) const {
    return Box::At(truth + t * kRow + 3);
  }
  __device__ bool Crosses(int64_t p) const {
    for (int k = 0; k < 4; ++k) {
      if (prior[p * 4 + k] < 0 || prior[p * 4 + k] > 1) return true;
    }
    return false;
  }
  __device__ int32_t ClassOf(int32_t t) const {
    return agnostic ? background + 1
                    : static_cast<int32_t>(truth[t * kRow + 1]);
  }
  // Of the confidences of prior i (of all items) for class `target`.
  __device__ double ConfLoss(int64_t i, int32_t wanted, float* slope) const;
  // Of the location of prior i, which is matched.
  __device__ double LocLoss(int64_t i, float* slope) const;
};

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

__device__ inline double Boxes::LocLoss(int64_t i, float* slope) const {
  const int64_t p = i % g.priors;
  const float* variance = g.Variance(prior, p);
  float wanted[4];
  codec.Encode(Prior(p), variance, Truth(match[i]), wanted);
  double loss = 0;
  for (int k = 0; k < 4; ++k) {
    const float side = prior[p * 4 + k];
    const bool inert = bp_inside && (side < 0 || side > 1);
    float d = inert ? 0.0f : loc[i * 4 + k] - wanted[k];
    if (codec.variance_in_target) d /= variance[k];
    loss += l2 ? 0.5f * d * d : SmoothL1().Value(d);
    slope[k] = inert ? 0.0f : l2 ? d : SmoothL1().Slope(d);
    if (codec.variance_in_target) slope[k] /= variance[k];
  }
  return loss;
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
    const int64_t t = i / b.g.priors;
    const float overlap =
        b.item[t] < 0 ? 0.0f : Overlap(b.Prior(i % b.g.priors), b.Truth(t));
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

// A block an item: best overlap first, then each prior for itself.
__global__ void __launch_bounds__(kThreads) MatchKernel(Boxes b) {
  const int64_t n = blockIdx.x, priors = b.g.priors;
  int32_t* match = b.match + n * priors;
  float* best = b.best + n * priors;
  int32_t objects = 0;
  for (int64_t t = 0; t < b.rows; ++t) objects += b.item[t] == n;
  for (int64_t p = threadIdx.x; p < priors; p += kThreads) {
    match[p] =
        objects > 0 && b.inside_only && b.Crosses(p) ? kOutside : kUnmatched;
    best[p] = 0;
    for (int64_t t = 0; t < b.rows && match[p] == kUnmatched; ++t) {
      if (b.item[t] == n) best[p] = fmaxf(best[p], b.overlaps[t * priors + p]);
    }
  }
  __syncthreads();
  for (int32_t round = 0; round < objects; ++round) {
    Pair own{0, INT32_MAX, INT32_MAX};
    for (int64_t p = threadIdx.x; p < priors; p += kThreads) {
      if (match[p] != kUnmatched) continue;
      for (int64_t t = 0; t < b.rows; ++t) {
        if (b.item[t] != n || b.taken[t]) continue;
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
      if (b.item[t] != n || overlap < b.overlap_threshold || overlap <= most)
        continue;
      most = overlap;
      match[p] = static_cast<int32_t>(t);
    }
    if (open && match[p] != kUnmatched) best[p] = most;
    matched += match[p] > kUnmatched;
  }
  matched = BlockSum(matched);
  if (threadIdx.x == 0) {
    b.objects[n] = objects;
    b.matched[n] = static_cast<int32_t>(matched);
  }
}

// What the confidences of each prior should say.  Negatives are the eligible
// priors that fewer than neg_pos_ratio * matched of their item outrank.
inline absl::Status ChooseTargets(Stream& stream, const Boxes& b) {
  const int64_t priors = b.g.priors;
  RETURN_IF_ERROR(
      ForEach(stream, b.g.items * priors, [=] __device__(int64_t i) {
        b.rank[i] = -1;
        if (!b.mines || b.objects[i / priors] == 0) return;
        if (b.match[i] != kUnmatched || !(b.best[i] < b.neg_overlap)) return;
        const double loss = b.ConfLoss(i, b.background, nullptr);
        b.rank[i] = isnan(loss) ? FLT_MAX : static_cast<float>(loss);
      }));
  return ForEach(stream, b.g.items * priors, [=] __device__(int64_t i) {
    const int32_t other = b.logistic ? kNoClass : b.background;
    b.target[i] = b.match[i] > kUnmatched ? b.ClassOf(b.match[i])
                  : b.mines               ? kLeftOut
                                          : other;
    if (b.rank[i] < 0) return;
    const int64_t n = i / priors;
    const int64_t wanted = static_cast<int64_t>(b.matched[n] * b.neg_pos_ratio);
    int64_t ahead = 0;
    for (int64_t q = n * priors; q < (n + 1) * priors && ahead < wanted; ++q) {
      ahead += b.rank[q] > b.rank[i] || (b.rank[q] == b.rank[i] && q < i);
    }
    if (ahead < wanted) b.target[i] = b.background;
  });
}

}  // namespace cssp::cuda::multibox

#endif  // CSSP_WORKER_LAYERS_CUDA_MULTIBOX_CUH_
