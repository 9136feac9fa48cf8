// The first pass: shapes flow, formats are agreed on, steps appear.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/net/plan_passes.h"

namespace cssp {
namespace {

// Thread-confined: one BuildSteps call.
class StepBuilder {
 public:
  StepBuilder(NetGraph& graph, absl::Span<const Shape> input_shapes,
              const PlanOptions& options, ExecutionPlan& plan)
      : graph_(graph), inputs_(input_shapes), options_(options), plan_(plan),
        current_(graph.blobs.size(), -1), last_writer_(graph.blobs.size(), -1) {
    for (size_t l = 0; l < graph.layers.size(); ++l) {
      for (int top : graph.layers[l].top) last_writer_[top] = l;
    }
    plan.blob_tensor.assign(graph.blobs.size(), -1);
    plan.first_step.resize(graph.layers.size());
    plan.last_step.resize(graph.layers.size());
  }

  absl::Status AddLayer(int l) {
    const GraphLayer& layer = graph_.layers[l];
    plan_.first_step[l] = static_cast<int>(plan_.steps.size());
    std::vector<TensorDesc> descs;
    std::vector<Shape> shapes;
    for (int blob : layer.bottom) {
      descs.push_back(plan_.tensors[current_[blob]].desc);
      shapes.push_back(descs.back().shape);
    }
    ASSIGN_OR_RETURN(std::vector<Shape> tops, Tops(l, shapes));
    OverrideInputs(layer, tops);
    PlanStep step;
    step.layer = l;
    step.traits = layer.layer->Traits();
    const FormatChoice choice = Choose(layer, step.traits, descs, tops);
    for (size_t i = 0; i < layer.bottom.size(); ++i)
      step.bottom.push_back(
          InFormat(current_[layer.bottom[i]], choice.bottom[i], l));
    RETURN_IF_ERROR(AddStep(std::move(step), choice, tops));
    plan_.last_step[l] = static_cast<int>(plan_.steps.size()) - 1;
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<std::vector<Shape>> Tops(int l,
                                          const std::vector<Shape>& bottom) {
    const ExecutionPlan* running = options_.running;
    if (running == nullptr || l >= options_.run_layers)
      return InferTops(graph_.layers[l], bottom);
    std::vector<Shape> tops;
    for (int s = running->first_step[l]; s <= running->last_step[l]; ++s) {
      if (running->steps[s].reorder) continue;
      for (int t : running->steps[s].top)
        tops.push_back(running->tensors[t].desc.shape);
    }
    return tops;
  }

  void OverrideInputs(const GraphLayer& layer, std::vector<Shape>& tops) {
    for (size_t i = 0; i < tops.size(); ++i) {
      const int blob = layer.top[i];
      if (graph_.blobs[blob].is_input && blob < inputs_.size() &&
          inputs_[blob].num_axes() > 0)
        tops[i] = inputs_[blob];
    }
  }

  FormatChoice Choose(const GraphLayer& layer, const LayerTraits& traits,
                      const std::vector<TensorDesc>& bottom,
                      const std::vector<Shape>& top) {
    FormatChoice choice;
    if (traits.is_view || traits.is_source || !options_.blocked_formats) {
      choice = layer.layer->Layer::ChooseFormats(bottom, top);
    } else if (traits.shares_data) {
      choice.bottom = {bottom[0].format};
      choice.top.assign(top.size(), bottom[0].format);
    } else {
      choice = layer.layer->ChooseFormats(bottom, top);
    }
    CHECK_EQ(choice.bottom.size(), bottom.size()) << layer.label();
    CHECK_EQ(choice.top.size(), top.size()) << layer.label();
    for (size_t i = 0; i < bottom.size(); ++i)
      CheckBlockable(layer, choice.bottom[i], bottom[i].shape);
    for (size_t i = 0; i < top.size(); ++i)
      CheckBlockable(layer, choice.top[i], top[i]);
    return choice;
  }

  static void CheckBlockable(const GraphLayer& layer, Format format,
                             const Shape& shape) {
    CHECK(format == Format::kCaffe || shape.num_axes() == 4)
        << layer.label() << " asks for a blocked format of "
        << shape.ToString() << ", which has not 4 axes";
  }

  // The tensor itself, or a reordered copy for layer `l`.
  int InFormat(int tensor, Format format, int l) {
    if (plan_.tensors[tensor].desc.format == format) return tensor;
    PlanStep step;
    step.layer = l;
    step.reorder = true;
    step.bottom = {tensor};
    TensorDesc desc = plan_.tensors[tensor].desc;
    desc.format = format;
    const int index = static_cast<int>(plan_.steps.size());
    plan_.tensors[tensor].consumer = index;
    const int copy = NewTensor(plan_.tensors[tensor].blob, desc, index);
    step.top = {copy};
    step.bottom_gradient = {false};
    plan_.steps.push_back(std::move(step));
    return copy;
  }

  int NewTensor(int blob, TensorDesc desc, int producer) {
    PlanTensor tensor;
    tensor.blob = blob;
    tensor.desc = std::move(desc);
    tensor.content = static_cast<int>(plan_.tensors.size());
    tensor.producer = producer;
    plan_.tensors.push_back(std::move(tensor));
    return static_cast<int>(plan_.tensors.size()) - 1;
  }

  absl::Status AddStep(PlanStep step, const FormatChoice& choice,
                       const std::vector<Shape>& tops) {
    const int l = step.layer;
    const GraphLayer& layer = graph_.layers[l];
    const int index = static_cast<int>(plan_.steps.size());
    for (size_t i = 0; i < step.bottom.size(); ++i) {
      PlanTensor& bottom = plan_.tensors[step.bottom[i]];
      CHECK_EQ(bottom.consumer, -1) << "a blob without its split";
      bottom.consumer = index;
      if (bottom.loss_weight != 0)
        return absl::InvalidArgumentError(
            absl::StrCat("bottom '", graph_.blobs[bottom.blob].name,
                         "' has a loss_weight and a reader: give the loss a "
                         "blob of its own"));
    }
    step.bottom_gradient.assign(step.bottom.size(), false);
    step.run_forward = !step.traits.is_view && !step.traits.shares_data;
    for (size_t i = 0; i < tops.size(); ++i) {
      const int tensor = NewTensor(
          layer.top[i], TensorDesc{tops[i], DType::kFloat32, choice.top[i]},
          index);
      step.top.push_back(tensor);
      if (!step.run_forward) {
        const PlanTensor& bottom = plan_.tensors[step.bottom[0]];
        CHECK_EQ(bottom.desc.shape.count(), tops[i].count()) << layer.label();
        plan_.tensors[tensor].content = bottom.content;
      }
    }
    for (size_t i = 0; i < layer.param.size(); ++i) {
      const ParamDeclaration& declared = layer.layer->param_declarations()[i];
      step.param.push_back(
          {layer.param[i],
           TensorDesc{declared.shape, DType::kFloat32, Format::kCaffe}});
    }
    const std::vector<int> made = step.top;
    plan_.steps.push_back(std::move(step));
    for (size_t i = 0; i < made.size(); ++i) FinishTop(l, i, made[i]);
    return absl::OkStatus();
  }

  // Pins what outsiders see, in Caffe's layout.
  void FinishTop(int l, size_t i, int tensor) {
    const GraphLayer& layer = graph_.layers[l];
    const int blob = layer.top[i];
    const bool last = last_writer_[blob] == l;
    const bool source = plan_.tensors[tensor].producer >= 0 &&
                        layer.layer->Traits().is_source;
    const bool loss = layer.loss_weight[i] != 0;
    const bool pin =
        loss || source ||
        (last && (options_.pinned[blob] || graph_.blobs[blob].is_output));
    if (pin) tensor = InFormat(tensor, Format::kCaffe, l);
    PlanTensor& made = plan_.tensors[tensor];
    made.loss_weight = layer.loss_weight[i];
    made.pinned = pin;
    made.last_version = last;
    current_[blob] = tensor;
    if (graph_.blobs[blob].is_input && !source) return;  // keeps its first
    plan_.blob_tensor[blob] = tensor;
    graph_.blobs[blob].shape = made.desc.shape;
  }

  NetGraph& graph_;
  absl::Span<const Shape> inputs_;
  const PlanOptions& options_;
  ExecutionPlan& plan_;
  std::vector<int> current_;      // per blob: its newest tensor
  std::vector<int> last_writer_;  // per blob: layer
};

}  // namespace

absl::Status BuildSteps(NetGraph& graph, absl::Span<const Shape> input_shapes,
                        const PlanOptions& options, ExecutionPlan& plan) {
  CHECK_EQ(options.pinned.size(), graph.blobs.size());
  StepBuilder builder(graph, input_shapes, options, plan);
  for (size_t l = 0; l < graph.layers.size(); ++l)
    RETURN_IF_ERROR(graph.Annotated(builder.AddLayer(l), l));
  return absl::OkStatus();
}

}  // namespace cssp
