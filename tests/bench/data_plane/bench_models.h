// The models that the bench's server opens and its worker trains, and the
// server process itself.
#ifndef CSSP_TESTS_BENCH_DATA_PLANE_BENCH_MODELS_H_
#define CSSP_TESTS_BENCH_DATA_PLANE_BENCH_MODELS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/ps/slab_layout.h"
#include "common/transport/transport.h"

namespace cssp::bench {

inline constexpr char kToken[] = "bench";
// Clocks that a worker may have under way: the window of `push` rows.
inline constexpr int kClocksInFlight = 8;

struct Model {
  uint32_t job = 0;  // number
  int blobs = 1;
  int64_t floats = 0;  // a blob
  int64_t chunk_bytes = 0;

  int64_t bytes() const { return blobs * floats * int64_t{sizeof(float)}; }
  ps::SlabLayout Layout() const;
};

// SGD with momentum and weight decay in all of them.
std::vector<Model> Models(int64_t chunk_bytes);

TransportOptions Options(const std::string& transports);

// A process of our own, which lives until this one ends.
struct Process {
  int pid = 0;
  std::string address;  // of its listener
};
// `body` gets a descriptor to write its address to, and never returns.
// REQUIRES: no thread was started yet.
Process Fork(const std::function<void(int fd)>& body);
// Processor seconds of all threads of a process so far.
double CpuSeconds(int pid);

// A server with all models open.  REQUIRES as Fork.
Process ForkServer(const std::string& transports,
                   const std::vector<Model>& models);

}  // namespace cssp::bench

#endif  // CSSP_TESTS_BENCH_DATA_PLANE_BENCH_MODELS_H_
