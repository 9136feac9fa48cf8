// In-place layers that would destroy what a backward needs: refused, with both
// names, by what Caffe itself does with the prototxt.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/net/net_graph.h"

namespace cssp {
namespace {

bool Names(uint32_t mask, size_t i) {
  return (mask >> std::min<size_t>(i, 31) & 1) != 0;
}

bool InPlace(const GraphLayer& layer, size_t i) {
  return i < layer.bottom.size() && i < layer.top.size() &&
         layer.bottom[i] == layer.top[i];
}

// Follows Caffe's memory through the net: a top has memory of its own, unless
// it is in place, a view, or a split's.
//
// Thread-confined: one CheckInPlace call.
class InPlaceChecker {
 public:
  explicit InPlaceChecker(const NetGraph& graph)
      : graph_(graph), memory_of_(graph.blobs.size(), -1),
        version_of_(graph.blobs.size(), 0) {}

  absl::Status Visit(int l) {
    const GraphLayer& layer = graph_.layers[l];
    for (size_t i = 0; i < layer.bottom.size(); ++i) {
      absl::Status status = CheckCurrent(l, layer.bottom[i]);
      if (!status.ok()) return status;
    }
    for (size_t i = 0; i < layer.top.size(); ++i) {
      if (!InPlace(layer, i)) continue;
      absl::Status status = Overwrite(l, i);
      if (!status.ok()) return status;
    }
    for (size_t i = 0; i < layer.bottom.size(); ++i) NoteBottom(l, i);
    for (size_t i = 0; i < layer.top.size(); ++i) NoteTop(l, i);
    return absl::OkStatus();
  }

 private:
  // Whose backward needs what a piece of memory holds.
  struct Reader {
    int layer = 0;
    bool top = false;       // its top, else its bottom
    bool in_place = false;  // and that top is in place
  };
  struct Memory {
    std::vector<Reader> readers;
    int version = 0;
    int writer = -1;  // the last in-place layer
  };

  const LayerTraits Traits(int l) const {
    return graph_.layers[l].layer->Traits();
  }

  absl::Status Refuse(int writer, int reader, int blob) const {
    const std::string whose =
        reader == writer
            ? "its own backward"
            : absl::StrCat("the backward of ", graph_.layers[reader].label());
    return graph_.Annotated(
        absl::InvalidArgumentError(absl::StrCat(
            "in place on blob '", graph_.blobs[blob].name,
            "' it would destroy values that ", whose,
            " needs (Caffe would compute wrong gradients): give its top a "
            "name of its own")),
        writer);
  }

  // The blob still holds what its producer wrote.
  absl::Status CheckCurrent(int l, int blob) const {
    const Memory& memory = memory_[memory_of_[blob]];
    if (memory.version == version_of_[blob] ||
        !graph_.layers[l].needs_backward) {
      return absl::OkStatus();
    }
    return Refuse(memory.writer, l, blob);
  }

  absl::Status Overwrite(int l, size_t i) {
    const GraphLayer& layer = graph_.layers[l];
    const int blob = layer.bottom[i];
    const LayerTraits traits = Traits(l);
    Memory& memory = memory_[memory_of_[blob]];
    for (const Reader& reader : memory.readers) {
      if (!Bears(reader, traits)) return Refuse(l, reader.layer, blob);
    }
    if (layer.needs_backward && Names(traits.backward_reads_bottom, i) &&
        !traits.in_caffe.keeps_copies) {
      return Refuse(l, l, blob);
    }
    memory.writer = l;
    version_of_[blob] = ++memory.version;
    return absl::OkStatus();
  }

  bool Bears(const Reader& reader, const LayerTraits& writer) const {
    if (!reader.top) return false;
    const CaffeInPlace rules = Traits(reader.layer).in_caffe;
    if (rules.keeps_copies) return true;
    if (rules.reads_bottom_instead && !reader.in_place) return true;
    return rules.reads_signs_only && writer.in_caffe.keeps_signs;
  }

  void NoteBottom(int l, size_t i) {
    const GraphLayer& layer = graph_.layers[l];
    const LayerTraits traits = Traits(l);
    if (!layer.needs_backward || InPlace(layer, i) || traits.is_view ||
        traits.shares_data || !Names(traits.backward_reads_bottom, i)) {
      return;
    }
    memory_[memory_of_[layer.bottom[i]]].readers.push_back({l, false, false});
  }

  void NoteTop(int l, size_t i) {
    const GraphLayer& layer = graph_.layers[l];
    const LayerTraits traits = Traits(l);
    const int blob = layer.top[i];
    const bool in_place = InPlace(layer, i);
    if (traits.is_view || traits.shares_data) {
      memory_of_[blob] = memory_of_[layer.bottom[0]];
      version_of_[blob] = version_of_[layer.bottom[0]];
      return;
    }
    if (!in_place) {
      memory_of_[blob] = static_cast<int>(memory_.size());
      version_of_[blob] = 0;
      memory_.emplace_back();
    }
    if (layer.needs_backward && Names(traits.backward_reads_top, i)) {
      memory_[memory_of_[blob]].readers.push_back({l, true, in_place});
    }
  }

  const NetGraph& graph_;
  std::vector<int> memory_of_, version_of_;  // per blob
  std::vector<Memory> memory_;
};

}  // namespace

absl::Status CheckInPlace(const NetGraph& graph) {
  if (graph.phase != caffe::TRAIN && !graph.force_backward) {
    return absl::OkStatus();  // backward is not meant to run
  }
  InPlaceChecker checker(graph);
  for (size_t l = 0; l < graph.layers.size(); ++l) {
    const absl::Status status = checker.Visit(static_cast<int>(l));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace cssp
