// A .caffemodel.h5, or a .solverstate.h5.
#include <string>

#include "common/model_file/caffemodel.h"
#include "common/model_file/solverstate.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/model_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const cssp::testing::MemoryFile file(data, size);
  const auto model = cssp::ReadCaffemodel(file.path());
  if (model.ok()) cssp::testing::FuzzModel(*model);
  cssp::ReadSolverState(file.path()).IgnoreError();
  return 0;
}
