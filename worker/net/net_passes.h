// What is done to a NetParameter before a Net is made of it: pure functions, in
// this order:
//   ReadNet -> UpgradeNet -> FilterNet -> InsertSplits
#ifndef CSSP_WORKER_NET_NET_PASSES_H_
#define CSSP_WORKER_NET_NET_PASSES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/caffe.pb.h"

namespace cssp {

// A net's prototxt, upgraded.  Errors name file, line and column.
absl::StatusOr<caffe::NetParameter> ReadNet(const std::string& path);

// Brings a net of any age (prototxt or .caffemodel) to today's form:
//   * V0 (layers { layer { ... } }): padding layers are folded into the
//     convolution or pooling behind them,
//   * V1 (layers { type: ENUM }): string types; blobs_lr, weight_decay, param
//     and blob_share_mode become ParamSpecs; transformation fields of data
//     layers move to transform_param,
//   * input, input_shape, input_dim: one Input layer "input" in front,
//   * BatchNorm with three ParamSpecs: their multipliers become 0.
// InvalidArgument names the layer: old and new forms mixed, a V0 field that
// its layer does not have, input shapes that do not match the inputs.
absl::StatusOr<caffe::NetParameter> UpgradeNet(caffe::NetParameter net);

// The layers whose include / exclude rules admit `state`; net.state is set to
// it.  InvalidArgument: a layer with rules of both kinds.
absl::StatusOr<caffe::NetParameter> FilterNet(const caffe::NetParameter& net,
                                              const caffe::NetState& state);
// By the net's own state.
absl::StatusOr<caffe::NetParameter> FilterNet(const caffe::NetParameter& net);

// Does `state` meet every condition of `rule`?
bool StateMeetsRule(const caffe::NetState& state,
                    const caffe::NetStateRule& rule);

// A blob with several consumers gets a Split layer <blob>_<layer>_<top>_split
// behind its producer, with tops ..._split_<k> in the order of the consumers.
// A loss_weight set on the top counts as the first consumer and moves to split
// top 0.  InvalidArgument: a bottom that no earlier layer produces. Idempotent.
absl::StatusOr<caffe::NetParameter> InsertSplits(
    const caffe::NetParameter& net);

// Why rules of layers were not met, a line a rule, the phase's as Caffe logs it.
std::vector<std::string> ExplainRules(const caffe::NetParameter& net,
                                      const caffe::NetState& state);

// UpgradeNet, FilterNet and InsertSplits.  `notes`, where not null, receives
// ExplainRules.
absl::StatusOr<caffe::NetParameter> PrepareNet(
    const caffe::NetParameter& raw, const caffe::NetState& state,
    std::vector<std::string>* notes = nullptr);

// A net that a solver asks for.
struct SolverNet {
  caffe::NetParameter net;  // upgraded; net.state() is the merged state
  std::string source;       // "train_net_param", "test_net_param #0", ...
  int test_iter = 0;        // test nets: batches a test
};

// Both: REQUIRES InlineNets (common/model_file/prototxt.h) was applied.
//
// Exactly one of net_param and train_net_param.  State: TRAIN, then the net's
// own, then train_state.
absl::StatusOr<SolverNet> ResolveTrainNet(const caffe::SolverParameter& solver);

// One per test_iter: test_net_param in order, then net_param for the rest.
// State: TEST, then the net's own, then test_state[i].  InvalidArgument where
// the numbers of test_iter, test nets and test_state do not fit each other, or
// test_interval is not positive.
absl::StatusOr<std::vector<SolverNet>> ResolveTestNets(
    const caffe::SolverParameter& solver);

}  // namespace cssp

#endif  // CSSP_WORKER_NET_NET_PASSES_H_
