#include "tests/bench/data_plane/apply_kernel.h"

#include <array>
#include <vector>

#include "common/base/time_source.h"
#include "common/optim/chunk_update.h"
#include "common/optim/simd.h"

namespace cssp::bench {
namespace {

constexpr int kBatch = 16;  // rounds between two looks at the clock

// The arrays of a chunk.  A shard writes weights in place unless somebody still
// reads them: then beside, and the two take turns.
struct Arrays {
  explicit Arrays(int64_t floats)
      : floats(floats), history(floats, 0.0f), gradient(floats, 1e-3f) {
    for (std::vector<float>& values : weights) values.assign(floats, 1.0f);
  }
  float* in(int round) { return weights[round % 2].data(); }
  float* out(int round, bool in_place) {
    return in_place ? in(round) : in(round + 1);
  }
  const int64_t floats;
  std::array<std::vector<float>, 2> weights;
  std::vector<float> history;
  std::vector<float> gradient;
};

CSSP_SIMD_CLONES void LoadAndStore(const float* in, float* out, float* h,
                                   const float* g, int64_t n) {
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) {
    const float step = h[i] + g[i];
    h[i] = step;
    out[i] = in[i] - step;
  }
}

template <class Body>
double Rate(Arrays& arrays, absl::Duration duration, Body body) {
  TimeSource& time = TimeSource::Real();
  for (int i = 0; i < 4; ++i) body(i);  // warm
  const absl::Time begin = time.Now();
  const absl::Time until = begin + duration;
  int64_t rounds = 0;
  absl::Time now = begin;
  while (now < until) {
    for (int i = 0; i < kBatch; ++i) body(i);
    rounds += kBatch;
    now = time.Now();
  }
  return static_cast<double>(rounds * arrays.floats * sizeof(float)) /
         absl::ToDoubleSeconds(now - begin);
}

}  // namespace

double ApplyRate(int64_t bytes, bool in_place, absl::Duration duration) {
  Arrays arrays(bytes / static_cast<int64_t>(sizeof(float)));
  caffe::SolverParameter solver;
  solver.set_momentum(0.9f);
  solver.set_weight_decay(0.0005f);
  const auto update = ChunkUpdate::Create(solver).value();
  const std::vector<UpdateSegment> segments = {{.count = arrays.floats}};
  std::array<float*, 1> history = {arrays.history.data()};
  const size_t floats = arrays.gradient.size();
  return Rate(arrays, duration, [&](int i) {
    const int round = in_place ? 0 : i;
    // The gradient is the part that just arrived; the sizes of numbers do not
    // matter here while they are no denormals.
    update->Apply({.rate = 1e-4f, .update = i}, UpdateScales(), segments,
                  {arrays.in(round), floats},
                  {arrays.out(round, in_place), floats},
                  absl::MakeSpan(history), absl::MakeSpan(arrays.gradient));
  });
}

double ApplyLimit(int64_t bytes, bool in_place, absl::Duration duration) {
  Arrays arrays(bytes / static_cast<int64_t>(sizeof(float)));
  return Rate(arrays, duration, [&](int i) {
    const int round = in_place ? 0 : i;
    LoadAndStore(arrays.in(round), arrays.out(round, in_place),
                 arrays.history.data(), arrays.gradient.data(), arrays.floats);
  });
}

}  // namespace cssp::bench
