// What the fuzz targets share.
#ifndef CSSP_TESTS_FUZZ_FUZZ_INPUT_H_
#define CSSP_TESTS_FUZZ_FUZZ_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace cssp::testing {

// A file in memory with the input's bytes, for parsers that take a path; gone
// with the object.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  int fd_;
  std::string path_;
};

inline absl::string_view AsText(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace cssp::testing

// Whatever the bytes are: no crash, no leak, memory in proportion to them.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

#endif  // CSSP_TESTS_FUZZ_FUZZ_INPUT_H_
