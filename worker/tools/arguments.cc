#include "worker/tools/arguments.h"

#include "absl/strings/str_cat.h"

namespace cssp {
namespace {

bool IsLoggingFlag(absl::string_view name) {
  return name == "logtostderr" || name == "alsologtostderr";
}

absl::Status UnknownFlag(
    absl::string_view name,
    const std::map<std::string, std::string>& known) {
  std::string names;
  for (const auto& [flag, value] : known) absl::StrAppend(&names, " --", flag);
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown flag --", name, names.empty() ? "" : "; known:", names));
}

}  // namespace

absl::StatusOr<Arguments> ParseArguments(
    int argc, const char* const* argv,
    const std::map<std::string, std::string>& known) {
  Arguments arguments;
  arguments.flags = known;
  bool only_positional = false;
  for (int i = 1; i < argc; ++i) {
    const absl::string_view word = argv[i];
    if (only_positional || word.size() < 2 || word[0] != '-') {
      arguments.positional.emplace_back(word);
      continue;
    }
    if (word == "--") {
      only_positional = true;
      continue;
    }
    const absl::string_view flag = word.substr(word[1] == '-' ? 2 : 1);
    const size_t equals = flag.find('=');
    const std::string name(flag.substr(0, equals));
    if (name == "h" || name == "help") {
      arguments.help = true;
    } else if (!IsLoggingFlag(name)) {
      const auto at = arguments.flags.find(name);
      if (at == arguments.flags.end()) return UnknownFlag(name, known);
      if (equals != flag.npos) {
        at->second = std::string(flag.substr(equals + 1));
      } else if (++i < argc) {
        at->second = argv[i];
      } else {
        return absl::InvalidArgumentError(
            absl::StrCat("--", name, " wants a value"));
      }
    }
  }
  return arguments;
}

}  // namespace cssp
