#include "tests/fuzz/fuzz_input.h"

#include <glog/logging.h>
#include <sys/mman.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace cssp::testing {

MemoryFile::MemoryFile(const uint8_t* data, size_t size)
    : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
  PCHECK(fd_ >= 0) << "memfd_create";
  for (size_t at = 0; at < size;) {
    const ssize_t written = write(fd_, data + at, size - at);
    PCHECK(written > 0) << "write";
    at += written;
  }
  path_ = absl::StrCat("/proc/self/fd/", fd_);
}

MemoryFile::~MemoryFile() { close(fd_); }

}  // namespace cssp::testing

// Warnings about each damaged input would be all there is to see.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  FLAGS_minloglevel = 3;
  return 0;
}
