// The memory of a net's parameters: one slab of weights, two generations of
// gradients.
#ifndef CSSP_WORKER_NET_PARAM_MEMORY_H_
#define CSSP_WORKER_NET_PARAM_MEMORY_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/device/device.h"
#include "worker/net/net_graph.h"

namespace cssp {

// Weights and, per parameter, a number that grows when its values change: how a
// test net that reads the train net's slab knows that packed copies are stale.
//
// The host's array is the truth.  A device with memory of its own has a mirror,
// which is brought up to date just before a layer reads it.
struct WeightSlab {
  Buffer host;
  Buffer mirror;  // none where kernels work in host memory
  int64_t floats = 0;
  std::vector<uint64_t> version;  // per param of the owning net, from 1
  // With a mirror:
  std::vector<uint64_t> uploaded;    // per param: the version in the mirror
  std::unique_ptr<Event> last_use;   // of the mirror, by whichever net
  std::unique_ptr<Event> last_copy;  // out of the host's array
  bool copying = false;              // since it was last waited for
};

// Thread-confined: the training thread.
//
// Invariants: (1) param i lies at graph.params[i].offset, in weights and in
// either generation of gradients.  (2) A net that reads another net's slab
// keeps offsets of that slab; parameters of its own lie behind, offsets
// counting on.
class ParamMemory {
 public:
  // Allocates weights (zero) and fills them from the params' fillers.  With
  // `shared`, parameters are bound by layer name and index to that net's
  // (`shared_graph`) and graph.params[].offset is rewritten; a shape mismatch
  // is InvalidArgument.
  static absl::StatusOr<std::unique_ptr<ParamMemory>> Create(
      NetGraph& graph, Device& device, uint64_t seed,
      const NetGraph* shared_graph, const ParamMemory* shared);

  // What kernels read, and what the rest of the program reads and writes: one
  // array where kernels work in host memory.
  float* weight(int param) const { return weight_[param]; }
  float* host_weight(int param) const { return host_weight_[param]; }
  uint64_t version(int param) const {
    return slab_of_[param]->version[index_[param]];
  }
  void Changed(int first, int count) {
    for (int i = first; i < first + count; ++i)
      ++slab_of_[i]->version[index_[i]];
  }

  // The host's array of the shared slab where there is one.
  absl::Span<float> weights() {
    return absl::MakeSpan(slab_->host.floats(), slab_->floats);
  }

  // ---- Mirrors; all four do nothing where kernels work in host memory ----
  // Around what a net launches on `stream`: nets that share a slab and have
  // streams of their own do not overtake each other.
  absl::Status BeginUse(Stream& stream);
  absl::Status EndUse(Stream& stream);
  // Copies, on `stream`, those of params [first, first + count) whose mirror is
  // behind.
  absl::Status Upload(Stream& stream, int first, int count);
  // Blocks until no copy reads the host's arrays: then they may be written.
  absl::Status SettleUploads();

  // Gradients are allocated when they are first asked for.
  absl::Status EnsureGradients();
  bool has_gradients() const { return has_gradients_; }
  // Both generations are one piece of memory.  Before EnsureGradients.
  void UseOneGeneration() { one_generation_ = true; }
  // What the rest of the program reads: coherent once it has been copied.
  absl::Span<float> gradients(int generation) {
    return absl::MakeSpan(gradients_[generation]->floats(), total_floats_);
  }
  // What kernels write.
  float* gradient_mirror(int generation) const {
    return (mirrored_ ? mirrors_ : gradients_)[generation]->floats();
  }

  // From now on parameters that `shared_graph` has by layer name and index are
  // read from its memory; the others keep their values.  InvalidArgument, and
  // nothing has changed: a shape mismatch.  Pointers got before are void.
  absl::Status Share(NetGraph& graph, const NetGraph& shared_graph,
                     const ParamMemory& shared);
  // Keeps what weights and gradients show readable while it is held.
  std::vector<std::shared_ptr<const void>> memory() const;

 private:
  explicit ParamMemory(Device& device)
      : device_(&device), mirrored_(!device.works_in_host_memory()) {}
  absl::Status Bind(NetGraph& graph, const NetGraph* shared_graph,
                    const ParamMemory* shared);
  absl::Status FillOwn(const NetGraph& graph, uint64_t seed);

  absl::Status UploadRun(Stream& stream, int first, int last);

  Device* device_;
  bool mirrored_;
  std::shared_ptr<WeightSlab> slab_;     // all, or the shared net's
  std::shared_ptr<WeightSlab> private_;  // with sharing: the rest
  std::vector<std::shared_ptr<WeightSlab>> slab_of_;  // per param
  std::vector<int> index_;                            // in its slab's versions
  std::vector<float*> weight_, host_weight_;          // per param
  std::vector<int64_t> floats_;                       // per param, padded
  std::vector<bool> own_;                             // to be filled
  std::shared_ptr<Buffer> gradients_[2], mirrors_[2];
  int64_t total_floats_ = 0;
  bool has_gradients_ = false;
  bool one_generation_ = false;
};

}  // namespace cssp

#endif  // CSSP_WORKER_NET_PARAM_MEMORY_H_
