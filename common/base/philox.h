// Counter-based randomness: Philox4x32-10 (Salmon et al., SC 2011).  A draw is
// a pure function of key and counter, so nothing is stored, any draw can be
// made in any order, and the CPU and a GPU agree on it.
#ifndef CSSP_COMMON_BASE_PHILOX_H_
#define CSSP_COMMON_BASE_PHILOX_H_

#include <array>
#include <cstdint>

namespace cssp {

using PhiloxBlock = std::array<uint32_t, 4>;

// Four independent 32-bit draws of `counter` under `key`.
inline constexpr PhiloxBlock Philox(uint64_t key, PhiloxBlock counter) {
  uint32_t k0 = static_cast<uint32_t>(key);
  uint32_t k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ k0,
               static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ k1,
               static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return counter;
}

// [0, 1): 24 bits, every value a float.
inline constexpr float UnitFloat(uint32_t bits) {
  return static_cast<float>(bits >> 8) * 0x1p-24f;
}

// [0, bound), unbiased to within bound / 2^32.  REQUIRES: bound > 0.
inline constexpr uint32_t BoundedDraw(uint32_t bits, uint32_t bound) {
  return static_cast<uint32_t>((uint64_t{bits} * bound) >> 32);
}

}  // namespace cssp

#endif  // CSSP_COMMON_BASE_PHILOX_H_
