// The header of a worker's message, for tests that speak to shards.
#ifndef CSSP_TESTS_TESTING_WORKER_HEADER_H_
#define CSSP_TESTS_TESTING_WORKER_HEADER_H_

#include <cstdint>

#include "common/ps/messages.h"

namespace cssp {

inline constexpr uint32_t kIncarnation = 1;

// A push of one sample.
inline ps::MessageHeader WorkerHeader(ps::MessageType type, int rank,
                                      uint32_t chunk, int64_t clock,
                                      uint32_t sequence) {
  ps::MessageHeader header;
  header.type = type;
  header.rank = rank;
  header.incarnation = kIncarnation;
  header.chunk = chunk;
  header.clock = clock;
  header.samples = 1;
  header.sequence = sequence;
  return header;
}

}  // namespace cssp

#endif  // CSSP_TESTS_TESTING_WORKER_HEADER_H_
