// A Datum as it lies in a base, raw or with an encoded image in it.
#include <string>

#include "tests/fuzz/fuzz_input.h"
#include "worker/data/datum_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view wire = cssp::testing::AsText(data, size);
  for (cssp::ColorMode mode :
       {cssp::ColorMode::kAsStored, cssp::ColorMode::kGray}) {
    std::string storage;
    cssp::ParseDatum(wire, &storage, mode).IgnoreError();
  }
  return 0;
}
