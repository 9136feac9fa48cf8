// Keys that others cannot guess.
#ifndef CSSP_COMMON_TRANSPORT_RANDOM_KEY_H_
#define CSSP_COMMON_TRANSPORT_RANDOM_KEY_H_

#include <cstdint>
#include <random>

namespace cssp {

inline uint64_t RandomKey() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_RANDOM_KEY_H_
