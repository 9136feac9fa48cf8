// convert_imageset [FLAGS] ROOTFOLDER/ LISTFILE BASE
#include <algorithm>
#include <iostream>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/tools/arguments.h"
#include "worker/tools/imageset.h"
#include "worker/tools/progress_bar.h"

namespace cssp {
namespace {

constexpr char kUsage[] =
    "convert_imageset [FLAGS] ROOTFOLDER/ LISTFILE BASE\n"
    "Makes a base of the images that LISTFILE names, one \"path label\" a "
    "line;\nROOTFOLDER/ is put in front of each path.\n"
    "  --gray            as gray images\n"
    "  --shuffle         in random order (--seed=N chooses it)\n"
    "  --backend=lmdb    or leveldb\n"
    "  --resize_width=W --resize_height=H\n"
    "  --check_size      refuse images of unlike size\n"
    "  --encoded         keep them compressed\n"
    "  --encode_type=T   as jpg or png (default: what each file is)\n"
    "  --threads=N       default: all cores\n";

absl::StatusOr<int> Number(const Arguments& arguments, const char* flag) {
  int value = 0;
  const std::string& text = arguments.flags.at(flag);
  if (absl::SimpleAtoi(text, &value) && value >= 0) return value;
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " must be a number >= 0, not '", text, "'"));
}

absl::StatusOr<ImagesetOptions> OptionsOf(const Arguments& arguments) {
  ImagesetOptions options;
  options.root = arguments.positional[0];
  options.list = arguments.positional[1];
  options.output = arguments.positional[2];
  ASSIGN_OR_RETURN(options.format,
                   ParseBaseFormat(arguments.flags.at("backend")));
  options.gray = arguments.given("gray");
  options.shuffle = arguments.given("shuffle");
  options.check_size = arguments.given("check_size");
  const std::string& type = arguments.flags.at("encode_type");
  // Caffe, too, takes encode_type for encoded.
  options.encoded = arguments.given("encoded") || !type.empty();
  if (!type.empty()) {
    ASSIGN_OR_RETURN(options.encode_type, ParseImageFormat(type));
  }
  ASSIGN_OR_RETURN(options.height, Number(arguments, "resize_height"));
  ASSIGN_OR_RETURN(options.width, Number(arguments, "resize_width"));
  ASSIGN_OR_RETURN(const int seed, Number(arguments, "seed"));
  options.seed = static_cast<uint64_t>(seed);
  ASSIGN_OR_RETURN(options.threads, Number(arguments, "threads"));
  if (options.threads == 0)
    options.threads =
        static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  options.progress = ProgressBar::OnTerminal();
  return options;
}

absl::Status Run(int argc, char** argv) {
  ASSIGN_OR_RETURN(const Arguments arguments,
                   ParseArguments(argc, argv,
                                  {{"gray", "false"},
                                   {"shuffle", "false"},
                                   {"seed", "1"},
                                   {"backend", "lmdb"},
                                   {"resize_width", "0"},
                                   {"resize_height", "0"},
                                   {"check_size", "false"},
                                   {"encoded", "false"},
                                   {"encode_type", ""},
                                   {"threads", "0"}}));
  if (arguments.help) {
    std::cout << kUsage;
    return absl::OkStatus();
  }
  if (arguments.positional.size() != 3)
    return absl::InvalidArgumentError(
        "usage: convert_imageset [FLAGS] ROOTFOLDER/ LISTFILE BASE (--help)");
  ASSIGN_OR_RETURN(const ImagesetOptions options, OptionsOf(arguments));
  ASSIGN_OR_RETURN(const ImagesetCounts counts, ConvertImageset(options));
  LOG(INFO) << "Processed " << counts.written << " files.";
  if (counts.skipped > 0)
    LOG(WARNING) << counts.skipped << " images could not be read";
  return absl::OkStatus();
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  return cssp::ExitCodeFor("convert_imageset", cssp::Run(argc, argv));
}
