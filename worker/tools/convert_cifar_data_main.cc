// convert_cifar_data INPUT_FOLDER OUTPUT_FOLDER DB_TYPE
#include <iostream>

#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/tools/arguments.h"
#include "worker/tools/converters.h"

namespace cssp {
namespace {

constexpr char kUsage[] =
    "convert_cifar_data INPUT_FOLDER OUTPUT_FOLDER DB_TYPE\n"
    "Makes the bases cifar10_train_DB_TYPE and cifar10_test_DB_TYPE of "
    "CIFAR-10's\nbinary batches; DB_TYPE is lmdb or leveldb.\n";

absl::Status Run(int argc, char** argv) {
  ASSIGN_OR_RETURN(const Arguments arguments, ParseArguments(argc, argv, {}));
  if (arguments.help) {
    std::cout << kUsage;
    return absl::OkStatus();
  }
  if (arguments.positional.size() != 3) {
    return absl::InvalidArgumentError(
        "usage: convert_cifar_data INPUT_FOLDER OUTPUT_FOLDER DB_TYPE");
  }
  ASSIGN_OR_RETURN(const BaseFormat format,
                   ParseBaseFormat(arguments.positional[2]));
  return ConvertCifar10(arguments.positional[0], arguments.positional[1],
                        format);
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  return cssp::ExitCodeFor("convert_cifar_data", cssp::Run(argc, argv));
}
