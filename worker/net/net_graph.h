// What a net means: layers in order, the blobs between them, who owns which
// parameter, and where gradients must flow.  No memory, no formats: those are
// the plan's.
#ifndef CSSP_WORKER_NET_NET_GRAPH_H_
#define CSSP_WORKER_NET_NET_GRAPH_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/caffe.pb.h"
#include "worker/net/layer.h"
#include "worker/net/layer_registry.h"
#include "worker/net/net.h"

namespace cssp {

struct GraphBlob {
  std::string name;
  Shape shape;            // of its last version (in-place layers make versions)
  float loss_weight = 0;  // of its last version
  bool is_input = false;  // a top of an Input layer
  bool is_output = false;
};

struct GraphLayer {
  std::unique_ptr<Layer> layer;
  // Indices into blobs.  In place: top[i] == bottom[i].
  std::vector<int> bottom, top;
  std::vector<float> loss_weight;  // per top
  // Per bottom: its gradient is wanted.  Final after FindBackwardNeeds.
  std::vector<bool> propagate;
  std::vector<int> param;          // index into params, owner's if shared
  std::vector<bool> param_needed;  // its gradient is wanted (lr_mult != 0)
  bool needs_backward = false;

  // "layer 'conv1' (Convolution)", for messages.
  std::string label() const;
};

// Thread-confined: the training thread; all but shapes constant once built.
//
// Invariants: (1) a blob has one producer and at most one consumer, in-place
// layers aside (InsertSplits saw to it).  (2) params are in slab order.
struct NetGraph {
  std::string name;
  std::string source;  // the prototxt, for messages; may be empty
  caffe::Phase phase = caffe::TRAIN;
  bool force_backward = false;
  std::vector<GraphLayer> layers;
  std::vector<GraphBlob> blobs;
  std::map<std::string, int, std::less<>> blob_index;
  std::vector<std::string> input_names, output_names;
  std::vector<NetParam> params;
  std::vector<caffe::FillerParameter> fillers;  // one per param
  int64_t slab_floats = 0;

  // "lenet.prototxt: layer 'conv1' (Convolution): <message>".
  absl::Status Annotated(const absl::Status& status, int layer) const;
};

// `param` is filtered, upgraded and has its splits.  Creates and sets up every
// layer, infers shapes, binds parameters, finds what backward needs.  Logs as
// Caffe does when `log` is set.
absl::StatusOr<NetGraph> BuildGraph(const caffe::NetParameter& param,
                                    const LayerRegistry& registry,
                                    const LayerContext& context,
                                    const std::string& source, bool log);

// Tops of one layer; checks their number.
absl::StatusOr<std::vector<Shape>> InferTops(const GraphLayer& layer,
                                             absl::Span<const Shape> bottom);

// Steps of BuildGraph, each in its own file.
//
// Owners, sharing and slab order.  Errors name both layers.
absl::Status BindParams(NetGraph& graph, bool log);
// Which layers run backward and which bottoms get gradients: BVLC's rules.
absl::Status FindBackwardNeeds(NetGraph& graph, bool log);
// TRAIN, or force_backward: InvalidArgument, with both layers' names, where an
// in-place layer overwrites what a backward needs, so that Caffe would compute
// wrong gradients.
absl::Status CheckInPlace(const NetGraph& graph);

}  // namespace cssp

#endif  // CSSP_WORKER_NET_NET_GRAPH_H_
