#include "worker/layers/convolution_layer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/onednn.h"

namespace cssp::cpu {
namespace {

using dnnl::memory;
using Forwards = dnnl::convolution_forward;
using BackwardsData = dnnl::convolution_backward_data;
using BackwardsWeights = dnnl::convolution_backward_weights;

// oneDNN's convolution.  Weights live in oneDNN's layout in packed copies that
// are remade when the slab has moved; their gradient is written packed and
// reordered into the slab's layout.
class ConvolutionLayerCpu final : public ConvolutionLayer {
 public:
  using ConvolutionLayer::ConvolutionLayer;

  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override;
  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override;
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override;
  void ParamsChanged() override { stale_ = stale_backward_ = true; }

 private:
  Forwards::primitive_desc DescribeForward(const memory::desc& src,
                                           const memory::desc& dst) const;
  void BindForward(const Forwards::primitive_desc& pd);
  void BindData(const memory::desc& src, const memory::desc& dst,
                const Forwards::primitive_desc& hint);
  void BindWeights(const memory::desc& src, const memory::desc& dst,
                   const Forwards::primitive_desc& hint);
  // The slab's layout of the weights, with the group as its own axis.
  memory::desc PlainWeights(memory::format_tag tag) const;
  memory::desc PlainWeights() const;
  void Pack(const ConstTensor& weight, BoundPrimitive& pack,
            const memory& packed, bool* stale, void* scratch);
  void RunData(const BackwardArgs& args, int i, uint8_t* scratch);
  void RunWeights(const BackwardArgs& args, int i, uint8_t* scratch);

  mutable OneDnn dnnl_;
  BoundPrimitive forward_, data_, weights_;
  BoundPrimitive pack_, pack_backward_, unpack_, unpack_add_;
  memory packed_, packed_backward_, packed_gradient_, bias_gradient_;
  bool stale_ = true, stale_backward_ = true;
  size_t primitive_scratch_ = 0;
};

memory::dims Strides(const int64_t v[2]) { return {v[0], v[1]}; }
// oneDNN counts the gap, Caffe the step.
memory::dims Dilates(const int64_t v[2]) { return {v[0] - 1, v[1] - 1}; }

memory::desc ConvolutionLayerCpu::PlainWeights(memory::format_tag tag) const {
  const Shape& w = param_declarations()[0].shape;
  const int64_t g = geometry().group;
  memory::dims dims = Dims(w);
  if (g > 1) dims = {g, w.dim(0) / g, w.dim(1), w.dim(2), w.dim(3)};
  return {dims, memory::data_type::f32, tag};
}

memory::desc ConvolutionLayerCpu::PlainWeights() const {
  return PlainWeights(geometry().group > 1 ? memory::format_tag::goihw
                                           : memory::format_tag::oihw);
}

Forwards::primitive_desc ConvolutionLayerCpu::DescribeForward(
    const memory::desc& src, const memory::desc& dst) const {
  const Geometry& g = geometry();
  const memory::desc weights = PlainWeights(memory::format_tag::any);
  const auto kind = dnnl::prop_kind::forward_training;
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const memory::dims pad = Strides(g.pad);
  const Forwards::desc desc =
      g.bias ? Forwards::desc(kind, algorithm, src, weights,
                              Describe({g.num_output}, Format::kCaffe), dst,
                              Strides(g.stride), Dilates(g.dilation), pad, pad)
             : Forwards::desc(kind, algorithm, src, weights, dst,
                              Strides(g.stride), Dilates(g.dilation), pad,
                              pad);
  return {desc, UserScratchpad(), dnnl_.engine};
}

FormatChoice ConvolutionLayerCpu::ChooseFormats(
    absl::Span<const TensorDesc> bottom, absl::Span<const Shape> top) const {
  Format src = Format::kCaffe, dst = Format::kCaffe;
  // A failure here shows again, with its message, in Bind.
  Guard("convolution", [&] {
    const auto pd = DescribeForward(DescribeAny(bottom[0].shape),
                                    DescribeAny(top[0]));
    src = NearestFormat(pd.src_desc(), bottom[0].shape);
    dst = NearestFormat(pd.dst_desc(), top[0]);
  }).IgnoreError();
  FormatChoice choice;
  choice.bottom.assign(bottom.size(), src);
  choice.top.assign(top.size(), dst);
  return choice;
}

absl::Status ConvolutionLayerCpu::Bind(absl::Span<const TensorDesc> bottom,
                                       absl::Span<const TensorDesc> top) {
  ParamsChanged();
  return Guard("convolution", [&] {
    const memory::desc src = Describe(bottom[0]);
    const memory::desc dst = Describe(top[0]);
    const auto hint = DescribeForward(src, dst);
    BindForward(hint);
    BindData(src, dst, hint);
    BindWeights(src, dst, hint);
    primitive_scratch_ = 0;
    for (const BoundPrimitive* p : {&forward_, &data_, &weights_, &pack_,
                                    &pack_backward_, &unpack_, &unpack_add_}) {
      primitive_scratch_ = std::max(primitive_scratch_, p->scratch_bytes());
    }
    primitive_scratch_ = Align64(primitive_scratch_);
    // Behind it: a bottom gradient that is to be added to what is there.
    scratch_bytes_ = primitive_scratch_ + bottom[0].bytes();
  });
}

void ConvolutionLayerCpu::BindForward(const Forwards::primitive_desc& pd) {
  forward_.Init(dnnl_, Forwards(pd), pd.scratchpad_desc());
  forward_.Arg(DNNL_ARG_SRC, pd.src_desc());
  forward_.Arg(DNNL_ARG_DST, pd.dst_desc());
  packed_ = memory(pd.weights_desc(), dnnl_.engine);
  forward_.Arg(DNNL_ARG_WEIGHTS, packed_);
  if (geometry().bias) forward_.Arg(DNNL_ARG_BIAS, pd.bias_desc());
  InitReorder(dnnl_, PlainWeights(), pd.weights_desc(), false, &pack_);
}

void ConvolutionLayerCpu::BindData(const memory::desc& src,
                                   const memory::desc& dst,
                                   const Forwards::primitive_desc& hint) {
  const Geometry& g = geometry();
  const memory::dims pad = Strides(g.pad);
  const BackwardsData::primitive_desc pd(
      BackwardsData::desc(dnnl::algorithm::convolution_direct, src,
                          PlainWeights(memory::format_tag::any), dst,
                          Strides(g.stride), Dilates(g.dilation), pad, pad),
      UserScratchpad(), dnnl_.engine, hint);
  data_.Init(dnnl_, BackwardsData(pd), pd.scratchpad_desc());
  data_.Arg(DNNL_ARG_DIFF_SRC, pd.diff_src_desc());
  data_.Arg(DNNL_ARG_DIFF_DST, pd.diff_dst_desc());
  packed_backward_ = memory(pd.weights_desc(), dnnl_.engine);
  data_.Arg(DNNL_ARG_WEIGHTS, packed_backward_);
  InitReorder(dnnl_, PlainWeights(), pd.weights_desc(), false,
              &pack_backward_);
}

void ConvolutionLayerCpu::BindWeights(const memory::desc& src,
                                      const memory::desc& dst,
                                      const Forwards::primitive_desc& hint) {
  const Geometry& g = geometry();
  const memory::dims pad = Strides(g.pad);
  const memory::desc any = PlainWeights(memory::format_tag::any);
  const memory::desc bias = Describe({g.num_output}, Format::kCaffe);
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const BackwardsWeights::desc desc =
      g.bias ? BackwardsWeights::desc(algorithm, src, any, bias, dst,
                                      Strides(g.stride), Dilates(g.dilation),
                                      pad, pad)
             : BackwardsWeights::desc(algorithm, src, any, dst,
                                      Strides(g.stride), Dilates(g.dilation),
                                      pad, pad);
  const BackwardsWeights::primitive_desc pd(desc, UserScratchpad(),
                                            dnnl_.engine, hint);
  weights_.Init(dnnl_, BackwardsWeights(pd), pd.scratchpad_desc());
  weights_.Arg(DNNL_ARG_SRC, pd.src_desc());
  weights_.Arg(DNNL_ARG_DIFF_DST, pd.diff_dst_desc());
  packed_gradient_ = memory(pd.diff_weights_desc(), dnnl_.engine);
  weights_.Arg(DNNL_ARG_DIFF_WEIGHTS, packed_gradient_);
  if (g.bias) {
    bias_gradient_ = memory(bias, dnnl_.engine);
    weights_.Arg(DNNL_ARG_DIFF_BIAS, bias_gradient_);
  }
  InitReorder(dnnl_, pd.diff_weights_desc(), PlainWeights(), false, &unpack_);
  InitReorder(dnnl_, pd.diff_weights_desc(), PlainWeights(), true,
              &unpack_add_);
}

void ConvolutionLayerCpu::Pack(const ConstTensor& weight, BoundPrimitive& pack,
                               const memory& packed, bool* stale,
                               void* scratch) {
  if (!*stale) return;
  pack.Point(DNNL_ARG_FROM, weight.raw);
  pack.Point(DNNL_ARG_TO, packed.get_data_handle());
  pack.Run(dnnl_, scratch);
  *stale = false;
}

absl::Status ConvolutionLayerCpu::Forward(StepContext& step,
                                          const ForwardArgs& args) {
  return Guard("convolution", [&] {
    void* scratch = step.scratch().data();
    Pack(args.param[0], pack_, packed_, &stale_, scratch);
    for (size_t i = 0; i < args.bottom.size(); ++i) {
      forward_.Point(DNNL_ARG_SRC, args.bottom[i].raw);
      forward_.Point(DNNL_ARG_DST, args.top[i].raw);
      if (geometry().bias) forward_.Point(DNNL_ARG_BIAS, args.param[1].raw);
      forward_.Run(dnnl_, scratch);
    }
  });
}

absl::Status ConvolutionLayerCpu::Backward(StepContext& step,
                                           const BackwardArgs& args) {
  return Guard("convolution", [&] {
    uint8_t* scratch = step.scratch().data();
    bool first = true;
    for (size_t i = 0; i < args.bottom.size(); ++i) {
      if (args.top_gradient[i].raw == nullptr) continue;
      // The first bottom obeys the mode, later ones add to its sum.
      BackwardArgs shared = args;
      GradientTensor sums[2];
      const size_t params = geometry().bias ? 2 : 1;
      for (size_t p = 0; p < params; ++p) {
        sums[p] = args.param_gradient[p];
        if (!first && sums[p].mode == GradientMode::kWrite) {
          sums[p].mode = GradientMode::kAdd;
        }
      }
      shared.param_gradient = absl::MakeConstSpan(sums, params);
      RunWeights(shared, i, scratch);
      RunData(args, i, scratch);
      first = false;
    }
  });
}

void ConvolutionLayerCpu::RunWeights(const BackwardArgs& args, int i,
                                     uint8_t* scratch) {
  const GradientTensor& weight = args.param_gradient[0];
  const GradientTensor bias =
      geometry().bias ? args.param_gradient[1] : GradientTensor{};
  if (weight.mode == GradientMode::kNone && bias.mode == GradientMode::kNone) {
    return;
  }
  weights_.Point(DNNL_ARG_SRC, args.bottom[i].raw);
  weights_.Point(DNNL_ARG_DIFF_DST, args.top_gradient[i].raw);
  weights_.Run(dnnl_, scratch);
  if (weight.mode != GradientMode::kNone) {
    BoundPrimitive& unpack =
        weight.mode == GradientMode::kAdd ? unpack_add_ : unpack_;
    unpack.Point(DNNL_ARG_FROM, packed_gradient_.get_data_handle());
    unpack.Point(DNNL_ARG_TO, weight.tensor.raw);
    unpack.Run(dnnl_, scratch);
  }
  if (bias.mode != GradientMode::kNone) {
    const float* sum = static_cast<float*>(bias_gradient_.get_data_handle());
    Store(bias.mode, bias.tensor.data(), geometry().num_output,
          [=](int64_t o) { return sum[o]; });
  }
}

void ConvolutionLayerCpu::RunData(const BackwardArgs& args, int i,
                                  uint8_t* scratch) {
  const GradientTensor& gradient = args.bottom_gradient[i];
  if (gradient.mode == GradientMode::kNone) return;
  Pack(args.param[0], pack_backward_, packed_backward_, &stale_backward_,
       scratch);
  float* target = WriteTarget(gradient, scratch + primitive_scratch_);
  data_.Point(DNNL_ARG_DIFF_SRC, target);
  data_.Point(DNNL_ARG_DIFF_DST, args.top_gradient[i].raw);
  data_.Run(dnnl_, scratch);
  FinishTarget(gradient, target);
}

}  // namespace

absl::Status RegisterConvolution(LayerRegistry& registry) {
  return registry.Register("Convolution", DeviceType::kCpu,
                           MakeLayer<ConvolutionLayerCpu>);
}

}  // namespace cssp::cpu
