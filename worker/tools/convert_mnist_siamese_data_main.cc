// convert_mnist_siamese_data [--backend=leveldb] IMAGE_FILE LABEL_FILE BASE
#include <iostream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/tools/arguments.h"
#include "worker/tools/converters.h"

namespace cssp {
namespace {

constexpr char kUsage[] =
    "convert_mnist_siamese_data [--backend=leveldb|lmdb] [--seed=N] IMAGE_FILE "
    "LABEL_FILE\n  OUTPUT_BASE\nMakes as many random pairs as MNIST's idx "
    "files "
    "hold images: two channels, label 1\nwhere both show the same digit.\n";

absl::Status Run(int argc, char** argv) {
  ASSIGN_OR_RETURN(
      const Arguments arguments,
      ParseArguments(argc, argv, {{"backend", "leveldb"}, {"seed", "1"}}));
  if (arguments.help) {
    std::cout << kUsage;
    return absl::OkStatus();
  }
  if (arguments.positional.size() != 3)
    return absl::InvalidArgumentError(
        "usage: convert_mnist_siamese_data [--backend=leveldb|lmdb] "
        "IMAGE_FILE LABEL_FILE OUTPUT_BASE");
  ASSIGN_OR_RETURN(const BaseFormat format,
                   ParseBaseFormat(arguments.flags.at("backend")));
  uint64_t seed = 0;
  if (!absl::SimpleAtoi(arguments.flags.at("seed"), &seed))
    return absl::InvalidArgumentError(absl::StrCat(
        "--seed must be a number, not '", arguments.flags.at("seed"), "'"));
  return ConvertMnistSiamese(arguments.positional[0], arguments.positional[1],
                             arguments.positional[2], format, seed);
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  return cssp::ExitCodeFor("convert_mnist_siamese_data", cssp::Run(argc, argv));
}
