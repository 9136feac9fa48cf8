// Command-line flags of one program or sub-command, as an object: nothing is
// global, and a mistake is a Status (exit code 2), not an exit.
#ifndef CSSP_COMMON_CONFIG_FLAG_SET_H_
#define CSSP_COMMON_CONFIG_FLAG_SET_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cssp {

// Thread-confined: main.  Borrows the variables that flags are bound to; what
// they hold when a flag is added is its default.
class FlagSet {
 public:
  // `usage`: the line (or lines) above the list of flags in Help().
  explicit FlagSet(std::string usage) : usage_(std::move(usage)) {}

  // Bools take --x, --x=true|false and --nox.  A vector's flag may be repeated.
  using Variable = std::variant<bool*, int32_t*, int64_t*, double*,
                                std::string*, std::vector<std::string>*>;
  void Add(std::string name, Variable variable, std::string help);

  // Reads arguments (without the program's name): "--name value",
  // "--name=value", one dash or two; "--" ends flags.  Gives what is no flag.
  // InvalidArgument names an unknown flag (and the nearest known one), a
  // missing or malformed value.
  absl::StatusOr<std::vector<std::string>> Parse(
      const std::vector<std::string>& args);
  // Whether the command line gave the flag.
  bool given(absl::string_view name) const;
  std::string Help() const;

 private:
  struct Flag {
    std::string name;
    Variable variable;
    std::string help;
    std::string default_text;
    bool given = false;
  };
  Flag* Find(absl::string_view name);
  absl::Status Unknown(absl::string_view name) const;
  static absl::Status Set(Flag& flag, const std::string& text);

  const std::string usage_;
  std::vector<Flag> flags_;
};

// The nearest of `known` within a few edits, for "did you mean"; or empty.
std::string NearestName(absl::string_view name,
                        const std::vector<std::string>& known);

}  // namespace cssp

#endif  // CSSP_COMMON_CONFIG_FLAG_SET_H_
