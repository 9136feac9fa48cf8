// convert_mnist_data [--backend=lmdb] IMAGE_FILE LABEL_FILE OUTPUT_BASE
#include <iostream>

#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/tools/arguments.h"
#include "worker/tools/converters.h"

namespace cssp {
namespace {

constexpr char kUsage[] =
    "convert_mnist_data [--backend=lmdb|leveldb] IMAGE_FILE LABEL_FILE "
    "OUTPUT_BASE\nMakes a base of MNIST's idx files (uncompressed).\n";

absl::Status Run(int argc, char** argv) {
  ASSIGN_OR_RETURN(const Arguments arguments,
                   ParseArguments(argc, argv, {{"backend", "lmdb"}}));
  if (arguments.help) {
    std::cout << kUsage;
    return absl::OkStatus();
  }
  if (arguments.positional.size() != 3) {
    return absl::InvalidArgumentError(
        "usage: convert_mnist_data [--backend=lmdb|leveldb] IMAGE_FILE "
        "LABEL_FILE OUTPUT_BASE");
  }
  ASSIGN_OR_RETURN(const BaseFormat format,
                   ParseBaseFormat(arguments.flags.at("backend")));
  return ConvertMnist(arguments.positional[0], arguments.positional[1],
                      arguments.positional[2], format);
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  return cssp::ExitCodeFor("convert_mnist_data", cssp::Run(argc, argv));
}
