// Sums over fixed trees, in double: no atomics, so equal shapes give equal bits
// on every run.
#ifndef CSSP_WORKER_LAYERS_CUDA_REDUCE_CUH_
#define CSSP_WORKER_LAYERS_CUDA_REDUCE_CUH_

#include <cstddef>
#include <cstdint>

#include "common/base/status_macros.h"
#include "common/device/cuda/launch.h"
#include "worker/layers/cuda/channels.cuh"

namespace cssp::cuda {

// Two sums in one pass.
struct SumPair {
  double a, b;
};

__device__ inline double Add(double x, double y) { return x + y; }
__device__ inline SumPair Add(SumPair x, SumPair y) {
  return {x.a + y.a, x.b + y.b};
}
__device__ inline double ShuffleDown(double x, int lanes) {
  return __shfl_down_sync(~0u, x, lanes);
}
__device__ inline SumPair ShuffleDown(SumPair x, int lanes) {
  return {ShuffleDown(x.a, lanes), ShuffleDown(x.b, lanes)};
}

template <class Sum>
__device__ Sum WarpSum(Sum sum) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    sum = Add(sum, ShuffleDown(sum, lanes));
  }
  return sum;
}

// The block's sum, in thread 0.  REQUIRES: every thread calls it; whole warps.
template <class Sum>
__device__ Sum BlockSum(Sum sum) {
  __shared__ Sum of_warp[32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  sum = WarpSum(sum);
  if (lane == 0) of_warp[warp] = sum;
  __syncthreads();
  if (warp == 0) {
    sum = lane < blockDim.x / 32 ? of_warp[lane] : Sum{};
    sum = WarpSum(sum);
  }
  __syncthreads();  // of_warp may be used again
  return sum;
}

// `segments` sums of `length` terms each; long segments are cut into parts, so
// that a single one still fills the GPU.  A function of the extents alone.
struct SumPlan {
  static constexpr int64_t kPartTerms = 4096;
  static constexpr int64_t kWantedBlocks = 1024;

  SumPlan() = default;
  SumPlan(int64_t segments, int64_t length)
      : segments(segments), length(length) {
    const int64_t useful = (length + kPartTerms - 1) / kPartTerms;
    const int64_t room = segments > 0 ? kWantedBlocks / segments : 1;
    parts = useful < room ? useful : room;
    if (parts < 1) parts = 1;
    part_terms = (length + parts - 1) / parts;
  }

  // For either kind of sum.
  size_t scratch_bytes() const { return segments * parts * sizeof(SumPair); }

  int64_t segments = 0, length = 0, parts = 1, part_terms = 0;
};

template <class Sum, class Term>
__global__ void __launch_bounds__(kThreads)
    SumPartsKernel(SumPlan plan, Sum* partial, Term term) {
  for (int64_t at = blockIdx.x; at < plan.segments * plan.parts;
       at += gridDim.x) {
    const int64_t segment = at / plan.parts;
    const int64_t begin = at % plan.parts * plan.part_terms;
    int64_t end = begin + plan.part_terms;
    if (end > plan.length) end = plan.length;
    Sum sum{};
    for (int64_t k = begin + threadIdx.x; k < end; k += kThreads) {
      sum = Add(sum, Sum(term(segment, k)));
    }
    sum = BlockSum(sum);
    if (threadIdx.x == 0) partial[at] = sum;
  }
}

// Adds a segment's parts in order and hands the sum over.
template <class Sum, class Finish>
struct FinishBody {
  SumPlan plan;
  const Sum* partial;
  Finish finish;
  __device__ void operator()(int64_t segment) const {
    Sum sum{};
    for (int64_t p = 0; p < plan.parts; ++p) {
      sum = Add(sum, partial[segment * plan.parts + p]);
    }
    finish(segment, sum);
  }
};

// Short segments: a thread each.
template <class Sum, class Term, class Finish>
struct ShortSumBody {
  SumPlan plan;
  Term term;
  Finish finish;
  __device__ void operator()(int64_t segment) const {
    Sum sum{};
    for (int64_t k = 0; k < plan.length; ++k) {
      sum = Add(sum, Sum(term(segment, k)));
    }
    finish(segment, sum);
  }
};

// finish(s, sum over k < length of term(s, k)) for every segment s.  Sum is
// double or SumPair.  `scratch`: plan.scratch_bytes().
template <class Sum, class Term, class Finish>
absl::Status SumSegments(Stream& stream, const SumPlan& plan, void* scratch,
                         Term term, Finish finish) {
  if (plan.segments < 1) return absl::OkStatus();
  if (plan.length <= 32) {
    return ForEach(stream, plan.segments,
                   ShortSumBody<Sum, Term, Finish>{plan, term, finish});
  }
  Sum* partial = static_cast<Sum*>(scratch);
  RETURN_IF_ERROR(Launch(stream, SumPartsKernel<Sum, Term>,
                         Blocks(plan.segments * plan.parts, 1), kThreads, plan,
                         partial, term));
  return ForEach(stream, plan.segments,
                 FinishBody<Sum, Finish>{plan, partial, finish});
}

// Tall and narrow: 32 neighbouring columns a block, so that reads coalesce.
template <class Sum, class Term, class Finish>
__global__ void __launch_bounds__(kThreads)
    ColumnSumsKernel(int64_t rows, int64_t columns, Term term, Finish finish) {
  constexpr int kRows = kThreads / 32;
  __shared__ Sum partial[kRows][32];
  const int lane = threadIdx.x % 32, first = threadIdx.x / 32;
  for (int64_t tile = blockIdx.x; tile * 32 < columns; tile += gridDim.x) {
    const int64_t c = tile * 32 + lane;
    Sum sum{};
    for (int64_t r = first; c < columns && r < rows; r += kRows) {
      sum = Add(sum, Sum(term(r * columns + c, c)));
    }
    partial[first][lane] = sum;
    __syncthreads();
    if (first == 0 && c < columns) {
      for (int r = 1; r < kRows; ++r) sum = Add(sum, partial[r][lane]);
      finish(c, sum);
    }
    __syncthreads();
  }
}

// Turns a term of (index, channel) into one of (segment, k).
template <class Term>
struct ChannelTerm {
  ChannelView view;
  Term term;
  __device__ auto operator()(int64_t c, int64_t k) const {
    return term(view.Index(k / view.positions, c, k % view.positions), c);
  }
};

inline SumPlan ChannelSumPlan(const ChannelView& view) {
  return SumPlan(view.channels, view.items * view.positions);
}

// finish(c, sum over the elements i of channel c of term(i, c)).  `scratch`:
// ChannelSumPlan(view).scratch_bytes().
template <class Sum, class Term, class Finish>
absl::Status SumChannels(Stream& stream, const ChannelView& view, void* scratch,
                         Term term, Finish finish) {
  if (view.positions == 1 && view.channels > 1) {
    return Launch(stream, ColumnSumsKernel<Sum, Term, Finish>,
                  Blocks(view.channels, 32), kThreads, view.items,
                  view.channels, term, finish);
  }
  return SumSegments<Sum>(stream, ChannelSumPlan(view), scratch,
                          ChannelTerm<Term>{view, term}, finish);
}

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_REDUCE_CUH_
