// oneDNN as the CPU layers use it: descriptors of our tensors, primitives that
// are made once and pointed at memory per step, exceptions turned into Status.
// Nothing outside worker/layers/cpu sees this header.
#ifndef CSSP_WORKER_LAYERS_CPU_ONEDNN_H_
#define CSSP_WORKER_LAYERS_CPU_ONEDNN_H_

#include <cstdint>
#include <string>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/tensor/tensor.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace cssp::cpu {

// Thread-confined: the training thread.  One per layer; cheap.
struct OneDnn {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
};

// Runs `body`, which makes or runs primitives.  `what` begins the message.
template <class Body>
absl::Status Guard(const char* what, Body&& body) {
  try {
    body();
    return absl::OkStatus();
  } catch (const dnnl::error& e) {
    const std::string text =
        absl::StrCat(what, ": oneDNN: ", e.message, " (", e.status, ")");
    return e.status == dnnl_unimplemented ? absl::UnimplementedError(text)
           : e.status == dnnl_out_of_memory
               ? absl::ResourceExhaustedError(text)
               : absl::InternalError(text);
  }
}

dnnl::memory::dims Dims(const Shape& shape);
dnnl::memory::desc Describe(const Shape& shape, Format format);
inline dnnl::memory::desc Describe(const TensorDesc& desc) {
  return Describe(desc.shape, desc.format);
}
// oneDNN's to choose.
dnnl::memory::desc DescribeAny(const Shape& shape);

// The blocked format whose block fills a vector register of this processor.
Format NativeBlocked();

// Our name for a 4-D layout that oneDNN chose; where we have none (nhwc), the
// native blocked one.
Format NearestFormat(const dnnl::memory::desc& desc, const Shape& shape);

// A primitive and its arguments.  Thread-confined: the training thread.
// Made in Bind; Point and Run allocate nothing of ours.
class BoundPrimitive {
 public:
  BoundPrimitive() = default;

  // Forgets the arguments of an earlier plan.
  void Init(const OneDnn& dnnl, dnnl::primitive primitive,
            const dnnl::memory::desc& scratchpad);
  // Declares an argument that is pointed at memory before each run ...
  void Arg(int id, const dnnl::memory::desc& desc);
  // ... or stays where it is.
  void Arg(int id, const dnnl::memory& memory);

  void Point(int id, const void* data);
  size_t scratch_bytes() const { return scratch_bytes_; }
  explicit operator bool() const { return static_cast<bool>(primitive_); }

  // `scratch`: 64-byte aligned, of scratch_bytes().
  void Run(OneDnn& dnnl, void* scratch);

 private:
  dnnl::engine engine_;
  dnnl::primitive primitive_;
  std::unordered_map<int, dnnl::memory> args_;
  size_t scratch_bytes_ = 0;
};

// Attributes that make a primitive take its scratchpad from the step.
dnnl::primitive_attr UserScratchpad();

// A copy between layouts of one tensor; `add` sums onto the destination.
void InitReorder(const OneDnn& dnnl, const dnnl::memory::desc& from,
                 const dnnl::memory::desc& to, bool add,
                 BoundPrimitive* reorder);

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_ONEDNN_H_
