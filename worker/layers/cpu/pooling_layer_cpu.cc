#include "worker/layers/pooling_layer.h"

#include <algorithm>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/onednn.h"
#include "worker/layers/cpu/pool_kernels.h"

namespace cssp::cpu {
namespace {

using dnnl::memory;
using Forwards = dnnl::pooling_forward;
using Backwards = dnnl::pooling_backward;

// oneDNN where it agrees with Caffe, whose STOCHASTIC it has not:
//   MAX  always, but for the second top (it keeps no indices that we can read);
//   AVE  without padding: its exclude_padding;
//        with padding and no window beyond the padded bottom: include_padding.
// Our kernel for the rest, and where windows are empty (stride > kernel).
class PoolingLayerCpu final : public PoolingLayer {
 public:
  using PoolingLayer::PoolingLayer;

  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override;
  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override;
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override;

 private:
  absl::Status BindOneDnn(const TensorDesc& bottom, const TensorDesc& top);
  bool OneDnnAgrees() const;
  void ForwardOwn(const StepContext& step, const ForwardArgs& args);
  void BackwardOwn(const BackwardArgs& args);

  OneDnn dnnl_;
  bool use_onednn_ = false;
  BoundPrimitive forward_, backward_;
  memory workspace_;
  size_t primitive_scratch_ = 0;
  PoolShape shape_;
  std::vector<int32_t> chosen_;  // ours: by MAX, or by a draw
};

// (n, c, w) as (n, c, 1, w).
TensorDesc AtLeastFourAxes(TensorDesc desc) {
  if (desc.shape.num_axes() > 3) return desc;
  desc.shape = {desc.shape.dim(0), desc.shape.dim(1), 1, desc.shape.dim(2)};
  return desc;
}

FormatChoice PoolingLayerCpu::ChooseFormats(absl::Span<const TensorDesc> bottom,
                                            absl::Span<const Shape> top) const {
  FormatChoice choice{{bottom[0].format}, {bottom[0].format}};
  // Indices are for people: in Caffe's layout.
  if (has_mask()) choice = {{Format::kCaffe}, {Format::kCaffe, Format::kCaffe}};
  return choice;
}

absl::Status PoolingLayerCpu::Bind(absl::Span<const TensorDesc> bottom,
                                   absl::Span<const TensorDesc> top) {
  const auto axes = AxesFor(bottom[0].shape, top[0].shape);
  shape_.view = ChannelView::Of(bottom[0], 1);
  for (int i = 0; i < 3; ++i) {
    shape_.in[i] = axes[i].in;
    shape_.out[i] = axes[i].out;
    shape_.kernel[i] = axes[i].kernel;
    shape_.stride[i] = axes[i].stride;
    shape_.pad[i] = axes[i].pad;
  }
  use_onednn_ = OneDnnAgrees() && BindOneDnn(bottom[0], top[0]).ok();
  if (!use_onednn_) {
    primitive_scratch_ = scratch_bytes_ = 0;
    chosen_.assign(is_max() || draws() ? top[0].stored_count() : 0, 0);
  }
  return absl::OkStatus();
}

bool PoolingLayerCpu::OneDnnAgrees() const {
  if (has_mask() || is_stochastic()) return false;
  bool padded = false, overflows = false;
  for (int i = 0; i < 3; ++i) {
    const int64_t last = (shape_.out[i] - 1) * shape_.stride[i];
    if (last - shape_.pad[i] >= shape_.in[i]) return false;  // empty window
    padded |= shape_.pad[i] > 0;
    overflows |= last + shape_.kernel[i] > shape_.in[i] + 2 * shape_.pad[i];
  }
  // Caffe's divisor ends one padding beyond the bottom, so an overflow is the
  // only difference.
  return is_max() || !padded || !overflows;
}

absl::Status PoolingLayerCpu::BindOneDnn(const TensorDesc& bottom,
                                         const TensorDesc& top) {
  const PoolShape& s = shape_;
  // Fewer than two axes are given as two.
  const int spatial = std::max(bottom.shape.num_axes() - 2, 2);
  const auto last = [&](const int64_t(&v)[3]) {
    return memory::dims(v + 3 - spatial, v + 3);
  };
  memory::dims far(spatial);  // whatever makes oneDNN's output size ours
  bool padded = false;
  for (int i = 0; i < spatial; ++i) {
    const int k = 3 - spatial + i;
    far[i] = (s.out[k] - 1) * s.stride[k] + s.kernel[k] - s.in[k] - s.pad[k];
    padded |= s.pad[k] > 0;
  }
  using dnnl::algorithm;
  const algorithm kind = is_max() ? algorithm::pooling_max
                         : padded ? algorithm::pooling_avg_include_padding
                                  : algorithm::pooling_avg_exclude_padding;
  const memory::dims stride = last(s.stride), kernel = last(s.kernel);
  const memory::dims near = last(s.pad);
  const memory::desc src = Describe(AtLeastFourAxes(bottom));
  const memory::desc dst = Describe(AtLeastFourAxes(top));
  return Guard("pooling", [&] {
    const Forwards::primitive_desc pd(
        Forwards::desc(dnnl::prop_kind::forward_training, kind, src, dst,
                       stride, kernel, near, far),
        UserScratchpad(), dnnl_.engine);
    const Backwards::primitive_desc back(
        Backwards::desc(kind, src, dst, stride, kernel, near, far),
        UserScratchpad(), dnnl_.engine, pd);
    forward_.Init(dnnl_, Forwards(pd), pd.scratchpad_desc());
    forward_.Arg(DNNL_ARG_SRC, pd.src_desc());
    forward_.Arg(DNNL_ARG_DST, pd.dst_desc());
    backward_.Init(dnnl_, Backwards(back), back.scratchpad_desc());
    backward_.Arg(DNNL_ARG_DIFF_SRC, back.diff_src_desc());
    backward_.Arg(DNNL_ARG_DIFF_DST, back.diff_dst_desc());
    if (is_max()) {
      workspace_ = memory(pd.workspace_desc(), dnnl_.engine);
      forward_.Arg(DNNL_ARG_WORKSPACE, workspace_);
      backward_.Arg(DNNL_ARG_WORKSPACE, workspace_);
    }
    primitive_scratch_ =
        Align64(std::max(forward_.scratch_bytes(), backward_.scratch_bytes()));
    scratch_bytes_ = primitive_scratch_ + bottom.bytes();
  });
}

absl::Status PoolingLayerCpu::Forward(StepContext& step,
                                      const ForwardArgs& args) {
  if (!use_onednn_) {
    ForwardOwn(step, args);
    return absl::OkStatus();
  }
  return Guard("pooling", [&] {
    forward_.Point(DNNL_ARG_SRC, args.bottom[0].raw);
    forward_.Point(DNNL_ARG_DST, args.top[0].raw);
    forward_.Run(dnnl_, step.scratch().data());
  });
}

absl::Status PoolingLayerCpu::Backward(StepContext& step,
                                       const BackwardArgs& args) {
  const GradientTensor& gradient = args.bottom_gradient[0];
  if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
  if (!use_onednn_) {
    BackwardOwn(args);
    return absl::OkStatus();
  }
  return Guard("pooling", [&] {
    float* target =
        WriteTarget(gradient, step.scratch().data() + primitive_scratch_);
    backward_.Point(DNNL_ARG_DIFF_SRC, target);
    backward_.Point(DNNL_ARG_DIFF_DST, args.top_gradient[0].raw);
    backward_.Run(dnnl_, step.scratch().data());
    FinishTarget(gradient, target);
  });
}

void PoolingLayerCpu::ForwardOwn(const StepContext& step,
                                 const ForwardArgs& args) {
  const float* x = args.bottom[0].data();
  float* y = args.top[0].data();
  if (is_max()) {
    MaxPoolForward(shape_, x, y, chosen_.data());
  } else if (draws()) {
    const StepState& state = step.state();
    const DrawSite site{state.seed, state.clock, state.pass, step.layer(),
                        state.rank};
    StochasticPoolForward(shape_, site, 0, x, y, chosen_.data());
  } else if (is_stochastic()) {
    WeightedPoolForward(shape_, x, y);
  } else {
    AvePoolForward(shape_, x, y);
  }
  if (has_mask()) {
    const int32_t* chosen = chosen_.data();
    Fill(args.top[1].data(), args.top[1].count(),
         [=](int64_t i) { return static_cast<float>(chosen[i]); });
  }
}

void PoolingLayerCpu::BackwardOwn(const BackwardArgs& args) {
  const GradientTensor& gradient = args.bottom_gradient[0];
  const bool add = gradient.mode == GradientMode::kAdd;
  const float* dy = args.top_gradient[0].data();
  float* dx = gradient.tensor.data();
  if (!chosen_.empty()) {
    ChosenPoolBackward(shape_, chosen_.data(), dy, add, dx);
  } else if (is_stochastic()) {
    WeightedPoolBackward(shape_, args.bottom[0].data(), dy, add, dx);
  } else {
    AvePoolBackward(shape_, dy, add, dx);
  }
}

}  // namespace

absl::Status RegisterPooling(LayerRegistry& registry) {
  return registry.Register("Pooling", DeviceType::kCpu,
                           MakeLayer<PoolingLayerCpu>);
}

}  // namespace cssp::cpu
