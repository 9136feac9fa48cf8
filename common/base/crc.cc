#include "common/base/crc.h"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace cssp {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected 0x1edc6f41
constexpr size_t kLeastWide = 1024;  // bytes from which on folding pays
// Copied, then read again from the first-level cache.
constexpr size_t kStripe = 8192;

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1) ? kPolynomial : 0);
    table[i] = crc;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kTable = MakeTable();

uint32_t Portable(const uint8_t* p, size_t size, uint32_t crc) {
  for (; size > 0; --size) crc = kTable[(crc ^ *p++) & 0xff] ^ (crc >> 8);
  return crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) uint32_t Sse42(const uint8_t* p, size_t size,
                                                 uint32_t crc) {
  uint64_t crc64 = crc;
  for (; size >= 8; size -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    crc64 = _mm_crc32_u64(crc64, word);
  }
  crc = static_cast<uint32_t>(crc64);
  for (; size > 0; --size) crc = _mm_crc32_u8(crc, *p++);
  return crc;
}

// x^power mod the polynomial, in the reflected notation, times x: what a
// carry-less product of reflected halves needs.
constexpr uint64_t Power(int power) {
  uint32_t value = 0x80000000;  // x^0
  for (int i = 0; i < power; ++i)
    value = (value >> 1) ^ ((value & 1) ? kPolynomial : 0);
  return uint64_t{value} << 1;
}

// Moves a 16-byte lane `bytes` further along the message: what its low and its
// high half are multiplied by (V. Gopal et al., Intel, 2009).
struct Fold {
  uint64_t low, high;
};
constexpr Fold FoldBy(int bytes) {
  return {Power(bytes * 8 + 32), Power(bytes * 8 - 32)};
}

__attribute__((target("pclmul,sse4.2"))) inline __m128i Folded(__m128i lane,
                                                               __m128i by,
                                                               __m128i next) {
  return _mm_xor_si128(next,
                       _mm_xor_si128(_mm_clmulepi64_si128(lane, by, 0x00),
                                     _mm_clmulepi64_si128(lane, by, 0x11)));
}

__attribute__((target("pclmul,sse4.2"))) inline __m128i Constants(Fold fold) {
  return _mm_set_epi64x(static_cast<int64_t>(fold.high),
                        static_cast<int64_t>(fold.low));
}

// Four lanes, which lie 16 bytes apart, and the rest of the message.
__attribute__((target("pclmul,sse4.2"))) uint32_t Finish(const __m128i lane[4],
                                                         const uint8_t* p,
                                                         size_t size) {
  constexpr Fold kStep = FoldBy(16);
  const __m128i by = Constants(kStep);
  __m128i sum = lane[0];
  for (int i = 1; i < 4; ++i) sum = Folded(sum, by, lane[i]);
  uint64_t crc = _mm_crc32_u64(0, _mm_cvtsi128_si64(sum));
  crc = _mm_crc32_u64(crc, _mm_extract_epi64(sum, 1));
  return Sse42(p, size, static_cast<uint32_t>(crc));
}

// REQUIRES: size >= 64.
__attribute__((target("pclmul,sse4.2"))) uint32_t Pclmul(const uint8_t* p,
                                                         size_t size,
                                                         uint32_t crc) {
  constexpr Fold kStep = FoldBy(64);
  const __m128i by = Constants(kStep);
  const auto load = [](const uint8_t* at) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  };
  __m128i lane[4];
  for (int i = 0; i < 4; ++i) lane[i] = load(p + 16 * i);
  lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi32_si128(static_cast<int>(crc)));
  for (p += 64, size -= 64; size >= 64; p += 64, size -= 64) {
    for (int i = 0; i < 4; ++i) lane[i] = Folded(lane[i], by, load(p + 16 * i));
  }
  return Finish(lane, p, size);
}

#define CSSP_WIDE \
  __attribute__((target("avx512f,avx512dq,vpclmulqdq,pclmul,sse4.2")))

CSSP_WIDE inline __m512i WideFolded(__m512i lanes, __m512i by, __m512i next) {
  return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(lanes, by, 0x00),
                                   _mm512_clmulepi64_epi128(lanes, by, 0x11),
                                   next, 0x96);  // exclusive or of three
}

// Bytes as they are read, and written to `*to` where there is one.
template <bool kCopy>
CSSP_WIDE inline __m512i WideLoad(const uint8_t* p, uint8_t* to) {
  const __m512i bytes = _mm512_loadu_si512(p);
  if (kCopy) _mm512_storeu_si512(to, bytes);
  return bytes;
}

// Four times four lanes.  REQUIRES: size >= 256.
template <bool kCopy>
CSSP_WIDE uint32_t Vpclmul(const uint8_t* p, uint8_t* to, size_t size,
                           uint32_t crc) {
  constexpr Fold kStep = FoldBy(256), kJoin = FoldBy(64);
  constexpr size_t kWritten = kCopy ? 256 : 0;
  const __m512i by = _mm512_broadcast_i64x2(Constants(kStep));
  __m512i lanes[4];
  for (int i = 0; i < 4; ++i) {
    lanes[i] = WideLoad<kCopy>(p + 64 * i, to + 64 * i);
  }
  lanes[0] = _mm512_xor_si512(
      lanes[0],
      _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(crc))));
  p += 256, to += kWritten;
  for (size -= 256; size >= 256; p += 256, to += kWritten, size -= 256) {
    for (int i = 0; i < 4; ++i) {
      lanes[i] = WideFolded(lanes[i], by,
                            WideLoad<kCopy>(p + 64 * i, to + 64 * i));
    }
  }
  if (kCopy) std::memcpy(to, p, size);
  const __m512i join = _mm512_broadcast_i64x2(Constants(kJoin));
  __m512i sum = lanes[0];
  for (int i = 1; i < 4; ++i) sum = WideFolded(sum, join, lanes[i]);
  const __m128i lane[4] = {
      _mm512_castsi512_si128(sum), _mm512_extracti64x2_epi64(sum, 1),
      _mm512_extracti64x2_epi64(sum, 2), _mm512_extracti64x2_epi64(sum, 3)};
  return Finish(lane, p, size);
}

#undef CSSP_WIDE

uint32_t Wide(const uint8_t* p, size_t size, uint32_t crc) {
  return Vpclmul<false>(p, nullptr, size, crc);
}

bool HasWide() {
  return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul") &&
         __builtin_cpu_supports("vpclmulqdq") &&
         __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512dq");
}

using Function = uint32_t (*)(const uint8_t*, size_t, uint32_t);
struct Version {
  Function run;
  size_t least;  // bytes from which on it is used
};

// Fastest first; the last takes any size.
std::array<Version, 3> MakeVersions() {
  const bool sse42 = __builtin_cpu_supports("sse4.2");
  const bool pclmul = sse42 && __builtin_cpu_supports("pclmul");
  const Version words = {sse42 ? Sse42 : Portable, 0};
  const Version lanes = pclmul ? Version{Pclmul, kLeastWide} : words;
  return {HasWide() ? Version{Wide, kLeastWide} : lanes, lanes, words};
}

#endif

}  // namespace

uint32_t Crc32c(const void* data, size_t size, uint32_t crc) {
  const auto* p = static_cast<const uint8_t*>(data);
#if defined(__x86_64__)
  static const std::array<Version, 3> versions = MakeVersions();
  for (const Version& version : versions) {
    if (size >= version.least) return ~version.run(p, size, ~crc);
  }
#endif
  return ~Portable(p, size, ~crc);
}

uint32_t CopyWithCrc32c(void* to, const void* from, size_t size) {
  auto* out = static_cast<uint8_t*>(to);
  const auto* in = static_cast<const uint8_t*>(from);
#if defined(__x86_64__)
  static const bool wide = HasWide();
  if (wide && size >= kLeastWide) return ~Vpclmul<true>(in, out, size, ~0u);
#endif
  uint32_t crc = 0;
  for (size_t at = 0; at < size; at += kStripe) {
    const size_t bytes = std::min(kStripe, size - at);
    std::memcpy(out + at, in + at, bytes);
    crc = Crc32c(out + at, bytes, crc);
  }
  return crc;
}

}  // namespace cssp
