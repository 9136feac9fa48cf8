// Integers as the wire and the logs have them: little-endian, on any machine.
#ifndef CSSP_COMMON_PS_LITTLE_ENDIAN_H_
#define CSSP_COMMON_PS_LITTLE_ENDIAN_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace cssp::ps {

// Thread-confined: its user.  The caller has made sure of the room.
class LittleEndianWriter {
 public:
  explicit LittleEndianWriter(void* out) : out_(static_cast<uint8_t*>(out)) {}
  template <class T>
  void Put(T value) {
    const auto bits = static_cast<std::make_unsigned_t<T>>(value);
    for (size_t i = 0; i < sizeof(T); ++i) {
      *out_++ = static_cast<uint8_t>(uint64_t{bits} >> (8 * i));
    }
  }

 private:
  uint8_t* out_;
};

// Thread-confined: its user.  The caller has made sure of the bytes.
class LittleEndianReader {
 public:
  explicit LittleEndianReader(const uint8_t* in) : in_(in) {}
  template <class T>
  void Get(T* value) {
    uint64_t bits = 0;
    for (size_t i = 0; i < sizeof(T); ++i) bits |= uint64_t{*in_++} << (8 * i);
    *value = static_cast<T>(bits);
  }

 private:
  const uint8_t* in_;
};

}  // namespace cssp::ps

#endif  // CSSP_COMMON_PS_LITTLE_ENDIAN_H_
