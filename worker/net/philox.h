// The net's randomness: Philox (common/base/philox.h) with the counter laid out
// for layers, so that a draw is a function of where it is made and not of when.
#ifndef CSSP_WORKER_NET_PHILOX_H_
#define CSSP_WORKER_NET_PHILOX_H_

#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/philox.h"

namespace cssp {

// Where a layer draws.  clock and rank count modulo 2^32, pass and layer modulo
// 2^16.
struct DrawSite {
  uint64_t seed = 0;
  int64_t clock = 0;
  int32_t pass = 0;
  int32_t layer = 0;
  int32_t rank = 0;
};

// Draws 4 * block .. 4 * block + 3 of the site.
inline constexpr PhiloxBlock DrawBlock(const DrawSite& site, uint32_t block) {
  const uint32_t place = static_cast<uint32_t>(site.pass) << 16 |
                         (static_cast<uint32_t>(site.layer) & 0xFFFFu);
  return Philox(site.seed, {block, static_cast<uint32_t>(site.clock), place,
                            static_cast<uint32_t>(site.rank)});
}

// mask[i] = value with `probability`, else 0.
inline void DrawBernoulli(const DrawSite& site, float probability, float value,
                          absl::Span<float> mask) {
  const size_t count = mask.size();
  for (size_t i = 0; i < count; i += 4) {
    const PhiloxBlock draw = DrawBlock(site, static_cast<uint32_t>(i / 4));
    for (size_t k = 0; k < 4 && i + k < count; ++k)
      mask[i + k] = UnitFloat(draw[k]) < probability ? value : 0.0f;
  }
}

// The seed of a named stream (a blob's filler): streams of different names are
// independent of each other and of the order in which they are drawn.
inline uint64_t StreamSeed(uint64_t seed, absl::string_view name) {
  uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
  for (const char c : name)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  uint64_t mixed = seed ^ (hash + 0x9E3779B97F4A7C15u);  // SplitMix64's end
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
  return mixed ^ (mixed >> 31);
}

// Two independent standard normal draws of two 32-bit draws (Box and Muller).
inline std::pair<float, float> NormalPair(uint32_t a, uint32_t b) {
  constexpr double kTurn = 6.283185307179586;
  const double open = (static_cast<double>(a) + 0.5) * 0x1p-32;  // (0, 1)
  const double angle = kTurn * (static_cast<double>(b) * 0x1p-32);
  const double radius = std::sqrt(-2.0 * std::log(open));
  return {static_cast<float>(radius * std::cos(angle)),
          static_cast<float>(radius * std::sin(angle))};
}

}  // namespace cssp

#endif  // CSSP_WORKER_NET_PHILOX_H_
