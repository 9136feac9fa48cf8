#include "worker/layers/cpu/winograd.h"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "common/base/logging.h"
#include "worker/layers/cpu/winograd_tile.h"

namespace cssp::cpu {
namespace {

// Floats of a thread's tiles, transformed: what the second-level cache holds
// beside the weights.
constexpr int64_t kForwardFloats = 160 << 10;
// Packed weights beyond that are read from the third level for every run of
// tiles, so runs are not shorter than kLongRun.
constexpr int64_t kManyWeights = 1536 << 10;
constexpr int64_t kLongRun = 48;
// Both sides of a run of tiles in the backward pass to the weights; for every
// run the whole sum is read and written, a tile for each kSumsPerTile of it.
constexpr int64_t kWeightsFloats = 512 << 10;
constexpr int64_t kSumsPerTile = 16 << 10;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

int LanesOf(int64_t channels, int64_t block) {
  return static_cast<int>(std::min<int64_t>(kLanes, channels - block * kLanes));
}

}  // namespace

AlignedFloats::AlignedFloats(int64_t count) {
  const size_t bytes = CeilDiv(count * sizeof(float), 64) * 64;
  data_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
  CHECK(data_ != nullptr) << "out of memory";
  std::memset(data_.get(), 0, bytes);
}

// One convolution by tiles: forward, or backward to the bottom.
struct Winograd::Pass {
  int64_t reduce = 0;                      // channels summed over, per group
  int64_t from_blocks = 0, to_blocks = 0;  // per group
  int64_t channels = 0;                    // made, all groups
  int64_t rows[2] = {0, 0}, columns[2] = {0, 0};  // from, to
  int64_t pad[2] = {0, 0};
  const float* packed = nullptr;

  int64_t points_step(int64_t tiles, int64_t blocks) const {
    return (tiles * blocks + 1) * kLanes;  // + 1: no two points in one set
  }
  // Tiles in a run of one thread.
  int64_t run(int64_t tiles, int threads) const {
    int64_t fit =
        kForwardFloats / (kPoints * kLanes * (from_blocks + to_blocks));
    if (kPoints * kLanes * reduce * to_blocks > kManyWeights)
      fit = std::max(fit, kLongRun);
    const int64_t share = CeilDiv(tiles, 2 * threads);
    return std::max<int64_t>(std::min(fit, share) / kProductRows, 1) *
           kProductRows;
  }
};

bool Winograd::Supports(const WinogradShape& s) {
  if (!__builtin_cpu_supports("avx512f")) return false;
  if (s.kernel != 3 && s.kernel != 5) return false;
  for (int i = 0; i < 2; ++i) {
    if (s.pad[i] < 0 || s.pad[i] >= s.kernel || s.out(i) < 1) return false;
  }
  if (s.group < 1 || s.channels % s.group != 0 || s.outputs % s.group != 0)
    return false;
  // Offsets of sixteen filters are 32 bits wide.
  if (s.channels * s.kernel * s.kernel > (int64_t{1} << 26)) return false;
  return s.group == 1 || (s.channels / s.group % kLanes == 0 &&
                          s.outputs / s.group % kLanes == 0);
}

Winograd::Winograd(const WinogradShape& shape)
    : shape_(shape),
      in_(shape.channels / shape.group),
      out_(shape.outputs / shape.group),
      in_blocks_(CeilDiv(in_, kLanes)),
      out_blocks_(CeilDiv(out_, kLanes)),
      kernel_(static_cast<int>(shape.kernel)),
      threads_(omp_get_max_threads()) {}

Winograd::Pass Winograd::ForwardPass() const {
  Pass pass{.reduce = in_,
            .from_blocks = in_blocks_,
            .to_blocks = out_blocks_,
            .channels = shape_.outputs,
            .rows = {shape_.in[0], shape_.out(0)},
            .columns = {shape_.in[1], shape_.out(1)},
            .pad = {shape_.pad[0], shape_.pad[1]},
            .packed = forward_.data()};
  return pass;
}

Winograd::Pass Winograd::BackwardPass() const {
  const int64_t last = shape_.kernel - 1;
  Pass pass{.reduce = out_,
            .from_blocks = out_blocks_,
            .to_blocks = in_blocks_,
            .channels = shape_.channels,
            .rows = {shape_.out(0), shape_.in[0]},
            .columns = {shape_.out(1), shape_.in[1]},
            .pad = {last - shape_.pad[0], last - shape_.pad[1]},
            .packed = backward_.data()};
  return pass;
}

// Packed: group, point, block made, channel summed over, lane.
void Winograd::Pack(const Pass& pass, bool turned, const float* weights,
                    float* packed) const {
  const int64_t size = shape_.kernel * shape_.kernel;
  const int64_t blocks = pass.to_blocks, reduce = pass.reduce;
  const int64_t step = blocks * reduce * kLanes;
  const int64_t lanes = turned ? in_ : out_;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < shape_.group * blocks * reduce; ++i) {
    const int64_t r = i % reduce, b = i / reduce % blocks;
    const int64_t g = i / reduce / blocks;
    const Filters f{.stride = turned ? size : in_ * size,
                    .lanes = LanesOf(lanes, b),
                    .turned = turned};
    const float* from =
        weights + g * out_ * in_ * size +
        (turned ? r * in_ + b * kLanes : b * kLanes * in_ + r) * size;
    float* to = packed + g * kPoints * step + (b * reduce + r) * kLanes;
    TransformFilters(kernel_, from, f, to, step);
  }
}

void Winograd::PackForward(const float* weights) {
  if (!forward_)
    forward_ =
        AlignedFloats(kPoints * shape_.group * out_blocks_ * in_ * kLanes);
  Pack(ForwardPass(), false, weights, forward_.data());
}

void Winograd::PackBackward(const float* weights) {
  if (!backward_)
    backward_ =
        AlignedFloats(kPoints * shape_.group * in_blocks_ * out_ * kLanes);
  Pack(BackwardPass(), true, weights, backward_.data());
}

namespace {

// Tiles of a tensor in reading order.
struct Tiles {
  int64_t size = 0;  // of a top tile
  int64_t down = 0, across = 0;

  Tiles(int64_t kernel, int64_t rows, int64_t columns)
      : size(kTile + 1 - kernel),
        down(CeilDiv(rows, size)),
        across(CeilDiv(columns, size)) {}
  int64_t per_item() const { return down * across; }
  int64_t item(int64_t tile) const { return tile / per_item(); }
  // Its corner, moved up and left by `pad`.
  Place At(int64_t tile, const int64_t pad[2], int64_t rows,
           int64_t columns) const {
    const int64_t in_item = tile % per_item();
    return {in_item / across * size - pad[0], in_item % across * size - pad[1],
            rows, columns};
  }
};

constexpr int64_t kNoPad[2] = {0, 0};

}  // namespace

void Winograd::Convolve(const Pass& pass, const float* from, const float* bias,
                        float* to, float* scratch) const {
  const Tiles tiles(shape_.kernel, pass.rows[1], pass.columns[1]);
  const int64_t count = tiles.per_item() * shape_.items;
  const int64_t run = pass.run(count, threads_);
  const int64_t runs = CeilDiv(count, run), group = shape_.group;
  const int64_t from_row = pass.from_blocks * kLanes;
  const int64_t to_row = pass.to_blocks * kLanes;
  const int64_t in_step = pass.points_step(run, pass.from_blocks);
  const int64_t out_step = pass.points_step(run, pass.to_blocks);
  const int64_t from_plane = pass.rows[0] * pass.columns[0] * kLanes;
  const int64_t to_plane = pass.rows[1] * pass.columns[1] * kLanes;
#pragma omp parallel for schedule(static) num_threads(threads_)
  for (int64_t job = 0; job < runs * group; ++job) {
    const int64_t first = job / group * run, g = job % group;
    const int64_t n = std::min(run, count - first);
    float* in = scratch + omp_get_thread_num() * kPoints * (in_step + out_step);
    float* out = in + kPoints * in_step;
    for (int64_t t = 0; t < n; ++t) {
      const Place at =
          tiles.At(first + t, pass.pad, pass.rows[0], pass.columns[0]);
      const int64_t block =
          (tiles.item(first + t) * group + g) * pass.from_blocks;
      for (int64_t b = 0; b < pass.from_blocks; ++b) {
        TransformBottom(from + (block + b) * from_plane, at,
                        in + t * from_row + b * kLanes, in_step);
      }
    }
    for (int p = 0; p < kPoints; ++p) {
      const float* u = pass.packed + (g * kPoints + p) * to_row * pass.reduce;
      for (int64_t b = 0; b < pass.to_blocks; b += 2) {
        MultiplyRows({.a = in + p * in_step,
                      .a_row = from_row,
                      .a_reduce = 1,
                      .b = u + b * pass.reduce * kLanes,
                      .b_reduce = kLanes,
                      .b_block = pass.reduce * kLanes,
                      .c = out + p * out_step + b * kLanes,
                      .c_row = to_row,
                      .reduce = pass.reduce},
                     n, b + 1 < pass.to_blocks ? 2 : 1);
      }
    }
    for (int64_t b = 0; b < pass.to_blocks; ++b) {
      alignas(64) float add[kLanes] = {};
      const int64_t channel = (g * pass.to_blocks + b) * kLanes;
      if (bias != nullptr) {
        std::copy_n(bias + channel,
                    std::min<int64_t>(kLanes, pass.channels - channel), add);
      }
      for (int64_t t = 0; t < n; ++t) {
        const Place at =
            tiles.At(first + t, kNoPad, pass.rows[1], pass.columns[1]);
        float* plane =
            to + ((tiles.item(first + t) * group + g) * pass.to_blocks + b) *
                     to_plane;
        const float* products = out + t * to_row + b * kLanes;
        TransformTop(kernel_, products, out_step, add, at, plane);
      }
    }
  }
}

void Winograd::Forward(const float* bottom, const float* bias, float* top,
                       void* scratch) const {
  Convolve(ForwardPass(), bottom, bias, top, static_cast<float*>(scratch));
}

void Winograd::BackwardData(const float* top_gradient, float* bottom_gradient,
                            void* scratch) const {
  Convolve(BackwardPass(), top_gradient, nullptr, bottom_gradient,
           static_cast<float*>(scratch));
}

namespace {

// Tiles whose two sides are transformed before they are multiplied.  Nothing
// of it depends on the threads.
int64_t WeightsRun(int64_t in_blocks, int64_t out_blocks) {
  constexpr int64_t kBlock = kPoints * kLanes;
  return std::max(kWeightsFloats / (kBlock * (in_blocks + out_blocks)),
                  kBlock * kLanes * in_blocks * out_blocks / kSumsPerTile) +
         1;
}

}  // namespace

void Winograd::BackwardWeights(const float* bottom, const float* top_gradient,
                               bool add, float* gradient, void* scratch) const {
  const int64_t rows = shape_.out(0), columns = shape_.out(1);
  const Tiles tiles(shape_.kernel, rows, columns);
  const int64_t count = tiles.per_item() * shape_.items;
  const int64_t run = WeightsRun(in_blocks_, out_blocks_);
  const int64_t in_row = in_blocks_ * kLanes, out_row = out_blocks_ * kLanes;
  const int64_t in_step = run * in_row + kLanes;
  const int64_t out_step = run * out_row + kLanes;
  const int64_t sum_step = in_ * out_row + kLanes;
  float* in = static_cast<float*>(scratch);
  float* out = in + kPoints * in_step;
  float* sums = out + kPoints * out_step;
  const int64_t size = shape_.kernel * shape_.kernel;
  const int64_t bottom_plane = shape_.in[0] * shape_.in[1] * kLanes;
  const int64_t parts = CeilDiv(in_, kProductRows);
  for (int64_t g = 0; g < shape_.group; ++g) {
    for (int64_t first = 0; first < count; first += run) {
      const int64_t n = std::min(run, count - first);
#pragma omp parallel num_threads(threads_)
      {
#pragma omp for schedule(static)
        for (int64_t t = 0; t < n; ++t) {
          const int64_t item = tiles.item(first + t) * shape_.group + g;
          const Place from =
              tiles.At(first + t, shape_.pad, shape_.in[0], shape_.in[1]);
          for (int64_t b = 0; b < in_blocks_; ++b) {
            TransformBottom(bottom + (item * in_blocks_ + b) * bottom_plane,
                            from, in + t * in_row + b * kLanes, in_step);
          }
          const Place at = tiles.At(first + t, kNoPad, rows, columns);
          for (int64_t b = 0; b < out_blocks_; ++b) {
            const float* plane = top_gradient + (item * out_blocks_ + b) *
                                                    rows * columns * kLanes;
            float* to = out + t * out_row + b * kLanes;
            TransformTopGradient(kernel_, plane, at, to, out_step);
          }
        }
#pragma omp for schedule(static)
        for (int64_t job = 0; job < kPoints * parts; ++job) {
          const int64_t p = job / parts, channel = job % parts * kProductRows;
          for (int64_t b = 0; b < out_blocks_; b += 2) {
            MultiplyRows(
                {.a = in + p * in_step + channel,
                 .a_row = 1,
                 .a_reduce = in_row,
                 .b = out + p * out_step + b * kLanes,
                 .b_reduce = out_row,
                 .b_block = kLanes,
                 .c = sums + p * sum_step + channel * out_row + b * kLanes,
                 .c_row = out_row,
                 .reduce = n,
                 .add = first > 0},
                std::min<int64_t>(kProductRows, in_ - channel),
                b + 1 < out_blocks_ ? 2 : 1);
          }
        }
      }
    }
#pragma omp parallel for schedule(static) num_threads(threads_)
    for (int64_t i = 0; i < in_ * out_blocks_; ++i) {
      const int64_t c = i % in_, b = i / in_;
      const Filters f{.stride = in_ * size, .lanes = LanesOf(out_, b)};
      float* to = gradient + ((g * out_ + b * kLanes) * in_ + c) * size;
      const float* sum = sums + c * out_row + b * kLanes;
      TransformGradient(kernel_, sum, sum_step, f, add, to);
    }
  }
}

void Winograd::BackwardBias(const float* top_gradient, float* sums) const {
  const int64_t blocks = shape_.group * out_blocks_;
  const int64_t positions = shape_.out(0) * shape_.out(1);
#pragma omp parallel for schedule(static) num_threads(threads_)
  for (int64_t b = 0; b < blocks; ++b) {
    double total[kLanes] = {};
    alignas(64) float part[kLanes];
    for (int64_t n = 0; n < shape_.items; ++n) {
      SumPlane(top_gradient + (n * blocks + b) * positions * kLanes, positions,
               part);
      for (int l = 0; l < kLanes; ++l) total[l] += part[l];
    }
    for (int l = 0; l < LanesOf(shape_.outputs, b); ++l)
      sums[b * kLanes + l] = static_cast<float>(total[l]);
  }
}

size_t Winograd::scratch_bytes() const {
  int64_t most = 0;
  for (const Pass& pass : {ForwardPass(), BackwardPass()}) {
    const Tiles tiles(shape_.kernel, pass.rows[1], pass.columns[1]);
    const int64_t run = pass.run(tiles.per_item() * shape_.items, threads_);
    most = std::max(most, threads_ * kPoints *
                              (pass.points_step(run, pass.from_blocks) +
                               pass.points_step(run, pass.to_blocks)));
  }
  const int64_t run = WeightsRun(in_blocks_, out_blocks_);
  most = std::max(most, kPoints * (run * (in_blocks_ + out_blocks_) * kLanes +
                                   in_ * out_blocks_ * kLanes + 3 * kLanes));
  return most * sizeof(float);
}

}  // namespace cssp::cpu
