// Runs a layer on the CPU and on a GPU and says where they differ.
#ifndef CSSP_TESTS_UNIT_WORKER_LAYERS_CUDA_AGREEMENT_H_
#define CSSP_TESTS_UNIT_WORKER_LAYERS_CUDA_AGREEMENT_H_

#include <string>
#include <vector>

#include "common/device/device.h"
#include "tests/unit/worker/layers/cuda/layer_case.h"

namespace cssp::testing {

// Forward, Backward that writes, Backward that adds, all of it again on the
// GPU for equality bit by bit, and in place where the layer works so.  One line
// per blob that differs; empty where all agree.
std::vector<std::string> Disagreements(const LayerCase& layer, Device& gpu);

}  // namespace cssp::testing

#endif  // CSSP_TESTS_UNIT_WORKER_LAYERS_CUDA_AGREEMENT_H_
