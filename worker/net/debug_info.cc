#include "worker/net/debug_info.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

struct Magnitude {
  double sum = 0, squares = 0;
};

Magnitude Measure(absl::Span<const float> values) {
  Magnitude of;
  for (const float value : values) {
    of.sum += std::abs(value);
    of.squares += double{value} * value;
  }
  return of;
}

// A tensor where kernels work; what pads a blocked one is zero.
absl::StatusOr<std::vector<float>> Fetch(Net::Impl& net, const float* tensor,
                                         int64_t stored) {
  std::vector<float> values(stored);
  RETURN_IF_ERROR(
      net.executor->CopyOut(values.data(), tensor, stored * sizeof(float)));
  return values;
}

// Caffe prints floats, six digits.
void LogMean(const std::string& what, absl::Span<const float> values,
             int64_t count) {
  if (count == 0) return;
  LOG(INFO) << "    " << what
            << static_cast<float>(Measure(values).sum / count);
}

// The layer's own step, among those that reorder for it.
const PlanStep* StepOf(const ExecutionPlan& plan, int layer) {
  for (int s = plan.last_step[layer]; s >= plan.first_step[layer]; --s)
    if (!plan.steps[s].reorder) return &plan.steps[s];
  return nullptr;
}

std::string ParamName(const Net::Impl& net, int layer, int index) {
  const caffe::LayerParameter& param =
      net.graph.layers[layer].layer->layer_param();
  if (index < param.param_size() && !param.param(index).name().empty())
    return param.param(index).name();
  return absl::StrCat(index);
}

absl::Span<const float> WeightOf(const Net::Impl& net, int param) {
  return absl::MakeConstSpan(net.params->host_weight(param),
                             net.graph.params[param].shape.count());
}

absl::Span<const float> PartOf(absl::Span<const float> slab,
                               const NetParam& param) {
  return slab.subspan(param.offset, param.shape.count());
}

}  // namespace

absl::Status LogForwardDebug(Net::Impl& net, int l) {
  const ExecutionPlan& plan = net.executor->plan();
  const PlanStep* step = StepOf(plan, l);
  if (step == nullptr) return absl::OkStatus();
  const GraphLayer& layer = net.graph.layers[l];
  const std::string who =
      absl::StrCat("[Forward] Layer ", layer.layer->name(), ", ");
  for (int top : step->top) {
    const PlanTensor& tensor = plan.tensors[top];
    ASSIGN_OR_RETURN(
        const std::vector<float> values,
        Fetch(net, net.executor->data(top), tensor.desc.stored_count()));
    LogMean(absl::StrCat(who, "top blob ", net.graph.blobs[tensor.blob].name,
                         " data: "),
            values, tensor.desc.shape.count());
  }
  for (size_t i = 0; i < layer.param.size(); ++i) {
    const auto values = WeightOf(net, layer.param[i]);
    LogMean(absl::StrCat(who, "param blob ", ParamName(net, l, i), " data: "),
            values, values.size());
  }
  return absl::OkStatus();
}

absl::Status LogBackwardDebug(Net::Impl& net, int l) {
  const ExecutionPlan& plan = net.executor->plan();
  const PlanStep* step = StepOf(plan, l);
  const GraphLayer& layer = net.graph.layers[l];
  if (step == nullptr || !layer.needs_backward) return absl::OkStatus();
  const std::string who =
      absl::StrCat("[Backward] Layer ", layer.layer->name(), ", ");
  for (size_t i = 0; i < step->bottom.size(); ++i) {
    if (!step->bottom_gradient[i]) continue;
    const PlanTensor& tensor = plan.tensors[step->bottom[i]];
    ASSIGN_OR_RETURN(const float* gradient,
                     net.executor->gradient(step->bottom[i]));
    if (gradient == nullptr) continue;
    ASSIGN_OR_RETURN(const std::vector<float> values,
                     Fetch(net, gradient, tensor.desc.stored_count()));
    LogMean(absl::StrCat(who, "bottom blob ", net.graph.blobs[tensor.blob].name,
                         " diff: "),
            values, tensor.desc.shape.count());
  }
  ASSIGN_OR_RETURN(const absl::Span<float> gradients,
                   net.executor->Gradients(net.executor->generation()));
  for (size_t i = 0; i < layer.param.size(); ++i) {
    if (!layer.param_needed[i]) continue;
    const auto values = PartOf(gradients, net.graph.params[layer.param[i]]);
    LogMean(absl::StrCat(who, "param blob ", ParamName(net, l, i), " diff: "),
            values, values.size());
  }
  return absl::OkStatus();
}

absl::Status LogParamsDebug(Net::Impl& net) {
  ASSIGN_OR_RETURN(const absl::Span<float> gradients,
                   net.executor->Gradients(net.executor->generation()));
  Magnitude data, diff;
  for (size_t p = 0; p < net.graph.params.size(); ++p) {
    const NetParam& param = net.graph.params[p];
    if (param.kind != ParamKind::kGradient) continue;
    const Magnitude weights = Measure(WeightOf(net, p));
    const Magnitude gradient = Measure(PartOf(gradients, param));
    data.sum += weights.sum;
    data.squares += weights.squares;
    diff.sum += gradient.sum;
    diff.squares += gradient.squares;
  }
  // An error in Caffe's log as well, so that it shows at any verbosity.
  LOG(ERROR) << "    [Backward] All net params (data, diff): L1 norm = ("
             << static_cast<float>(data.sum) << ", "
             << static_cast<float>(diff.sum) << "); L2 norm = ("
             << static_cast<float>(std::sqrt(data.squares)) << ", "
             << static_cast<float>(std::sqrt(diff.squares)) << ")";
  return absl::OkStatus();
}

}  // namespace cssp
