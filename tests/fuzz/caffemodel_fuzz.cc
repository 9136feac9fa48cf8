// A .caffemodel (protobuf): read, upgraded, loaded.
#include "common/model_file/caffemodel.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/model_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const cssp::testing::MemoryFile file(data, size);
  // HDF5 has a target of its own.
  if (size > 0 && data[0] == 0x89) return 0;
  const auto model = cssp::ReadCaffemodel(file.path());
  if (model.ok()) cssp::testing::FuzzModel(*model);
  return 0;
}
