// Initial values of parameters: Caffe's fillers.
#ifndef CSSP_WORKER_NET_FILLER_H_
#define CSSP_WORKER_NET_FILLER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/tensor/shape.h"
#include "proto/caffe.pb.h"

namespace cssp {

// constant, uniform, gaussian (sparse too), positive_unitball, xavier, msra,
// bilinear.  Random values depend on seed, blob_key ("conv1/0") and index
// alone, so neither the order of layers nor the worker that draws matters.
// InvalidArgument names the field at fault or lists the known types; `out` is
// untouched then.  REQUIRES: out.size() == shape.count().
absl::Status Fill(const caffe::FillerParameter& filler, const Shape& shape,
                  uint64_t seed, absl::string_view blob_key,
                  absl::Span<float> out);

}  // namespace cssp

#endif  // CSSP_WORKER_NET_FILLER_H_
