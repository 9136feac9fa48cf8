// Indices along any number of axes, for references.
#ifndef CSSP_TESTS_UNIT_WORKER_LAYERS_INDEX_TESTING_H_
#define CSSP_TESTS_UNIT_WORKER_LAYERS_INDEX_TESTING_H_

#include <cstdint>
#include <vector>

namespace cssp::testing {

// The digits of `index` in the mixed base `extents`, last one fastest.
inline std::vector<int64_t> Digits(int64_t index,
                                   const std::vector<int64_t>& extents) {
  std::vector<int64_t> digits(extents.size());
  for (size_t i = extents.size(); i-- > 0;) {
    digits[i] = index % extents[i];
    index /= extents[i];
  }
  return digits;
}

inline int64_t Product(const std::vector<int64_t>& extents) {
  int64_t count = 1;
  for (const int64_t e : extents) count *= e;
  return count;
}

}  // namespace cssp::testing

#endif  // CSSP_TESTS_UNIT_WORKER_LAYERS_INDEX_TESTING_H_
