#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "google/protobuf/text_format.h"
#include "tests/conformance/layers/run_case.h"
#include "worker/net/net.h"

namespace cssp::testing {
namespace {

bool HasGradient(const Arrays& gradients, size_t i) {
  return i < gradients.size() && gradients[i].shape != Shape({0});
}

void AddInput(const std::string& name, const Shape& shape,
              caffe::NetParameter& net) {
  caffe::LayerParameter& layer = *net.add_layer();
  layer.set_name(name);
  layer.set_type("Input");
  layer.add_top(name);
  caffe::BlobShape& dims = *layer.mutable_input_param()->add_shape();
  for (int64_t dim : shape.dims()) dims.add_dim(dim);
}

// loss += <gradient, top>
void AddObjective(const std::string& top, const Shape& shape, int index,
                  caffe::NetParameter& net) {
  const std::string weight = absl::StrCat("weight", index);
  AddInput(weight, shape, net);
  caffe::LayerParameter& product = *net.add_layer();
  product.set_name(absl::StrCat("product", index));
  product.set_type("Eltwise");
  product.add_bottom(top);
  product.add_bottom(weight);
  product.add_top(product.name());
  product.mutable_eltwise_param()->set_operation(caffe::EltwiseParameter::PROD);
  caffe::LayerParameter& sum = *net.add_layer();
  sum.set_name(absl::StrCat("sum", index));
  sum.set_type("Reduction");
  sum.add_bottom(product.name());
  sum.add_top(sum.name());
  sum.add_loss_weight(1);
}

// A scalar top is a loss itself: its weight is the gradient.
caffe::NetParameter Wrap(const Case& c, caffe::LayerParameter layer) {
  const Case::Step& step = c.steps[0];
  caffe::NetParameter net;
  net.set_force_backward(!step.top_gradient.empty());
  for (size_t i = 0; i < step.bottom.size(); ++i) {
    const std::string name = absl::StrCat("bottom", i);
    AddInput(name, step.bottom[i].shape, net);
    layer.add_bottom(name);
  }
  if (layer.name().empty()) layer.set_name("tested");
  const size_t tops = std::max<size_t>(layer.top_size(), 1);
  layer.clear_top();
  for (size_t i = 0; i < tops; ++i) layer.add_top(absl::StrCat("top", i));
  std::vector<size_t> objectives;
  for (size_t i = 0; i < tops; ++i) {
    const bool has = HasGradient(step.top_gradient, i);
    const bool scalar = has && step.top_gradient[i].shape.num_axes() == 0;
    layer.add_loss_weight(scalar ? step.top_gradient[i].values[0] : 0);
    if (has && !scalar) objectives.push_back(i);
  }
  *net.add_layer() = layer;
  for (size_t i : objectives) {
    AddObjective(layer.top(i), step.top_gradient[i].shape, i, net);
  }
  return net;
}

class Run {
 public:
  Run(const Case& c, Net& net) : case_(c), net_(net) {
    for (int i = 0; i < net.num_layers(); ++i) {
      if (net.layer(i).name() == "tested") layer_ = i;
    }
  }

  absl::Status SetParams() {
    const int count = net_.num_layer_params(layer_);
    if (count != static_cast<int>(case_.param.size())) {
      return absl::InternalError(
          absl::StrCat(count, " parameters, not ", case_.param.size()));
    }
    for (int i = 0; i < count; ++i) {
      const NetParam& param = Param(i);
      if (param.shape != case_.param[i].shape) {
        return absl::InternalError(
            absl::StrCat("parameter ", i, " is ", param.shape.ToString(),
                         ", not ", case_.param[i].shape.ToString()));
      }
      std::copy(case_.param[i].values.begin(), case_.param[i].values.end(),
                net_.weights().begin() + param.offset);
    }
    net_.WeightsChanged();
    return absl::OkStatus();
  }

  absl::StatusOr<Answer::Step> Step(const Case::Step& step, bool reshape) {
    if (reshape) {
      for (auto& [name, array] : Inputs(step)) {
        RETURN_IF_ERROR(net_.blob(name)->Reshape(array->shape));
      }
      RETURN_IF_ERROR(net_.Reshape());
    }
    ASSIGN_OR_RETURN(const Answer::Step first, Pass(step));
    ASSIGN_OR_RETURN(const Answer::Step second, Pass(step));
    error_ += Compare("top", first.top, second.top);
    error_ += Compare("bottom gradient", first.bottom_gradient,
                      second.bottom_gradient);
    error_ += Compare("parameter gradient", first.param_gradient,
                      second.param_gradient);
    return first;
  }

  const std::string& error() const { return error_; }

 private:
  using NamedArrays = std::vector<std::pair<std::string, const Array*>>;

  const NetParam& Param(int i) const {
    return net_.params()[net_.param_of(layer_, i)];
  }

  static std::string Compare(const char* what, const Arrays& a,
                             const Arrays& b) {
    std::string difference;
    for (size_t i = 0; i < a.size(); ++i) {
      difference += Difference(absl::StrCat("second pass's ", what).c_str(),
                               {a[i].values}, {b[i].values});
    }
    return difference;
  }

  NamedArrays Inputs(const Case::Step& step) const {
    NamedArrays inputs;
    for (size_t i = 0; i < step.bottom.size(); ++i) {
      inputs.emplace_back(absl::StrCat("bottom", i), &step.bottom[i]);
    }
    for (size_t i = 0; i < step.top_gradient.size(); ++i) {
      const Shape& shape = step.top_gradient[i].shape;
      if (HasGradient(step.top_gradient, i) && shape.num_axes() > 0) {
        inputs.emplace_back(absl::StrCat("weight", i), &step.top_gradient[i]);
      }
    }
    return inputs;
  }

  absl::StatusOr<Answer::Step> Pass(const Case::Step& step) {
    const std::vector<std::string>& tops = TopNames();
    for (const std::string& top : tops) net_.blob(top);  // pins
    for (auto& [name, array] : Inputs(step)) {
      Blob* blob = net_.blob(name);
      if (blob->shape() != array->shape) {
        return absl::InternalError(absl::StrCat(name, " has another shape"));
      }
      std::copy(array->values.begin(), array->values.end(),
                blob->mutable_data().begin());
    }
    StepState state;
    state.phase = case_.phase;
    state.seed = 1701;
    const bool backward = !step.top_gradient.empty();
    RETURN_IF_ERROR(backward ? net_.ForwardBackward(state, true, nullptr)
                             : net_.Forward(state, nullptr));
    Answer::Step answer;
    for (const std::string& top : tops) {
      Blob* blob = net_.blob(top);
      answer.top.push_back(
          {blob->shape(), Values(blob->data().begin(), blob->data().end())});
    }
    if (backward) Gradients(step, answer);
    return answer;
  }

  void Gradients(const Case::Step& step, Answer::Step& answer) {
    for (size_t i = 0; i < step.bottom.size(); ++i) {
      const auto diff = net_.blob(absl::StrCat("bottom", i))->diff();
      answer.bottom_gradient.push_back(
          diff.empty()
              ? NoGradient()
              : Array{step.bottom[i].shape, Values(diff.begin(), diff.end())});
    }
    const auto slab = net_.gradients(net_.last_generation());
    for (size_t i = 0; i < case_.param.size(); ++i) {
      const NetParam& param = Param(i);
      const auto values = slab.subspan(param.offset, param.shape.count());
      const bool given =
          param.kind == ParamKind::kGradient || case_.phase == caffe::TRAIN;
      answer.param_gradient.push_back(
          given ? Array{param.shape, Values(values.begin(), values.end())}
                : NoGradient());
    }
  }

  std::vector<std::string> TopNames() const {
    const auto& tops = net_.layer(layer_).layer_param().top();
    return {tops.begin(), tops.end()};
  }

  const Case& case_;
  Net& net_;
  int layer_ = 0;
  std::string error_;
};

NetOptions Options(const Case& c, bool keep_blobs) {
  NetOptions options;
  options.state.set_phase(c.phase);
  options.keep_blobs = keep_blobs;
  options.source_name = c.name;
  options.log_creation = false;
  return options;
}

}  // namespace

absl::StatusOr<Answer> RunInNet(const Case& c, const LayerRegistry& registry,
                                Device& device) {
  caffe::LayerParameter layer;
  if (!google::protobuf::TextFormat::ParseFromString(c.text, &layer)) {
    return absl::InvalidArgumentError("no LayerParameter");
  }
  layer.set_name("tested");
  // A TEST net keeps what its backward reads only if it keeps everything.
  const bool keep_blobs = c.phase == caffe::TEST;
  ASSIGN_OR_RETURN(auto net, Net::Create(Wrap(c, layer), registry, device,
                                         Options(c, keep_blobs)));
  Run run(c, *net);
  RETURN_IF_ERROR(run.SetParams());
  Answer answer;
  for (size_t i = 0; i < c.steps.size(); ++i) {
    ASSIGN_OR_RETURN(Answer::Step step, run.Step(c.steps[i], i > 0));
    answer.steps.push_back(std::move(step));
  }
  answer.error = run.error();
  return answer;
}

absl::StatusOr<Answer> RunWholeNet(const Case& c, const LayerRegistry& registry,
                                   Device& device) {
  caffe::NetParameter param;
  if (!google::protobuf::TextFormat::ParseFromString(c.text, &param)) {
    return absl::InvalidArgumentError("no NetParameter");
  }
  ASSIGN_OR_RETURN(auto net,
                   Net::Create(param, registry, device, Options(c, true)));
  Answer answer;
  StepState state;
  state.phase = c.phase;
  state.seed = 1701;
  for (const Case::Step& step : c.steps) {
    for (size_t i = 0; i < step.bottom.size(); ++i) {
      const Values& values = step.bottom[i].values;
      std::copy(values.begin(), values.end(),
                net->blob(net->input_names()[i])->mutable_data().begin());
    }
    RETURN_IF_ERROR(net->Forward(state, nullptr));
    Answer::Step outputs;
    for (const std::string& name : net->output_names()) {
      Blob* blob = net->blob(name);
      outputs.top.push_back(
          {blob->shape(), Values(blob->data().begin(), blob->data().end())});
    }
    ++state.clock;
    if (!outputs.top.empty() && outputs.top[0].shape.num_axes() > 0) {
      state.first_record += outputs.top[0].shape.dim(0);
    }
    answer.steps.push_back(std::move(outputs));
  }
  return answer;
}

}  // namespace cssp::testing
