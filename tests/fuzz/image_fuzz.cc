// A JPEG or PNG file, decoded in every mode.
#include "tests/fuzz/fuzz_input.h"
#include "worker/data/image_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes = cssp::testing::AsText(data, size);
  cssp::Image image;
  for (cssp::ColorMode mode :
       {cssp::ColorMode::kAsStored, cssp::ColorMode::kColor,
        cssp::ColorMode::kGray}) {
    cssp::DecodeImage(bytes, mode, &image).IgnoreError();
  }
  return 0;
}
