// oneDNN's convolution primitives of one problem.
#ifndef CSSP_WORKER_LAYERS_CPU_ONEDNN_CONVOLUTION_H_
#define CSSP_WORKER_LAYERS_CPU_ONEDNN_CONVOLUTION_H_

#include <cstdint>
#include <vector>

#include "worker/layers/cpu/convolution_kernel.h"
#include "worker/layers/cpu/onednn.h"

namespace cssp::cpu {

// A problem in oneDNN's terms.  `merge` groups are computed as one, whose
// weights are zero from one of them to another: more arithmetic, but on whole
// blocks of channels.  REQUIRES: merge divides the number of groups.
struct ConvolutionTerms {
  using Dims = dnnl::memory::dims;

  ConvolutionTerms(const ConvolutionProblem& problem, int64_t merge);

  Dims x, y;
  Dims weight;  // the group, if there are several, is an axis of its own
  int64_t outputs, outputs_per_group;
  int64_t row;  // weights of one output in the slab
  int64_t merge;
  Dims stride, gaps, pad;  // oneDNN counts the gap, Caffe the step
  bool has_bias;
};

// The three primitives of one problem in given layouts.  `data` may be of one
// item and want dy in Caffe's layout: where the data are and oneDNN has only
// reference loops else (an image's three channels).
struct ConvolutionDescriptions {
  ConvolutionDescriptions(const ConvolutionTerms& terms,
                          const dnnl::memory::desc& x,
                          const dnnl::memory::desc& y,
                          const dnnl::engine& engine);
  ConvolutionDescriptions(const ConvolutionTerms& terms,
                          const ConvolutionFormats& formats,
                          const dnnl::engine& engine);
  // oneDNN picks the layouts.
  static ConvolutionDescriptions Any(const ConvolutionTerms& terms,
                                     const dnnl::engine& engine);

  // oneDNN has nothing better than its reference loops for a pass that counts:
  // a convolution's data seldom need a gradient where they have few channels.
  bool poor(bool deconvolution) const;
  // Windows are copied out and multiplied, for some such pass.
  bool gemm(bool deconvolution) const;

  dnnl::convolution_forward::primitive_desc forward;
  dnnl::convolution_backward_data::primitive_desc data;
  dnnl::convolution_backward_weights::primitive_desc weights;
};

// Weights live in oneDNN's layouts in packed copies that are remade when the
// slab has moved; their gradient is written packed and reordered into the
// slab's layout.  Thread-confined: the training thread.
class OneDnnConvolution final : public ConvolutionKernel {
 public:
  // `dnnl`: the one whose engine `pd` was made on.
  OneDnnConvolution(const OneDnn& dnnl, const ConvolutionTerms& terms,
                    const ConvolutionDescriptions& pd);

  size_t scratch_bytes() const override { return scratch_bytes_; }
  void WeightsChanged() override { stale_ = stale_backward_ = true; }
  void Forward(const float* x, const float* weight, const float* bias, float* y,
               void* scratch) override;
  void BackwardData(const float* dy, const float* weight, float* dx,
                    void* scratch) override;
  void BackwardWeights(const float* x, const float* dy,
                       const GradientTensor& weight, const GradientTensor& bias,
                       void* scratch) override;

 private:
  using memory = dnnl::memory;

  void BindForward(const dnnl::convolution_forward::primitive_desc& pd);
  // `y`: the layout in which dy comes.
  void BindData(const dnnl::convolution_backward_data::primitive_desc& pd,
                const memory::desc& y);
  void BindWeights(
      const dnnl::convolution_backward_weights::primitive_desc& pd);
  void Pack(const float* weight, BoundPrimitive& pack, const memory& packed,
            bool* stale, void* scratch);
  void Unpack(const GradientTensor& weight, void* scratch);
  // Where row `o` of the slab begins among the merged weights.
  int64_t MergedRow(int64_t o) const;

  OneDnn dnnl_;
  const ConvolutionTerms terms_;
  const memory::desc plain_;  // the (merged) weights in the slab's layout
  BoundPrimitive forward_, data_, weights_;
  // Set where the data's gradient is made item by item, of dy reordered into
  // scratch at dy_at_.
  BoundPrimitive dy_of_item_;
  size_t dy_at_ = 0;
  int64_t x_item_ = 0, y_item_ = 0;  // elements
  BoundPrimitive pack_, pack_backward_, unpack_, unpack_add_;
  memory packed_, packed_backward_, packed_gradient_, bias_gradient_;
  std::vector<float> merged_;  // as plain_ has it; empty: merge is 1
  bool stale_ = true, stale_backward_ = true;
  size_t scratch_bytes_ = 0;
};

// For tensors that have to be in Caffe's layout: reordered into the layouts
// that oneDNN likes, and back.  Thread-confined: the training thread.
class ReorderedConvolution final : public ConvolutionKernel {
 public:
  ReorderedConvolution(const OneDnn& dnnl, const ConvolutionTerms& terms,
                       const ConvolutionDescriptions& pd);

  size_t scratch_bytes() const override { return scratch_bytes_; }
  void WeightsChanged() override { inside_.WeightsChanged(); }
  void Forward(const float* x, const float* weight, const float* bias, float* y,
               void* scratch) override;
  void BackwardData(const float* dy, const float* weight, float* dx,
                    void* scratch) override;
  void BackwardWeights(const float* x, const float* dy,
                       const GradientTensor& weight, const GradientTensor& bias,
                       void* scratch) override;

 private:
  float* X(void* scratch) const { return At(scratch, x_at_); }
  float* Y(void* scratch) const { return At(scratch, y_at_); }
  static float* At(void* scratch, size_t offset) {
    return reinterpret_cast<float*>(static_cast<uint8_t*>(scratch) + offset);
  }
  void Reorder(BoundPrimitive& reorder, const float* from, float* to,
               void* scratch);

  OneDnn dnnl_;
  OneDnnConvolution inside_;
  BoundPrimitive x_in_, y_in_, x_out_, y_out_;
  // Scratch: the primitives' own, then x and y in oneDNN's layouts.
  size_t x_at_ = 0, y_at_ = 0, scratch_bytes_ = 0;
};

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_ONEDNN_CONVOLUTION_H_
