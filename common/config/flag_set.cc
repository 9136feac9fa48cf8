#include "common/config/flag_set.h"

#include <type_traits>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/base/edit_distance.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

template <class T>
std::string Show(const T* value) {
  if constexpr (std::is_same_v<T, bool>) return *value ? "true" : "false";
  else if constexpr (std::is_same_v<T, std::string>) return *value;
  else if constexpr (std::is_arithmetic_v<T>) return absl::StrCat(*value);
  else return "";
}

bool ParseText(const std::string& text, bool* out) {
  return absl::SimpleAtob(text, out);
}
bool ParseText(const std::string& text, int32_t* out) {
  return absl::SimpleAtoi(text, out);
}
bool ParseText(const std::string& text, int64_t* out) {
  return absl::SimpleAtoi(text, out);
}
bool ParseText(const std::string& text, double* out) {
  return absl::SimpleAtod(text, out);
}
bool ParseText(const std::string& text, std::string* out) {
  *out = text;
  return true;
}
bool ParseText(const std::string& text, std::vector<std::string>* out) {
  out->push_back(text);
  return true;
}

}  // namespace

std::string NearestName(absl::string_view name,
                        const std::vector<std::string>& known) {
  std::string best;
  int best_distance = 1 + static_cast<int>(name.size()) / 3;
  for (const std::string& candidate : known) {
    const int distance = EditDistance(name, candidate);
    if (distance <= best_distance) {
      best = candidate;
      best_distance = distance - 1;
    }
  }
  return best;
}

void FlagSet::Add(std::string name, Variable variable, std::string help) {
  std::string text =
      std::visit([](auto* value) { return Show(value); }, variable);
  flags_.push_back({std::move(name), variable, std::move(help),
                    std::move(text)});
}

FlagSet::Flag* FlagSet::Find(absl::string_view name) {
  for (Flag& flag : flags_)
    if (flag.name == name) return &flag;
  return nullptr;
}

bool FlagSet::given(absl::string_view name) const {
  for (const Flag& flag : flags_)
    if (flag.name == name) return flag.given;
  return false;
}

absl::Status FlagSet::Unknown(absl::string_view name) const {
  std::vector<std::string> known;
  for (const Flag& flag : flags_) known.push_back(flag.name);
  const std::string nearest = NearestName(name, known);
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown flag --", name,
      nearest.empty() ? "; --help lists them"
                      : absl::StrCat("; did you mean --", nearest, "?")));
}

absl::Status FlagSet::Set(Flag& flag, const std::string& text) {
  flag.given = true;
  if (std::visit([&](auto* value) { return ParseText(text, value); },
                 flag.variable))
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag.name, ": '", text, "' is not a ",
                   std::holds_alternative<bool*>(flag.variable)
                       ? "truth value (true or false)"
                       : "number of its range"));
}

absl::StatusOr<std::vector<std::string>> FlagSet::Parse(
    const std::vector<std::string>& args) {
  std::vector<std::string> rest;
  for (size_t i = 0; i < args.size(); ++i) {
    absl::string_view arg = args[i];
    if (arg == "--") {
      rest.insert(rest.end(), args.begin() + i + 1, args.end());
      break;
    }
    if (arg.size() < 2 || arg[0] != '-') {
      rest.emplace_back(arg);
      continue;
    }
    arg.remove_prefix(arg[1] == '-' ? 2 : 1);
    const size_t equals = arg.find('=');
    const absl::string_view name = arg.substr(0, equals);
    Flag* flag = Find(name);
    if (flag == nullptr && equals == absl::string_view::npos &&
        absl::StartsWith(name, "no")) {
      Flag* negated = Find(name.substr(2));
      if (negated != nullptr &&
          std::holds_alternative<bool*>(negated->variable)) {
        RETURN_IF_ERROR(Set(*negated, "false"));
        continue;
      }
    }
    if (flag == nullptr) return Unknown(name);
    if (equals != absl::string_view::npos) {
      RETURN_IF_ERROR(Set(*flag, std::string(arg.substr(equals + 1))));
    } else if (std::holds_alternative<bool*>(flag->variable)) {
      RETURN_IF_ERROR(Set(*flag, "true"));
    } else if (i + 1 < args.size()) {
      RETURN_IF_ERROR(Set(*flag, args[++i]));
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, " needs a value"));
    }
  }
  return rest;
}

std::string FlagSet::Help() const {
  std::string help = absl::StrCat(usage_, "\n");
  for (const Flag& flag : flags_)
    absl::StrAppend(&help, absl::StrFormat("  --%-18s %s%s\n", flag.name,
                                           flag.help,
                                           flag.default_text.empty()
                                               ? ""
                                               : absl::StrCat(" [", flag.default_text, "]")));
  return help;
}

}  // namespace cssp
