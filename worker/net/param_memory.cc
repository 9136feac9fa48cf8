#include "worker/net/param_memory.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/net/filler.h"

namespace cssp {
namespace {

constexpr int64_t kAlignFloats = 16;

int64_t RoundUp(int64_t floats) {
  return (floats + kAlignFloats - 1) / kAlignFloats * kAlignFloats;
}

absl::StatusOr<std::shared_ptr<WeightSlab>> NewSlab(Device& device,
                                                    int64_t floats,
                                                    size_t params) {
  auto slab = std::make_shared<WeightSlab>();
  ASSIGN_OR_RETURN(slab->buffer, device.Allocate(floats * sizeof(float)));
  slab->floats = floats;
  slab->version.assign(params, 1);
  return slab;
}

// Index of the parameter that a layer of `graph` named like `layer` has at
// `index`; -1: there is none.
int FindParam(const NetGraph& graph, const std::string& layer, int index) {
  for (const GraphLayer& candidate : graph.layers) {
    if (candidate.layer->name() == layer &&
        index < static_cast<int>(candidate.param.size()))
      return candidate.param[index];
  }
  return -1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ParamMemory>> ParamMemory::Create(
    NetGraph& graph, Device& device, uint64_t seed,
    const NetGraph* shared_graph, const ParamMemory* shared) {
  auto memory = std::unique_ptr<ParamMemory>(new ParamMemory(device));
  RETURN_IF_ERROR(memory->Bind(graph, shared_graph, shared));
  RETURN_IF_ERROR(memory->FillOwn(graph, seed));
  return memory;
}

absl::Status ParamMemory::Bind(NetGraph& graph, const NetGraph* shared_graph,
                               const ParamMemory* shared) {
  std::vector<int> source(graph.params.size(), -1);
  int64_t own_floats = 0;
  for (size_t i = 0; i < graph.params.size(); ++i) {
    NetParam& param = graph.params[i];
    const Layer& layer = *graph.layers[param.layer].layer;
    if (shared != nullptr)
      source[i] = FindParam(*shared_graph, layer.name(), param.index);
    if (source[i] < 0) {
      param.offset = own_floats + (shared ? shared->total_floats_ : 0);
      own_floats += RoundUp(param.shape.count());
      continue;
    }
    const NetParam& theirs = shared_graph->params[source[i]];
    if (theirs.shape != param.shape)
      return graph.Annotated(
          absl::InvalidArgumentError(absl::StrCat(
              "parameter ", param.index, " has shape ", param.shape.ToString(),
              ", but the train net's layer of that name has ",
              theirs.shape.ToString())),
          param.layer);
    param.offset = theirs.offset;
  }
  ASSIGN_OR_RETURN(private_,
                   NewSlab(device_, own_floats, graph.params.size()));
  slab_ = shared != nullptr ? shared->slab_ : private_;
  total_floats_ = own_floats + (shared ? shared->total_floats_ : 0);
  const int64_t base = total_floats_ - own_floats;
  for (size_t i = 0; i < graph.params.size(); ++i) {
    const bool own = source[i] < 0;
    own_.push_back(own);
    slab_of_.push_back(own ? private_ : shared->slab_of_[source[i]]);
    index_.push_back(own ? static_cast<int>(i) : shared->index_[source[i]]);
    weight_.push_back(own ? private_->buffer.floats() +
                                (graph.params[i].offset - base)
                          : shared->weight_[source[i]]);
  }
  return absl::OkStatus();
}

absl::Status ParamMemory::FillOwn(const NetGraph& graph, uint64_t seed) {
  ASSIGN_OR_RETURN(std::unique_ptr<Stream> stream, device_.NewStream());
  std::vector<float> values;
  for (size_t i = 0; i < graph.params.size(); ++i) {
    if (!own_[i]) continue;
    const NetParam& param = graph.params[i];
    values.assign(param.shape.count(), 0.f);
    RETURN_IF_ERROR(graph.Annotated(
        Fill(graph.fillers[i], param.shape, seed, param.key,
             absl::MakeSpan(values)),
        param.layer));
    RETURN_IF_ERROR(device_.CopyFromHost(*stream, weight_[i], values.data(),
                                         values.size() * sizeof(float)));
    RETURN_IF_ERROR(stream->Synchronize());  // `values` is used again
  }
  return absl::OkStatus();
}

absl::Status ParamMemory::EnsureGradients() {
  if (has_gradients_) return absl::OkStatus();
  for (Buffer& generation : gradients_) {
    ASSIGN_OR_RETURN(generation,
                     device_.Allocate(total_floats_ * sizeof(float)));
  }
  has_gradients_ = true;
  return absl::OkStatus();
}

}  // namespace cssp
