// Which random schedules a test runs: its environment may ask for others.
#ifndef CSSP_TESTS_SIM_CLUSTER_SCHEDULES_H_
#define CSSP_TESTS_SIM_CLUSTER_SCHEDULES_H_

#include <cstdint>
#include <cstdlib>

#include "absl/strings/numbers.h"

namespace cssp {

// CSSP_SIM_SCHEDULES and CSSP_SIM_SEED: more, or the one that failed.
inline int64_t FromEnvironment(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  int64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

}  // namespace cssp

#endif  // CSSP_TESTS_SIM_CLUSTER_SCHEDULES_H_
