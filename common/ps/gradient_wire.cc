#include "common/ps/gradient_wire.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace cssp::ps {

absl::StatusOr<control::GradientWire> ParseGradientWire(
    const std::string& name) {
  control::GradientWire wire;
  if (control::GradientWire_Parse(absl::AsciiStrToUpper(name), &wire))
    return wire;
  return absl::InvalidArgumentError(
      absl::StrCat("gradients travel as FP32 or BF16, not '", name, "'"));
}

}  // namespace cssp::ps
