// The places at which each key of a list occurs, linked in their order: what
// adds up rows that may be named more than once needs no atomics.
#ifndef CSSP_WORKER_LAYERS_CUDA_OCCURRENCES_CUH_
#define CSSP_WORKER_LAYERS_CUDA_OCCURRENCES_CUH_

#include <cstdint>

#include "common/base/status_macros.h"
#include "common/device/cuda/launch.h"
#include "worker/layers/cuda/cuda_layer.h"

namespace cssp::cuda {

// In scratch: for every place whether it is its key's first, and the next one.
struct Occurrences {
  static constexpr int32_t kNone = -1;

  static size_t scratch_bytes(int64_t places) {
    return 2 * AlignUp(places * sizeof(int32_t));
  }
  Occurrences(int64_t places, void *scratch)
      : places(places),
        next(static_cast<int32_t *>(scratch)),
        is_first(next + AlignUp(places * sizeof(int32_t)) / sizeof(int32_t)) {}

  int64_t places;
  int32_t *next;
  int32_t *is_first;
};

// key(i): the key at place i, or a negative number for none.  Work grows with
// the square of the places, of which there are few: indices, not rows.
template <class Key>
absl::Status LinkOccurrences(Stream &stream, const Occurrences &o, Key key) {
  return ForEach(stream, o.places, [=] __device__(int64_t i) {
    const int64_t own = key(i);
    int64_t before = i - 1, after = i + 1;
    while (before >= 0 && key(before) != own) --before;
    while (after < o.places && key(after) != own) ++after;
    o.is_first[i] = own >= 0 && before < 0;
    o.next[i] =
        after < o.places ? static_cast<int32_t>(after) : Occurrences::kNone;
  });
}

// rows(key, c) += sum of from(place, c) over the key's places, first to last,
// for every key that occurs; rows of `width` elements.
template <class Key>
absl::Status AddOccurrences(Stream &stream, const Occurrences &o, Key key,
                            const float *from, int64_t width, float *rows) {
  return ForEach(stream, o.places * width, [=] __device__(int64_t k) {
    const int64_t first = k / width, c = k % width;
    if (!o.is_first[first]) return;
    float &to = rows[key(first) * width + c];
    float sum = to;
    for (int64_t i = first; i != Occurrences::kNone; i = o.next[i]) {
      sum += from[i * width + c];
    }
    to = sum;
  });
}

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_OCCURRENCES_CUH_
