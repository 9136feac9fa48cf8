#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "common/base/status_macros.h"
#include "worker/layers/cpu/convolution_kernel.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/onednn.h"

namespace cssp::cpu {
namespace {

using dnnl::memory;
using Forwards = dnnl::convolution_forward;
using BackwardsData = dnnl::convolution_backward_data;
using BackwardsWeights = dnnl::convolution_backward_weights;
using Extents = ConvolutionProblem::Extents;

constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;

// oneDNN's kernels are best in two dimensions: fewer are given as two.
memory::dims Spread(const Extents& extents, int64_t neutral) {
  memory::dims dims(extents.begin(), extents.end());
  if (dims.size() < 2) dims.insert(dims.begin(), neutral);
  return dims;
}

memory::dims Joined(memory::dims head, const memory::dims& tail) {
  head.insert(head.end(), tail.begin(), tail.end());
  return head;
}

// Row-major.
memory::desc Plain(const memory::dims& dims) {
  memory::dims strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return {dims, memory::data_type::f32, strides};
}

memory::desc AnyLayout(const memory::dims& dims) {
  return {dims, memory::data_type::f32, memory::format_tag::any};
}

memory::desc InFormat(const memory::dims& dims, Format format) {
  if (format == Format::kCaffe) return Plain(dims);
  return {dims, memory::data_type::f32,
          format == Format::kBlocked8 ? memory::format_tag::nChw8c
                                      : memory::format_tag::nChw16c};
}

// A problem in oneDNN's terms.
struct Terms {
  memory::dims x, y, weight, bias;
  memory::dims stride, gaps, pad;  // oneDNN counts the gap, Caffe the step
  bool has_bias;

  explicit Terms(const ConvolutionProblem& s)
      : x(Joined({s.items, s.x_channels}, Spread(s.x, 1))),
        y(Joined({s.items, s.y_channels}, Spread(s.y, 1))),
        weight(Joined({s.y_channels / s.group, s.x_channels / s.group},
                      Spread(s.kernel, 1))),
        bias({s.y_channels}),
        stride(Spread(s.stride, 1)),
        gaps(Spread(s.dilation, 1)),
        pad(Spread(s.pad, 0)),
        has_bias(s.bias) {
    if (s.group > 1) weight.insert(weight.begin(), s.group);
    for (memory::dim& gap : gaps) --gap;
  }
};

// The three primitives of one problem in given layouts.
struct Descriptions {
  Forwards::primitive_desc forward;
  BackwardsData::primitive_desc data;
  BackwardsWeights::primitive_desc weights;

  Descriptions(const Terms& t, const memory::desc& x, const memory::desc& y,
               const dnnl::engine& engine) {
    const memory::desc w = AnyLayout(t.weight), b = Plain(t.bias);
    const auto kind = dnnl::prop_kind::forward_training;
    const dnnl::primitive_attr attr = UserScratchpad();
    forward = {t.has_bias ? Forwards::desc(kind, kAlgorithm, x, w, b, y,
                                           t.stride, t.gaps, t.pad, t.pad)
                          : Forwards::desc(kind, kAlgorithm, x, w, y, t.stride,
                                           t.gaps, t.pad, t.pad),
               attr, engine};
    data = {BackwardsData::desc(kAlgorithm, x, w, y, t.stride, t.gaps, t.pad,
                                t.pad),
            attr, engine, forward};
    weights = {t.has_bias
                   ? BackwardsWeights::desc(kAlgorithm, x, w, b, y, t.stride,
                                            t.gaps, t.pad, t.pad)
                   : BackwardsWeights::desc(kAlgorithm, x, w, y, t.stride,
                                            t.gaps, t.pad, t.pad),
               attr, engine, forward};
  }

  // oneDNN has nothing better than its reference loops for a pass that counts:
  // a first convolution, on few channels, needs no gradient of its data.
  bool poor(bool deconvolution) const {
    return Is("ref", forward) || Is("ref", weights) ||
           (deconvolution && Is("ref", data));
  }

  // Windows are copied out and multiplied, for some pass.
  bool gemm() const {
    return Is("gemm", forward) || Is("gemm", weights) || Is("gemm", data);
  }

 private:
  template <class Description>
  static bool Is(absl::string_view kind, const Description& pd) {
    return absl::StrContains(pd.impl_info_str(), kind);
  }
};

// Weights live in oneDNN's layouts in packed copies that are remade when the
// slab has moved; their gradient is written packed and reordered into the
// slab's layout.  Thread-confined: the training thread.
class OneDnnConvolution final : public ConvolutionKernel {
 public:
  // `dnnl`: the one whose engine `pd` was made on.
  OneDnnConvolution(const OneDnn& dnnl, const Terms& terms,
                    const Descriptions& pd)
      : dnnl_(dnnl), has_bias_(terms.has_bias), outputs_(terms.bias[0]) {
    const memory::desc slab = Plain(terms.weight);
    BindForward(pd.forward, slab);
    BindData(pd.data, slab);
    BindWeights(pd.weights, slab, Plain(terms.bias));
  }

  size_t scratch_bytes() const override {
    size_t bytes = 0;
    for (const BoundPrimitive* p : {&forward_, &data_, &weights_, &pack_,
                                    &pack_backward_, &unpack_, &unpack_add_}) {
      bytes = std::max(bytes, p->scratch_bytes());
    }
    return bytes;
  }

  void WeightsChanged() override { stale_ = stale_backward_ = true; }

  void Forward(const float* x, const float* weight, const float* bias, float* y,
               void* scratch) override {
    Pack(weight, pack_, packed_, &stale_, scratch);
    forward_.Point(DNNL_ARG_SRC, x);
    forward_.Point(DNNL_ARG_DST, y);
    if (has_bias_) forward_.Point(DNNL_ARG_BIAS, bias);
    forward_.Run(dnnl_, scratch);
  }

  void BackwardData(const float* dy, const float* weight, float* dx,
                    void* scratch) override {
    Pack(weight, pack_backward_, packed_backward_, &stale_backward_, scratch);
    data_.Point(DNNL_ARG_DIFF_SRC, dx);
    data_.Point(DNNL_ARG_DIFF_DST, dy);
    data_.Run(dnnl_, scratch);
  }

  void BackwardWeights(const float* x, const float* dy,
                       const GradientTensor& weight, const GradientTensor& bias,
                       void* scratch) override {
    const GradientMode bias_mode = has_bias_ ? bias.mode : GradientMode::kNone;
    if (weight.mode == GradientMode::kNone &&
        bias_mode == GradientMode::kNone) {
      return;
    }
    weights_.Point(DNNL_ARG_SRC, x);
    weights_.Point(DNNL_ARG_DIFF_DST, dy);
    weights_.Run(dnnl_, scratch);
    if (weight.mode != GradientMode::kNone) {
      BoundPrimitive& unpack =
          weight.mode == GradientMode::kAdd ? unpack_add_ : unpack_;
      unpack.Point(DNNL_ARG_FROM, packed_gradient_.get_data_handle());
      unpack.Point(DNNL_ARG_TO, weight.tensor.raw);
      unpack.Run(dnnl_, scratch);
    }
    if (bias_mode != GradientMode::kNone) {
      const float* sum = static_cast<float*>(bias_gradient_.get_data_handle());
      Store(bias_mode, bias.tensor.data(), outputs_,
            [=](int64_t o) { return sum[o]; });
    }
  }

 private:
  void BindForward(const Forwards::primitive_desc& pd,
                   const memory::desc& slab) {
    forward_.Init(dnnl_, Forwards(pd), pd.scratchpad_desc());
    forward_.Arg(DNNL_ARG_SRC, pd.src_desc());
    forward_.Arg(DNNL_ARG_DST, pd.dst_desc());
    packed_ = memory(pd.weights_desc(), dnnl_.engine);
    forward_.Arg(DNNL_ARG_WEIGHTS, packed_);
    if (has_bias_) forward_.Arg(DNNL_ARG_BIAS, pd.bias_desc());
    InitReorder(dnnl_, slab, pd.weights_desc(), false, &pack_);
  }

  void BindData(const BackwardsData::primitive_desc& pd,
                const memory::desc& slab) {
    data_.Init(dnnl_, BackwardsData(pd), pd.scratchpad_desc());
    data_.Arg(DNNL_ARG_DIFF_SRC, pd.diff_src_desc());
    data_.Arg(DNNL_ARG_DIFF_DST, pd.diff_dst_desc());
    packed_backward_ = memory(pd.weights_desc(), dnnl_.engine);
    data_.Arg(DNNL_ARG_WEIGHTS, packed_backward_);
    InitReorder(dnnl_, slab, pd.weights_desc(), false, &pack_backward_);
  }

  void BindWeights(const BackwardsWeights::primitive_desc& pd,
                   const memory::desc& slab, const memory::desc& bias) {
    weights_.Init(dnnl_, BackwardsWeights(pd), pd.scratchpad_desc());
    weights_.Arg(DNNL_ARG_SRC, pd.src_desc());
    weights_.Arg(DNNL_ARG_DIFF_DST, pd.diff_dst_desc());
    packed_gradient_ = memory(pd.diff_weights_desc(), dnnl_.engine);
    weights_.Arg(DNNL_ARG_DIFF_WEIGHTS, packed_gradient_);
    if (has_bias_) {
      bias_gradient_ = memory(bias, dnnl_.engine);
      weights_.Arg(DNNL_ARG_DIFF_BIAS, bias_gradient_);
    }
    InitReorder(dnnl_, pd.diff_weights_desc(), slab, false, &unpack_);
    InitReorder(dnnl_, pd.diff_weights_desc(), slab, true, &unpack_add_);
  }

  void Pack(const float* weight, BoundPrimitive& pack, const memory& packed,
            bool* stale, void* scratch) {
    if (!*stale) return;
    pack.Point(DNNL_ARG_FROM, weight);
    pack.Point(DNNL_ARG_TO, packed.get_data_handle());
    pack.Run(dnnl_, scratch);
    *stale = false;
  }

  OneDnn dnnl_;
  const bool has_bias_;
  const int64_t outputs_;
  BoundPrimitive forward_, data_, weights_;
  BoundPrimitive pack_, pack_backward_, unpack_, unpack_add_;
  memory packed_, packed_backward_, packed_gradient_, bias_gradient_;
  bool stale_ = true, stale_backward_ = true;
};

// For tensors that have to be in Caffe's layout: reordered into the layouts
// that oneDNN likes, and back.  Thread-confined: the training thread.
class ReorderedConvolution final : public ConvolutionKernel {
 public:
  ReorderedConvolution(const OneDnn& dnnl, const Terms& terms,
                       const Descriptions& pd)
      : dnnl_(dnnl), inside_(dnnl, terms, pd) {
    const memory::desc x = pd.forward.src_desc(), y = pd.forward.dst_desc();
    InitReorder(dnnl_, Plain(terms.x), x, false, &x_in_);
    InitReorder(dnnl_, Plain(terms.y), y, false, &y_in_);
    InitReorder(dnnl_, x, Plain(terms.x), false, &x_out_);
    InitReorder(dnnl_, y, Plain(terms.y), false, &y_out_);
    size_t primitives = inside_.scratch_bytes();
    for (const BoundPrimitive* p : {&x_in_, &y_in_, &x_out_, &y_out_}) {
      primitives = std::max(primitives, p->scratch_bytes());
    }
    x_at_ = Align64(primitives);
    y_at_ = x_at_ + Align64(x.get_size());
    scratch_bytes_ = y_at_ + y.get_size();
  }

  size_t scratch_bytes() const override { return scratch_bytes_; }
  void WeightsChanged() override { inside_.WeightsChanged(); }

  void Forward(const float* x, const float* weight, const float* bias, float* y,
               void* scratch) override {
    Reorder(x_in_, x, X(scratch), scratch);
    inside_.Forward(X(scratch), weight, bias, Y(scratch), scratch);
    Reorder(y_out_, Y(scratch), y, scratch);
  }

  void BackwardData(const float* dy, const float* weight, float* dx,
                    void* scratch) override {
    Reorder(y_in_, dy, Y(scratch), scratch);
    inside_.BackwardData(Y(scratch), weight, X(scratch), scratch);
    Reorder(x_out_, X(scratch), dx, scratch);
  }

  void BackwardWeights(const float* x, const float* dy,
                       const GradientTensor& weight, const GradientTensor& bias,
                       void* scratch) override {
    Reorder(x_in_, x, X(scratch), scratch);
    Reorder(y_in_, dy, Y(scratch), scratch);
    inside_.BackwardWeights(X(scratch), Y(scratch), weight, bias, scratch);
  }

 private:
  float* X(void* scratch) const { return At(scratch, x_at_); }
  float* Y(void* scratch) const { return At(scratch, y_at_); }
  static float* At(void* scratch, size_t offset) {
    return reinterpret_cast<float*>(static_cast<uint8_t*>(scratch) + offset);
  }

  void Reorder(BoundPrimitive& reorder, const float* from, float* to,
               void* scratch) {
    reorder.Point(DNNL_ARG_FROM, from);
    reorder.Point(DNNL_ARG_TO, to);
    reorder.Run(dnnl_, scratch);
  }

  OneDnn dnnl_;
  OneDnnConvolution inside_;
  BoundPrimitive x_in_, y_in_, x_out_, y_out_;
  size_t x_at_ = 0, y_at_ = 0, scratch_bytes_ = 0;
};

Descriptions Describe(const Terms& terms, const ConvolutionFormats& formats,
                      const dnnl::engine& engine) {
  return Descriptions(terms, InFormat(terms.x, formats.x),
                      InFormat(terms.y, formats.y), engine);
}

// What oneDNN likes best for the pass that matters: a deconvolution's forward
// is the gradient of the data.
ConvolutionFormats Liked(const ConvolutionProblem& s, const Terms& terms,
                         const dnnl::engine& engine) {
  const Descriptions any(terms, AnyLayout(terms.x), AnyLayout(terms.y), engine);
  const Shape x({s.items, s.x_channels, s.x[0], s.x[1]});
  const Shape y({s.items, s.y_channels, s.y[0], s.y[1]});
  if (s.deconvolution) {
    return {NearestFormat(any.data.diff_src_desc(), x),
            NearestFormat(any.data.diff_dst_desc(), y)};
  }
  return {NearestFormat(any.forward.src_desc(), x),
          NearestFormat(any.forward.dst_desc(), y)};
}

// Null where oneDNN's favourite layouts bring nothing.
std::unique_ptr<ConvolutionKernel> MakeReordered(const OneDnn& dnnl,
                                                 const Terms& terms) {
  const Descriptions any(terms, AnyLayout(terms.x), AnyLayout(terms.y),
                         dnnl.engine);
  const Descriptions pd(terms, any.forward.src_desc(), any.forward.dst_desc(),
                        dnnl.engine);
  if (pd.gemm() || pd.poor(/*deconvolution=*/true)) return nullptr;
  return std::make_unique<ReorderedConvolution>(dnnl, terms, pd);
}

}  // namespace

ConvolutionFormats PreferredFormats(const ConvolutionProblem& problem) {
  ConvolutionFormats best;
  if (!problem.blockable) return best;
  const OneDnn dnnl;
  // A failure here shows again, with its message, when the kernel is made.
  Guard("convolution", [&] {
    const Terms terms(problem);
    const ConvolutionFormats liked = Liked(problem, terms, dnnl.engine);
    const Format blocked = NativeBlocked();
    for (const ConvolutionFormats& formats :
         {liked, ConvolutionFormats{blocked, blocked}}) {
      if (Describe(terms, formats, dnnl.engine).poor(problem.deconvolution))
        continue;
      best = formats;
      return;
    }
  }).IgnoreError();
  return best;
}

absl::StatusOr<std::unique_ptr<ConvolutionKernel>> MakeConvolutionKernel(
    const ConvolutionProblem& problem, const ConvolutionFormats& formats) {
  const bool plain = formats.x == Format::kCaffe && formats.y == Format::kCaffe;
  if (problem.x.size() > 3) return MakeDirectConvolution(problem);
  std::unique_ptr<ConvolutionKernel> kernel;
  const absl::Status status = Guard("convolution", [&] {
    const OneDnn dnnl;
    const Terms terms(problem);
    const Descriptions pd = Describe(terms, formats, dnnl.engine);
    if (plain && !problem.blockable) {
      kernel = MakeReordered(dnnl, terms);
      if (kernel != nullptr) return;
    }
    if (plain && pd.poor(problem.deconvolution)) return;
    kernel = std::make_unique<OneDnnConvolution>(dnnl, terms, pd);
  });
  if (kernel == nullptr && plain) return MakeDirectConvolution(problem);
  RETURN_IF_ERROR(status);
  return kernel;
}

}  // namespace cssp::cpu
