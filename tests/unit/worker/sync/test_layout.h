// A layout of several chunks for tests of worker/sync.
#ifndef CSSP_TESTS_UNIT_WORKER_SYNC_TEST_LAYOUT_H_
#define CSSP_TESTS_UNIT_WORKER_SYNC_TEST_LAYOUT_H_

#include "common/ps/slab_layout.h"

namespace cssp {

// Three parameters: "big" is cut into three chunks, the small ones share the
// last or have one of their own, as the layout decides.
inline ps::SlabLayout TestLayout() {
  std::vector<ps::BlobSpec> blobs;
  blobs.push_back({.key = "big", .shape = {10000}, .count = 10000});
  blobs.push_back({.key = "bias", .shape = {10}, .count = 10});
  blobs.push_back({.key = "small", .shape = {30}, .count = 30});
  return ps::SlabLayout::Create(std::move(blobs),
                                ps::SlabLayout::kMinChunkBytes)
      .value();
}

}  // namespace cssp

#endif  // CSSP_TESTS_UNIT_WORKER_SYNC_TEST_LAYOUT_H_
