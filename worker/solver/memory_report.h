// What training is going to take of the device's memory, said before it starts.
#ifndef CSSP_WORKER_SOLVER_MEMORY_REPORT_H_
#define CSSP_WORKER_SOLVER_MEMORY_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "worker/net/net.h"
#include "worker/solver/solver_nets.h"

namespace cssp {

// Bytes.  A sum of what is placed once and kept; copies of weights in a
// library's own layout are the layers' and not counted.
struct NetMemory {
  int64_t activations = 0;  // after sharing and reuse
  int64_t gradients = 0;    // of activations
  int64_t workspace = 0;    // one for all layers
  int64_t total() const { return activations + gradients + workspace; }
};
NetMemory MemoryOf(const Net& net);

struct MemoryReport {
  int64_t parameters = 0;
  int64_t parameter_gradients = 0;  // two generations
  int64_t history = 0;
  NetMemory train;
  std::vector<NetMemory> tests;  // which read the train net's parameters

  int64_t total() const;
  // "1.6 MiB: parameters 0.4 MiB, ...", in one line.
  std::string ToString() const;
};

// `history_slots`: slabs of history on this device, 0 where servers hold it.
MemoryReport MeasureMemory(const NetSet& nets, int history_slots);

}  // namespace cssp

#endif  // CSSP_WORKER_SOLVER_MEMORY_REPORT_H_
