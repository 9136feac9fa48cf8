#include "worker/layers/cpu/onednn_convolution.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "worker/layers/cpu/kernels.h"

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

template <class Description>
bool Is(absl::string_view kind, const Description& pd) {
  return absl::StrContains(pd.impl_info_str(), kind);
}

}  // namespace

ConvolutionTerms::ConvolutionTerms(const ConvolutionProblem& s, int64_t merge)
    : x(Joined({s.items, s.x_channels}, Spread(s.x, 1))),
      y(Joined({s.items, s.y_channels}, Spread(s.y, 1))),
      weight(Joined(
          {s.y_channels / s.group * merge, s.x_channels / s.group * merge},
          Spread(s.kernel, 1))),
      outputs(s.y_channels),
      outputs_per_group(s.y_channels / s.group),
      row(s.x_channels / s.group * s.kernel_count()),
      merge(merge),
      stride(Spread(s.stride, 1)),
      gaps(Spread(s.dilation, 1)),
      pad(Spread(s.pad, 0)),
      has_bias(s.bias) {
  if (s.group > merge) weight.insert(weight.begin(), s.group / merge);
  for (memory::dim& gap : gaps) --gap;
}

ConvolutionDescriptions::ConvolutionDescriptions(const ConvolutionTerms& t,
                                                 const memory::desc& x,
                                                 const memory::desc& y,
                                                 const dnnl::engine& engine) {
  const memory::desc w = AnyLayout(t.weight), b = Plain({t.outputs});
  const auto kind = dnnl::prop_kind::forward_training;
  const dnnl::primitive_attr attr = UserScratchpad();
  forward = {t.has_bias ? Forwards::desc(kind, kAlgorithm, x, w, b, y, t.stride,
                                         t.gaps, t.pad, t.pad)
                        : Forwards::desc(kind, kAlgorithm, x, w, y, t.stride,
                                         t.gaps, t.pad, t.pad),
             attr, engine};
  data = {
      BackwardsData::desc(kAlgorithm, x, w, y, t.stride, t.gaps, t.pad, t.pad),
      attr, engine, forward};
  if (Is("ref", data) && t.x[0] > 0 && x == Plain(t.x) && y != Plain(t.y)) {
    ConvolutionTerms one = t;
    one.x[0] = one.y[0] = 1;
    const ConvolutionDescriptions plain(one, Plain(one.x), Plain(one.y),
                                        engine);
    if (!Is("ref", plain.data)) data = plain.data;
  }
  weights = {t.has_bias ? BackwardsWeights::desc(kAlgorithm, x, w, b, y,
                                                 t.stride, t.gaps, t.pad, t.pad)
                        : BackwardsWeights::desc(kAlgorithm, x, w, y, t.stride,
                                                 t.gaps, t.pad, t.pad),
             attr, engine, forward};
}

ConvolutionDescriptions::ConvolutionDescriptions(
    const ConvolutionTerms& terms, const ConvolutionFormats& formats,
    const dnnl::engine& engine)
    : ConvolutionDescriptions(terms, InFormat(terms.x, formats.x),
                              InFormat(terms.y, formats.y), engine) {}

ConvolutionDescriptions ConvolutionDescriptions::Any(
    const ConvolutionTerms& terms, const dnnl::engine& engine) {
  return {terms, AnyLayout(terms.x), AnyLayout(terms.y), engine};
}

bool ConvolutionDescriptions::poor(bool deconvolution) const {
  return Is("ref", forward) || Is("ref", weights) ||
         (deconvolution && Is("ref", data));
}

bool ConvolutionDescriptions::gemm(bool deconvolution) const {
  return Is("gemm", forward) || Is("gemm", weights) ||
         (deconvolution && Is("gemm", data));
}

OneDnnConvolution::OneDnnConvolution(const OneDnn& dnnl,
                                     const ConvolutionTerms& terms,
                                     const ConvolutionDescriptions& pd)
    : dnnl_(dnnl), terms_(terms), plain_(Plain(terms.weight)) {
  if (terms.merge > 1) {
    merged_.assign(terms.outputs * terms.merge * terms.row, 0.0f);
  }
  BindForward(pd.forward);
  BindData(pd.data, pd.forward.dst_desc());
  BindWeights(pd.weights);
  for (const BoundPrimitive* p :
       {&forward_, &data_, &weights_, &dy_of_item_, &pack_, &pack_backward_,
        &unpack_, &unpack_add_}) {
    scratch_bytes_ = std::max(scratch_bytes_, p->scratch_bytes());
  }
  if (dy_of_item_) {
    dy_at_ = Align64(scratch_bytes_);
    scratch_bytes_ = dy_at_ + pd.data.diff_dst_desc().get_size();
  }
}

void OneDnnConvolution::BindForward(const Forwards::primitive_desc& pd) {
  forward_.Init(dnnl_, Forwards(pd), pd.scratchpad_desc());
  forward_.Arg(DNNL_ARG_SRC, pd.src_desc());
  forward_.Arg(DNNL_ARG_DST, pd.dst_desc());
  packed_ = memory(pd.weights_desc(), dnnl_.engine);
  forward_.Arg(DNNL_ARG_WEIGHTS, packed_);
  if (terms_.has_bias) forward_.Arg(DNNL_ARG_BIAS, pd.bias_desc());
  InitReorder(dnnl_, plain_, pd.weights_desc(), false, &pack_);
}

void OneDnnConvolution::BindData(const BackwardsData::primitive_desc& pd,
                                 const memory::desc& y) {
  if (pd.diff_dst_desc() != y) {
    memory::dims one = terms_.y;
    one[0] = 1;
    InitReorder(dnnl_, y.submemory_desc(one, memory::dims(one.size(), 0)),
                pd.diff_dst_desc(), false, &dy_of_item_);
    x_item_ = pd.diff_src_desc().get_size() / sizeof(float);
    y_item_ = y.get_size() / sizeof(float) / terms_.y[0];
  }
  data_.Init(dnnl_, BackwardsData(pd), pd.scratchpad_desc());
  data_.Arg(DNNL_ARG_DIFF_SRC, pd.diff_src_desc());
  data_.Arg(DNNL_ARG_DIFF_DST, pd.diff_dst_desc());
  packed_backward_ = memory(pd.weights_desc(), dnnl_.engine);
  data_.Arg(DNNL_ARG_WEIGHTS, packed_backward_);
  InitReorder(dnnl_, plain_, pd.weights_desc(), false, &pack_backward_);
}

void OneDnnConvolution::BindWeights(
    const BackwardsWeights::primitive_desc& pd) {
  weights_.Init(dnnl_, BackwardsWeights(pd), pd.scratchpad_desc());
  weights_.Arg(DNNL_ARG_SRC, pd.src_desc());
  weights_.Arg(DNNL_ARG_DIFF_DST, pd.diff_dst_desc());
  packed_gradient_ = memory(pd.diff_weights_desc(), dnnl_.engine);
  weights_.Arg(DNNL_ARG_DIFF_WEIGHTS, packed_gradient_);
  if (terms_.has_bias) {
    bias_gradient_ = memory(Plain({terms_.outputs}), dnnl_.engine);
    weights_.Arg(DNNL_ARG_DIFF_BIAS, bias_gradient_);
  }
  InitReorder(dnnl_, pd.diff_weights_desc(), plain_, false, &unpack_);
  InitReorder(dnnl_, pd.diff_weights_desc(), plain_, true, &unpack_add_);
}

int64_t OneDnnConvolution::MergedRow(int64_t o) const {
  const int64_t place = o / terms_.outputs_per_group % terms_.merge;
  return (o * terms_.merge + place) * terms_.row;
}

void OneDnnConvolution::Pack(const float* weight, BoundPrimitive& pack,
                             const memory& packed, bool* stale, void* scratch) {
  if (!*stale) return;
  if (!merged_.empty()) {
    // A gradient may have been here.
    std::fill(merged_.begin(), merged_.end(), 0.0f);
    for (int64_t o = 0; o < terms_.outputs; ++o) {
      std::copy_n(weight + o * terms_.row, terms_.row, &merged_[MergedRow(o)]);
    }
    weight = merged_.data();
  }
  pack.Point(DNNL_ARG_FROM, weight);
  pack.Point(DNNL_ARG_TO, packed.get_data_handle());
  pack.Run(dnnl_, scratch);
  *stale = false;
}

void OneDnnConvolution::Unpack(const GradientTensor& weight, void* scratch) {
  const bool merged = !merged_.empty();
  const bool add = weight.mode == GradientMode::kAdd && !merged;
  BoundPrimitive& unpack = add ? unpack_add_ : unpack_;
  unpack.Point(DNNL_ARG_FROM, packed_gradient_.get_data_handle());
  unpack.Point(DNNL_ARG_TO, merged ? merged_.data() : weight.tensor.raw);
  unpack.Run(dnnl_, scratch);
  for (int64_t o = 0; merged && o < terms_.outputs; ++o) {
    const float* from = &merged_[MergedRow(o)];
    Store(weight.mode, weight.tensor.data() + o * terms_.row, terms_.row,
          [=](int64_t i) { return from[i]; });
  }
}

void OneDnnConvolution::Forward(const float* x, const float* weight,
                                const float* bias, float* y, void* scratch) {
  Pack(weight, pack_, packed_, &stale_, scratch);
  forward_.Point(DNNL_ARG_SRC, x);
  forward_.Point(DNNL_ARG_DST, y);
  if (terms_.has_bias) forward_.Point(DNNL_ARG_BIAS, bias);
  forward_.Run(dnnl_, scratch);
}

void OneDnnConvolution::BackwardData(const float* dy, const float* weight,
                                     float* dx, void* scratch) {
  Pack(weight, pack_backward_, packed_backward_, &stale_backward_, scratch);
  if (!dy_of_item_) {
    data_.Point(DNNL_ARG_DIFF_SRC, dx);
    data_.Point(DNNL_ARG_DIFF_DST, dy);
    data_.Run(dnnl_, scratch);
    return;
  }
  uint8_t* reordered = static_cast<uint8_t*>(scratch) + dy_at_;
  dy_of_item_.Point(DNNL_ARG_TO, reordered);
  data_.Point(DNNL_ARG_DIFF_DST, reordered);
  for (int64_t item = 0; item < terms_.x[0]; ++item) {
    dy_of_item_.Point(DNNL_ARG_FROM, dy + item * y_item_);
    dy_of_item_.Run(dnnl_, scratch);
    data_.Point(DNNL_ARG_DIFF_SRC, dx + item * x_item_);
    data_.Run(dnnl_, scratch);
  }
}

void OneDnnConvolution::BackwardWeights(const float* x, const float* dy,
                                        const GradientTensor& weight,
                                        const GradientTensor& bias,
                                        void* scratch) {
  const GradientMode bias_mode =
      terms_.has_bias ? bias.mode : GradientMode::kNone;
  if (weight.mode == GradientMode::kNone && bias_mode == GradientMode::kNone) {
    return;
  }
  weights_.Point(DNNL_ARG_SRC, x);
  weights_.Point(DNNL_ARG_DIFF_DST, dy);
  weights_.Run(dnnl_, scratch);
  if (weight.mode != GradientMode::kNone) Unpack(weight, scratch);
  if (bias_mode != GradientMode::kNone) {
    const float* sum = static_cast<float*>(bias_gradient_.get_data_handle());
    Store(bias_mode, bias.tensor.data(), terms_.outputs,
          [=](int64_t o) { return sum[o]; });
  }
}

ReorderedConvolution::ReorderedConvolution(const OneDnn& dnnl,
                                           const ConvolutionTerms& terms,
                                           const ConvolutionDescriptions& pd)
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

void ReorderedConvolution::Forward(const float* x, const float* weight,
                                   const float* bias, float* y, void* scratch) {
  Reorder(x_in_, x, X(scratch), scratch);
  inside_.Forward(X(scratch), weight, bias, Y(scratch), scratch);
  Reorder(y_out_, Y(scratch), y, scratch);
}

void ReorderedConvolution::BackwardData(const float* dy, const float* weight,
                                        float* dx, void* scratch) {
  Reorder(y_in_, dy, Y(scratch), scratch);
  inside_.BackwardData(Y(scratch), weight, X(scratch), scratch);
  Reorder(x_out_, X(scratch), dx, scratch);
}

void ReorderedConvolution::BackwardWeights(const float* x, const float* dy,
                                           const GradientTensor& weight,
                                           const GradientTensor& bias,
                                           void* scratch) {
  Reorder(x_in_, x, X(scratch), scratch);
  Reorder(y_in_, dy, Y(scratch), scratch);
  inside_.BackwardWeights(X(scratch), Y(scratch), weight, bias, scratch);
}

void ReorderedConvolution::Reorder(BoundPrimitive& reorder, const float* from,
                                   float* to, void* scratch) {
  reorder.Point(DNNL_ARG_FROM, from);
  reorder.Point(DNNL_ARG_TO, to);
  reorder.Run(dnnl_, scratch);
}

}  // namespace cssp::cpu
