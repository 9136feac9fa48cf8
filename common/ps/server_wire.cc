#include "common/ps/server_wire.h"

#include <bit>

#include "absl/strings/str_cat.h"
#include "common/ps/little_endian.h"
#include "common/ps/messages.h"

namespace cssp::ps {
namespace {

static_assert(sizeof(double) == sizeof(uint64_t));

// Bits: the integer that a Number's bytes are.
template <class Bits, class Number>
std::string Encode(absl::Span<const Number> numbers) {
  std::string body(numbers.size() * sizeof(Bits), '\0');
  LittleEndianWriter writer(body.data());
  for (const Number number : numbers) writer.Put(std::bit_cast<Bits>(number));
  return body;
}

template <class Bits, class Number>
std::vector<Number> Decode(absl::Span<const uint8_t> body) {
  std::vector<Number> numbers(body.size() / sizeof(Bits));
  LittleEndianReader reader(body.data());
  for (Number& number : numbers) {
    Bits bits;
    reader.Get(&bits);
    number = std::bit_cast<Number>(bits);
  }
  return numbers;
}

}  // namespace

std::string EncodeNorms(absl::Span<const double> partials) {
  return Encode<uint64_t>(partials);
}

std::string EncodeContributors(absl::Span<const int32_t> ranks) {
  return Encode<uint32_t>(ranks);
}

bool IsNormsSize(size_t bytes) {
  return bytes % sizeof(uint64_t) == 0 && bytes <= kMaxPayloadBytes;
}

bool IsContributorsSize(size_t bytes, int workers) {
  return bytes % sizeof(uint32_t) == 0 &&
         bytes / sizeof(uint32_t) <= static_cast<size_t>(workers);
}

absl::StatusOr<std::vector<double>> DecodeNorms(
    absl::Span<const uint8_t> body) {
  if (!IsNormsSize(body.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("norms of ", body.size(), " bytes: whole doubles, at most ",
                     kMaxPayloadBytes, " bytes"));
  }
  return Decode<uint64_t, double>(body);
}

absl::StatusOr<std::vector<int32_t>> DecodeContributors(
    absl::Span<const uint8_t> body, int workers) {
  if (!IsContributorsSize(body.size(), workers)) {
    return absl::InvalidArgumentError(
        absl::StrCat("contributors of ", body.size(),
                     " bytes: whole ranks, at most ", workers));
  }
  return Decode<uint32_t, int32_t>(body);
}

}  // namespace cssp::ps
