// Which layers run backward: BVLC's rules, in BVLC's order.
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/net/net_graph.h"

namespace cssp {
namespace {

// Forward sweep: a layer may need backward when a parameter of its own or of
// a layer below it is learnt.
void SweepUp(NetGraph& graph) {
  std::vector<bool> blob_needs(graph.blobs.size(), false);
  for (GraphLayer& layer : graph.layers) {
    const caffe::LayerParameter& param = layer.layer->layer_param();
    layer.needs_backward = false;
    layer.propagate.clear();
    for (size_t i = 0; i < layer.bottom.size(); ++i) {
      bool needs = blob_needs[layer.bottom[i]];
      layer.needs_backward = layer.needs_backward || needs;
      if (param.propagate_down_size() > 0) needs = param.propagate_down(i);
      layer.propagate.push_back(needs);
    }
    for (bool needed : layer.param_needed)
      layer.needs_backward = layer.needs_backward || needed;
    if (layer.needs_backward) {
      for (int top : layer.top) blob_needs[top] = true;
    }
  }

}

// Backward sweep: drops what no loss depends on, and what lies below a place
// where propagation was switched off.
void SweepDown(NetGraph& graph, bool log) {
  std::set<int> under_loss, skipped;
  for (size_t l = graph.layers.size(); l-- > 0;) {
    GraphLayer& layer = graph.layers[l];
    bool contributes = false, skip = true;
    for (size_t i = 0; i < layer.top.size(); ++i) {
      if (layer.loss_weight[i] != 0 || under_loss.count(layer.top[i]) != 0)
        contributes = true;
      if (skipped.count(layer.top[i]) == 0) skip = false;
    }
    if (layer.needs_backward && skip) {
      layer.needs_backward = false;
      layer.propagate.assign(layer.bottom.size(), false);
    }
    if (!contributes) layer.needs_backward = false;
    if (log)
      LOG(INFO) << layer.layer->name()
                << (layer.needs_backward
                        ? " needs backward computation."
                        : " does not need backward computation.");
    for (size_t i = 0; i < layer.bottom.size(); ++i) {
      if (contributes) {
        under_loss.insert(layer.bottom[i]);
      } else {
        layer.propagate[i] = false;
      }
      if (!layer.propagate[i]) skipped.insert(layer.bottom[i]);
    }
  }
}

void ForceAll(NetGraph& graph) {
  for (GraphLayer& layer : graph.layers) {
    if (!layer.layer->Traits().has_backward) continue;
    layer.needs_backward = true;
    for (size_t i = 0; i < layer.bottom.size(); ++i) {
      if (layer.layer->allow_force_backward(i)) layer.propagate[i] = true;
    }
    for (size_t i = 0; i < layer.param.size(); ++i) {
      if (graph.params[layer.param[i]].kind == ParamKind::kGradient)
        layer.param_needed[i] = true;
    }
  }
}

absl::Status CheckPossible(GraphLayer& layer) {
  const LayerTraits traits = layer.layer->Traits();
  for (size_t i = 0; i < layer.bottom.size(); ++i) {
    if (!layer.layer->propagates_to(i)) layer.propagate[i] = false;
    if (layer.needs_backward && layer.propagate[i] && !traits.has_backward)
      return absl::InvalidArgumentError(absl::StrCat(
          "a gradient must flow to bottom '", layer.layer->layer_param().bottom(i),
          "', but this type has none: set propagate_down: false, or loss_weight "
          "0 above it"));
  }
  if (!traits.has_backward || traits.is_source) layer.needs_backward = false;
  return absl::OkStatus();
}

}  // namespace

absl::Status FindBackwardNeeds(NetGraph& graph, bool log) {
  SweepUp(graph);
  SweepDown(graph, log);
  if (graph.force_backward) ForceAll(graph);
  for (size_t i = 0; i < graph.layers.size(); ++i)
    RETURN_IF_ERROR(graph.Annotated(CheckPossible(graph.layers[i]), i));
  return absl::OkStatus();
}

}  // namespace cssp
