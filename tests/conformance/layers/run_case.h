// Runs one case of a case file.
#ifndef CSSP_TESTS_CONFORMANCE_LAYERS_RUN_CASE_H_
#define CSSP_TESTS_CONFORMANCE_LAYERS_RUN_CASE_H_

#include "common/device/device.h"
#include "tests/conformance/layers/case_file.h"
#include "worker/net/layer_registry.h"

namespace cssp::testing {

// The layer by itself, on `device`.  What needs no reference is checked
// here: a second run gives the same bits, gradients that add give what was
// there plus the written ones, and in place (where the traits allow it) gives
// the same bits.  Steps after the first reshape the same layer object.
absl::StatusOr<Answer> RunLayer(const Case& c, Device& device);

// The layer in a net on `device`: an Input layer per bottom; a top with a
// gradient is multiplied with it and summed into the loss.  A second pass gives
// the same bits.  Steps after the first reshape the net's inputs.
absl::StatusOr<Answer> RunInNet(const Case& c, const LayerRegistry& registry,
                                Device& device);

// A whole net: a Forward per step.
absl::StatusOr<Answer> RunWholeNet(const Case& c, const LayerRegistry& registry,
                                   Device& device);

}  // namespace cssp::testing

#endif  // CSSP_TESTS_CONFORMANCE_LAYERS_RUN_CASE_H_
