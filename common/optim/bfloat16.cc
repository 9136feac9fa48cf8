#include "common/optim/bfloat16.h"

#include <algorithm>
#include <cstring>

#include "common/base/logging.h"
#include "common/optim/simd.h"

namespace cssp {
namespace {

// Widened so many at a time, through memory of their own: what is written may
// lie where these were, but never where later ones are.
constexpr int64_t kStripe = 1024;

CSSP_SIMD_CLONES void Pack(const uint32_t* in, uint16_t* out, int64_t n) {
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = in[i];
    const uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
    // Rounding could carry a NaN's last bit away, or make it infinite.
    const uint32_t quiet = bits | 0x00400000;
    const bool nan = (bits & 0x7fffffff) > 0x7f800000;
    out[i] = static_cast<uint16_t>((nan ? quiet : rounded) >> 16);
  }
}

CSSP_SIMD_CLONES void Widen(const uint16_t* in, uint32_t* out, int64_t n) {
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) out[i] = uint32_t{in[i]} << 16;
}

}  // namespace

void PackBf16(absl::Span<const float> values, absl::Span<uint16_t> packed) {
  CHECK_EQ(values.size(), packed.size()) << "a bfloat16 for each float";
  Pack(reinterpret_cast<const uint32_t*>(values.data()), packed.data(),
       static_cast<int64_t>(values.size()));
}

void UnpackBf16InPlace(absl::Span<float> values) {
  const auto count = static_cast<int64_t>(values.size());
  auto* const bytes = reinterpret_cast<uint8_t*>(values.data());
  const uint8_t* const packed = bytes + count * sizeof(uint16_t);
  uint16_t stripe[kStripe];
  for (int64_t from = 0; from < count; from += kStripe) {
    const int64_t n = std::min(kStripe, count - from);
    std::memcpy(stripe, packed + from * sizeof(uint16_t),
                n * sizeof(uint16_t));
    Widen(stripe, reinterpret_cast<uint32_t*>(values.data()) + from, n);
  }
}

}  // namespace cssp
