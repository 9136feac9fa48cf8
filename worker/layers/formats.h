// Questions about formats that several layers ask.
#ifndef CSSP_WORKER_LAYERS_FORMATS_H_
#define CSSP_WORKER_LAYERS_FORMATS_H_

#include <vector>

#include "absl/types/span.h"
#include "common/tensor/tensor.h"
#include "worker/net/layer.h"

namespace cssp {

inline int64_t BlockLanes(Format format) {
  return format == Format::kCaffe ? 1 : format == Format::kBlocked8 ? 8 : 16;
}

// No padding lanes: the channels fill whole blocks (always so in kCaffe).
inline bool FillsBlocks(const TensorDesc& desc) {
  return desc.stored_count() == desc.shape.count();
}

// The first blocked format among `descs`, else Caffe's.
inline Format FirstBlocked(absl::Span<const TensorDesc> descs) {
  for (const TensorDesc& desc : descs) {
    if (desc.format != Format::kCaffe) return desc.format;
  }
  return Format::kCaffe;
}

inline FormatChoice Everywhere(Format format, size_t bottoms, size_t tops) {
  return {std::vector<Format>(bottoms, format),
          std::vector<Format>(tops, format)};
}

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_FORMATS_H_
