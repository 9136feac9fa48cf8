#include "worker/net/param_memory.h"

#include <algorithm>
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
  ASSIGN_OR_RETURN(slab->host, device.AllocateHost(floats * sizeof(float)));
  slab->floats = floats;
  slab->version.assign(params, 1);
  if (device.works_in_host_memory()) return slab;
  ASSIGN_OR_RETURN(slab->mirror, device.Allocate(floats * sizeof(float)));
  slab->uploaded.assign(params, 0);
  ASSIGN_OR_RETURN(slab->last_use, device.NewEvent());
  ASSIGN_OR_RETURN(slab->last_copy, device.NewEvent());
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
  ASSIGN_OR_RETURN(private_, NewSlab(*device_, own_floats, graph.params.size()));
  slab_ = shared != nullptr ? shared->slab_ : private_;
  total_floats_ = own_floats + (shared ? shared->total_floats_ : 0);
  const int64_t base = total_floats_ - own_floats;
  for (size_t i = 0; i < graph.params.size(); ++i) {
    const bool own = source[i] < 0;
    own_.push_back(own);
    slab_of_.push_back(own ? private_ : shared->slab_of_[source[i]]);
    index_.push_back(own ? static_cast<int>(i) : shared->index_[source[i]]);
    const int64_t at = graph.params[i].offset - base;
    const Buffer& kernels = mirrored_ ? private_->mirror : private_->host;
    host_weight_.push_back(own ? private_->host.floats() + at
                               : shared->host_weight_[source[i]]);
    weight_.push_back(own ? kernels.floats() + at : shared->weight_[source[i]]);
    floats_.push_back(RoundUp(graph.params[i].shape.count()));
  }
  return absl::OkStatus();
}

absl::Status ParamMemory::FillOwn(const NetGraph& graph, uint64_t seed) {
  for (size_t i = 0; i < graph.params.size(); ++i) {
    if (!own_[i]) continue;
    const NetParam& param = graph.params[i];
    const absl::Span<float> weight(host_weight_[i], param.shape.count());
    const ParamDeclaration& declared =
        graph.layers[param.layer].layer->param_declarations()[param.index];
    if (!declared.values.empty()) {
      std::copy_n(declared.values.begin(), weight.size(), weight.begin());
      continue;
    }
    RETURN_IF_ERROR(graph.Annotated(
        Fill(graph.fillers[i], param.shape, seed, param.key, weight),
        param.layer));
  }
  return absl::OkStatus();
}

absl::Status ParamMemory::BeginUse(Stream& stream) {
  if (!mirrored_) return absl::OkStatus();
  return stream.Wait(*slab_->last_use);
}

absl::Status ParamMemory::EndUse(Stream& stream) {
  if (!mirrored_) return absl::OkStatus();
  return stream.Record(*slab_->last_use);
}

absl::Status ParamMemory::Upload(Stream& stream, int first, int count) {
  if (!mirrored_) return absl::OkStatus();
  const auto behind = [this](int param) {
    const WeightSlab& slab = *slab_of_[param];
    return slab.uploaded[index_[param]] != slab.version[index_[param]];
  };
  for (int i = first; i < first + count; ++i) {
    if (!behind(i)) continue;
    // Neighbours go in one copy: a layer's weights and its bias.
    int last = i;
    while (last + 1 < first + count && behind(last + 1) &&
           slab_of_[last + 1] == slab_of_[i] &&
           weight_[last + 1] == weight_[last] + floats_[last])
      ++last;
    RETURN_IF_ERROR(UploadRun(stream, i, last));
    i = last;
  }
  return absl::OkStatus();
}

// Params [first, last], which lie side by side in one slab.
absl::Status ParamMemory::UploadRun(Stream& stream, int first, int last) {
  WeightSlab& slab = *slab_of_[first];
  const int64_t floats = weight_[last] + floats_[last] - weight_[first];
  RETURN_IF_ERROR(device_->CopyFromHost(
      stream, weight_[first], host_weight_[first], floats * sizeof(float)));
  for (int i = first; i <= last; ++i)
    slab.uploaded[index_[i]] = slab.version[index_[i]];
  slab.copying = true;
  return stream.Record(*slab.last_copy);
}

absl::Status ParamMemory::SettleUploads() {
  if (!mirrored_) return absl::OkStatus();
  for (WeightSlab* slab : {slab_.get(), private_.get()}) {
    if (!slab->copying) continue;
    RETURN_IF_ERROR(slab->last_copy->Synchronize());
    slab->copying = false;
  }
  return absl::OkStatus();
}

absl::Status ParamMemory::EnsureGradients() {
  if (has_gradients_) return absl::OkStatus();
  const size_t bytes = total_floats_ * sizeof(float);
  for (int generation = 0; generation < 2; ++generation) {
    if (one_generation_ && generation > 0) {
      gradients_[generation] = gradients_[0];
      mirrors_[generation] = mirrors_[0];
      continue;
    }
    ASSIGN_OR_RETURN(Buffer host, device_->AllocateHost(bytes));
    gradients_[generation] = std::make_shared<Buffer>(std::move(host));
    if (!mirrored_) continue;
    ASSIGN_OR_RETURN(Buffer mirror, device_->Allocate(bytes));
    mirrors_[generation] = std::make_shared<Buffer>(std::move(mirror));
  }
  has_gradients_ = true;
  return absl::OkStatus();
}

absl::Status ParamMemory::Share(NetGraph& graph, const NetGraph& shared_graph,
                                const ParamMemory& shared) {
  ParamMemory next(*device_);
  next.one_generation_ = one_generation_;
  const std::vector<NetParam> before = graph.params;  // Bind moves offsets
  if (absl::Status bound = next.Bind(graph, &shared_graph, &shared);
      !bound.ok()) {
    graph.params = before;
    return bound;
  }
  RETURN_IF_ERROR(SettleUploads());
  for (size_t i = 0; i < graph.params.size(); ++i) {
    if (next.own_[i])
      std::copy_n(host_weight_[i], graph.params[i].shape.count(),
                  next.host_weight_[i]);
  }
  if (has_gradients_) RETURN_IF_ERROR(next.EnsureGradients());
  *this = std::move(next);
  return absl::OkStatus();
}

std::vector<std::shared_ptr<const void>> ParamMemory::memory() const {
  std::vector<std::shared_ptr<const void>> memory = {
      slab_, private_, gradients_[0], gradients_[1]};
  // Slabs of nets that the shared net shares with in turn.
  memory.insert(memory.end(), slab_of_.begin(), slab_of_.end());
  return memory;
}

}  // namespace cssp
