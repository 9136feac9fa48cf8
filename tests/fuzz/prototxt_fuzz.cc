// A net's prototxt through all passes, for either phase; the same text as a
// solver's.
#include <utility>

#include "common/model_file/prototxt.h"
#include "tests/fuzz/fuzz_input.h"
#include "worker/net/net_passes.h"

namespace cssp {
namespace {

void FuzzNet(const caffe::NetParameter& net) {
  for (caffe::Phase phase : {caffe::TRAIN, caffe::TEST}) {
    caffe::NetState state;
    state.set_phase(phase);
    state.add_stage("deploy");
    PrepareNet(net, state).IgnoreError();
  }
}

void FuzzSolver(absl::string_view text) {
  caffe::SolverParameter solver;
  if (!ParseText(text, "fuzz", &solver).ok()) return;
  if (!UpgradeSolver("fuzz", &solver).ok()) return;
  // Files that it names are not part of the input.
  solver.clear_net();
  solver.clear_train_net();
  solver.clear_test_net();
  if (!InlineNets("fuzz", &solver).ok()) return;
  ResolveTrainNet(solver).IgnoreError();
  ResolveTestNets(solver).IgnoreError();
}

}  // namespace
}  // namespace cssp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text = cssp::testing::AsText(data, size);
  caffe::NetParameter net;
  if (cssp::ParseText(text, "fuzz", &net).ok()) cssp::FuzzNet(net);
  cssp::FuzzSolver(text);
  return 0;
}
