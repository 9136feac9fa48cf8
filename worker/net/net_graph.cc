#include "worker/net/net_graph.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

absl::Status Invalid(std::string message) {
  return absl::InvalidArgumentError(std::move(message));
}

// "exactly 2", "at least 1", "1 to 3".
std::string Bounds(int low, int high) {
  if (low == high) return absl::StrCat("exactly ", low);
  if (high < 0) return absl::StrCat("at least ", low);
  if (low <= 0) return absl::StrCat("at most ", high);
  return absl::StrCat(low, " to ", high);
}

absl::Status CheckCount(const char* what, int count, int low, int high) {
  if (count >= low && (high < 0 || count <= high)) return absl::OkStatus();
  return Invalid(absl::StrCat("takes ", Bounds(low, high), " ", what,
                              high == 1 ? "" : "s", ", got ", count));
}

// Thread-confined: one BuildGraph call.
class GraphBuilder {
 public:
  GraphBuilder(NetGraph& graph, bool log) : graph_(graph), log_(log) {}

  absl::Status AddLayer(const caffe::LayerParameter& param,
                        const LayerRegistry& registry,
                        const LayerContext& context) {
    graph_.layers.emplace_back();
    ASSIGN_OR_RETURN(graph_.layers.back().layer,
                     registry.Create(param, context));
    if (log_) LOG(INFO) << "Creating Layer " << param.name();
    GraphLayer& layer = graph_.layers.back();
    RETURN_IF_ERROR(CheckBounds(layer));
    RETURN_IF_ERROR(AddBottoms(layer));
    RETURN_IF_ERROR(AddTops(layer));
    RETURN_IF_ERROR(SetLossWeights(layer));
    return SetUp(layer);
  }

  // Unconsumed tops, in alphabetical order: the log lines are numbered so.
  void FindOutputs() {
    for (const std::string& name : available_) {
      graph_.blobs[graph_.blob_index.find(name)->second].is_output = true;
      graph_.output_names.push_back(name);
      if (log_) LOG(INFO) << "This network produces output " << name;
    }
  }

 private:
  absl::Status CheckBounds(const GraphLayer& layer) {
    const caffe::LayerParameter& param = layer.layer->layer_param();
    RETURN_IF_ERROR(CheckCount("bottom", param.bottom_size(),
                               layer.layer->min_bottoms(),
                               layer.layer->max_bottoms()));
    // Missing tops may be added below.
    const int low =
        layer.layer->auto_top_blobs() ? 0 : layer.layer->min_tops();
    RETURN_IF_ERROR(CheckCount("top", param.top_size(), low,
                               layer.layer->max_tops()));
    if (param.propagate_down_size() != 0 &&
        param.propagate_down_size() != param.bottom_size())
      return Invalid(absl::StrCat(
          "propagate_down must be given for none or for each of the ",
          param.bottom_size(), " bottoms, not ", param.propagate_down_size(),
          " times"));
    return absl::OkStatus();
  }

  absl::Status AddBottoms(GraphLayer& layer) {
    for (const std::string& name : layer.layer->layer_param().bottom()) {
      const auto found = graph_.blob_index.find(name);
      if (found == graph_.blob_index.end() || available_.count(name) == 0)
        return Invalid(absl::StrCat(
            "unknown bottom blob '", name, "' (bottom ", layer.bottom.size(),
            "): no earlier layer has it as a top"));
      if (log_) LOG(INFO) << layer.layer->name() << " <- " << name;
      layer.bottom.push_back(found->second);
      available_.erase(name);
    }
    return absl::OkStatus();
  }

  absl::Status AddTops(GraphLayer& layer) {
    const caffe::LayerParameter& param = layer.layer->layer_param();
    for (int i = 0; i < param.top_size(); ++i) {
      const std::string& name = param.top(i);
      const bool in_place = i < param.bottom_size() && param.bottom(i) == name;
      if (!in_place && graph_.blob_index.count(name) != 0)
        return Invalid(absl::StrCat(
            "top blob '", name,
            "' is already produced by another layer (in place, a top must "
            "have the name of the bottom at the same index)"));
      if (log_)
        LOG(INFO) << param.name() << " -> " << name
                  << (in_place ? " (in-place)" : "");
      const int blob = in_place ? layer.bottom[i] : NewBlob(name);
      graph_.blob_index[name] = blob;
      layer.top.push_back(blob);
      available_.insert(name);
      if (param.type() == "Input") {
        graph_.blobs[blob].is_input = true;
        graph_.input_names.push_back(name);
      }
    }
    if (!layer.layer->auto_top_blobs()) return absl::OkStatus();
    while (static_cast<int>(layer.top.size()) < layer.layer->min_tops()) {
      if (log_) LOG(INFO) << param.name() << " -> (automatic)";
      layer.top.push_back(NewBlob("(automatic)"));
    }
    return absl::OkStatus();
  }

  int NewBlob(const std::string& name) {
    graph_.blobs.push_back(GraphBlob{name, Shape(), 0, false, false});
    return static_cast<int>(graph_.blobs.size()) - 1;
  }

  absl::Status SetLossWeights(GraphLayer& layer) {
    const caffe::LayerParameter& param = layer.layer->layer_param();
    const int given = param.loss_weight_size();
    layer.loss_weight.assign(layer.top.size(), 0.f);
    if (given == 0) {
      if (layer.layer->is_loss()) layer.loss_weight[0] = 1;
    } else if (given == static_cast<int>(layer.top.size())) {
      std::copy(param.loss_weight().begin(), param.loss_weight().end(),
                layer.loss_weight.begin());
    } else {
      return Invalid(absl::StrCat(
          "loss_weight must be given for none or for each of the ",
          layer.top.size(), " tops, not ", given, " times"));
    }
    return absl::OkStatus();
  }

  absl::Status SetUp(GraphLayer& layer) {
    std::vector<Shape> bottom;
    for (int blob : layer.bottom) bottom.push_back(graph_.blobs[blob].shape);
    RETURN_IF_ERROR(layer.layer->SetUp(bottom));
    ASSIGN_OR_RETURN(std::vector<Shape> top, InferTops(layer, bottom));
    if (log_) LOG(INFO) << "Setting up " << layer.layer->name();
    for (size_t i = 0; i < top.size(); ++i) {
      GraphBlob& blob = graph_.blobs[layer.top[i]];
      blob.shape = top[i];
      blob.loss_weight = layer.loss_weight[i];
      data_floats_ += top[i].count();
      if (!log_) continue;
      LOG(INFO) << "Top shape: " << top[i].ToString();
      if (blob.loss_weight != 0)
        LOG(INFO) << "    with loss weight " << blob.loss_weight;
    }
    if (log_)
      LOG(INFO) << "Memory required for data: "
                << data_floats_ * static_cast<int64_t>(sizeof(float));
    return absl::OkStatus();
  }

  NetGraph& graph_;
  const bool log_;
  std::set<std::string> available_;  // tops that nobody has consumed
  int64_t data_floats_ = 0;
};

}  // namespace

std::string GraphLayer::label() const {
  return absl::StrCat("layer '", layer->name(), "' (", layer->type(), ")");
}

absl::Status NetGraph::Annotated(const absl::Status& status, int layer) const {
  if (status.ok()) return status;
  const absl::Status named = Annotate(status, layers[layer].label());
  return source.empty() ? named : Annotate(named, source);
}

absl::StatusOr<std::vector<Shape>> InferTops(const GraphLayer& layer,
                                             absl::Span<const Shape> bottom) {
  ASSIGN_OR_RETURN(std::vector<Shape> top, layer.layer->InferShapes(bottom));
  CHECK_EQ(top.size(), layer.top.size())
      << layer.label() << " infers another number of tops than it has";
  for (const Shape& shape : top) {  // the constructors trust their arithmetic
    RETURN_IF_ERROR(Shape::Create(shape.dims()).status());
  }
  return top;
}

absl::StatusOr<NetGraph> BuildGraph(const caffe::NetParameter& param,
                                    const LayerRegistry& registry,
                                    const LayerContext& context,
                                    const std::string& source, bool log) {
  NetGraph graph;
  graph.name = param.name();
  graph.source = source;
  graph.phase = context.phase;
  graph.force_backward = param.force_backward();
  GraphBuilder builder(graph, log);
  for (int i = 0; i < param.layer_size(); ++i) {
    caffe::LayerParameter layer = param.layer(i);
    layer.set_phase(context.phase);
    const absl::Status added = builder.AddLayer(layer, registry, context);
    if (added.ok()) continue;
    const absl::Status named =
        Annotate(added, absl::StrCat("layer '", layer.name(), "' (",
                                     layer.type(), ")"));
    return source.empty() ? named : Annotate(named, source);
  }
  if (graph.layers.empty()) {
    const absl::Status empty =
        Invalid("the net has no layers in this phase (check include rules)");
    return source.empty() ? empty : Annotate(empty, source);
  }
  RETURN_IF_ERROR(BindParams(graph, log));
  RETURN_IF_ERROR(FindBackwardNeeds(graph, log));
  RETURN_IF_ERROR(CheckInPlace(graph));
  builder.FindOutputs();
  if (log) LOG(INFO) << "Network initialization done.";
  return graph;
}

}  // namespace cssp
