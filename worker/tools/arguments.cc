#include "worker/tools/arguments.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

bool IsLoggingFlag(absl::string_view name) {
  return name == "logtostderr" || name == "alsologtostderr";
}

bool IsSwitch(const std::string& value) {
  return value == "true" || value == "false";
}

// A switch's value, given as text or by its presence.
absl::Status SetSwitch(absl::string_view name, absl::string_view text,
                       std::string* value) {
  if (text == "true" || text == "1" || text == "yes") {
    *value = "true";
  } else if (text == "false" || text == "0" || text == "no") {
    *value = "false";
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("--", name, " must be true or false, not '", text, "'"));
  }
  return absl::OkStatus();
}

absl::Status UnknownFlag(absl::string_view name,
                         const std::map<std::string, std::string>& known) {
  std::string names;
  for (const auto& [flag, value] : known) absl::StrAppend(&names, " --", flag);
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown flag --", name, names.empty() ? "" : "; known:", names));
}

// A word of the command line that is a flag.
struct FlagWord {
  std::string name;
  bool has_text = false;  // --name=text
  std::string text;
};

FlagWord Split(absl::string_view word) {
  const absl::string_view flag = word.substr(word[1] == '-' ? 2 : 1);
  const size_t equals = flag.find('=');
  FlagWord parts{std::string(flag.substr(0, equals))};
  parts.has_text = equals != flag.npos;
  if (parts.has_text) parts.text = std::string(flag.substr(equals + 1));
  return parts;
}

// --noname is --name=false where name is a switch.
void TurnNegation(const std::map<std::string, std::string>& known,
                  FlagWord* word) {
  if (known.count(word->name) > 0 || !absl::StartsWith(word->name, "no"))
    return;
  const auto found = known.find(word->name.substr(2));
  if (found == known.end() || !IsSwitch(found->second) || word->has_text)
    return;
  *word = {found->first, true, "false"};
}

}  // namespace

absl::StatusOr<Arguments> ParseArguments(
    int argc, const char* const* argv,
    const std::map<std::string, std::string>& known) {
  Arguments arguments;
  arguments.flags = known;
  bool only_positional = false;
  for (int i = 1; i < argc; ++i) {
    const absl::string_view text = argv[i];
    if (only_positional || text.size() < 2 || text[0] != '-') {
      arguments.positional.emplace_back(text);
      continue;
    }
    if (text == "--") {
      only_positional = true;
      continue;
    }
    FlagWord word = Split(text);
    TurnNegation(known, &word);
    if (word.name == "h" || word.name == "help") {
      arguments.help = true;
      continue;
    }
    if (IsLoggingFlag(word.name)) continue;
    const auto flag = known.find(word.name);
    if (flag == known.end()) return UnknownFlag(word.name, known);
    std::string& value = arguments.flags[word.name];
    if (IsSwitch(flag->second)) {
      RETURN_IF_ERROR(
          SetSwitch(word.name, word.has_text ? word.text : "true", &value));
    } else if (word.has_text) {
      value = word.text;
    } else if (++i < argc) {
      value = argv[i];
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("--", word.name, " wants a value"));
    }
  }
  return arguments;
}

}  // namespace cssp
