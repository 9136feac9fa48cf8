#include "worker/net/layer.h"

namespace cssp {

FormatChoice Layer::ChooseFormats(absl::Span<const TensorDesc> bottom,
                                  absl::Span<const Shape> top) const {
  return {std::vector<Format>(bottom.size(), Format::kCaffe),
          std::vector<Format>(top.size(), Format::kCaffe)};
}

}  // namespace cssp
