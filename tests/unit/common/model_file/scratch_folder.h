// A folder of a test's own, removed with what is in it.
#ifndef CSSP_TESTS_UNIT_COMMON_MODEL_FILE_SCRATCH_FOLDER_H_
#define CSSP_TESTS_UNIT_COMMON_MODEL_FILE_SCRATCH_FOLDER_H_

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "common/base/logging.h"

namespace cssp {

// Thread-confined: its test.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name =
        (std::filesystem::temp_directory_path() / "cssp-XXXXXX").string();
    CHECK(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }

  std::string Path(const std::string& name) const { return path_ + "/" + name; }

  std::string Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(Path(name), std::ios::binary) << bytes;
    return Path(name);
  }

  static std::string Read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  // Names in the folder, for "nothing was left behind".
  int Count() const {
    return static_cast<int>(
        std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::string path_;
};

}  // namespace cssp

#endif  // CSSP_TESTS_UNIT_COMMON_MODEL_FILE_SCRATCH_FOLDER_H_
