// A .solverstate (protobuf), with its history's blobs.
#include <vector>

#include "common/model_file/blob_proto.h"
#include "common/model_file/solverstate.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0 && data[0] == 0x89) return 0;  // HDF5 has a target of its own
  const cssp::testing::MemoryFile file(data, size);
  const auto state = cssp::ReadSolverState(file.path());
  if (!state.ok()) return 0;
  for (const caffe::BlobProto& blob : state->history()) {
    const auto shape = cssp::BlobShapeOf(blob);
    if (!shape.ok() || shape->count() != cssp::BlobDataCount(blob)) continue;
    std::vector<float> values(shape->count());
    cssp::ReadBlobData(blob, absl::MakeSpan(values)).IgnoreError();
  }
  return 0;
}
