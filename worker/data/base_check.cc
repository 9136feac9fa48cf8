#include "worker/data/base_check.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace cssp {
namespace {

namespace fs = std::filesystem;

// What makes a base that stands nowhere.
std::string Remedy(const std::string& path) {
  if (absl::StrContains(path, "siamese"))
    return "make it with examples/siamese/create_mnist_siamese.sh";
  for (const char* example : {"cifar10", "mnist"}) {
    if (absl::StrContains(path, example)) {
      return absl::StrCat("make it with examples/", example, "/get_", example,
                          ".sh and examples/", example, "/create_", example,
                          ".sh");
    }
  }
  return "make it with one of Caffe's converters (convert_imageset, "
         "convert_cifar_data, convert_mnist_data)";
}

bool Holds(const std::string& path, const char* file) {
  std::error_code ignored;
  return fs::exists(fs::path(path) / file, ignored);
}

}  // namespace

const char* BaseFormatName(BaseFormat format) {
  return format == BaseFormat::kLmdb ? "LMDB" : "LevelDB";
}

absl::StatusOr<BaseFormat> ParseBaseFormat(absl::string_view name) {
  const std::string lower = absl::AsciiStrToLower(name);
  if (lower == "lmdb") return BaseFormat::kLmdb;
  if (lower == "leveldb") return BaseFormat::kLevelDb;
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown backend '", name, "': give lmdb or leveldb"));
}

absl::Status CheckBaseExists(BaseFormat format, const std::string& path) {
  const char* name = BaseFormatName(format);
  std::error_code error;
  if (path.empty())
    return absl::InvalidArgumentError("data source: the path is empty");
  if (!fs::exists(path, error)) {
    return absl::NotFoundError(
        absl::StrCat(path, ": no such ", name, " base; ", Remedy(path)));
  }
  const bool lmdb = Holds(path, "data.mdb");
  const bool leveldb = Holds(path, "CURRENT");
  if (format == BaseFormat::kLmdb ? lmdb : leveldb) return absl::OkStatus();
  if (lmdb || leveldb) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": is a base of ", lmdb ? "LMDB" : "LevelDB", ", not ", name,
        ": set backend: ", lmdb ? "LMDB" : "LEVELDB"));
  }
  return absl::NotFoundError(
      absl::StrCat(path, ": holds no ", name, " base; ", Remedy(path)));
}

absl::StatusOr<std::unique_ptr<DataSource>> OpenBase(BaseFormat format,
                                                     const std::string& path,
                                                     ColorMode mode) {
  return format == BaseFormat::kLmdb ? OpenLmdb(path, mode)
                                     : OpenLevelDb(path, mode);
}

}  // namespace cssp
