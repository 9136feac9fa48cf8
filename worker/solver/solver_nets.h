// The nets of a solver: the one that it trains and those that it tests.
#ifndef CSSP_WORKER_SOLVER_SOLVER_NETS_H_
#define CSSP_WORKER_SOLVER_SOLVER_NETS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/device/device.h"
#include "proto/caffe.pb.h"
#include "worker/net/layer_registry.h"
#include "worker/net/net.h"

namespace cssp {

// Where a solver's nets come from, in the words of Caffe's log.
struct NetSources {
  std::string train;               // "from net file: lenet.prototxt"
  std::vector<std::string> tests;  // those that test_net(_param) names
};
// REQUIRES: nets not inlined yet, for the files' names.
NetSources SourcesOf(const caffe::SolverParameter& solver);

// What all nets of a solver have in common.
struct NetSetOptions {
  const NetSources* sources = nullptr;  // borrowed; null: not said
  std::string source_name;   // the solver's path, for messages
  uint64_t seed = 1;
  bool keep_blobs = false;
  bool sync_layers = false;  // see NetOptions
  bool one_gradient_generation = false;  // nobody sends gradients
  bool with_tests = true;
  bool log_creation = true;
  bool debug_info = false;
  // > 1: each worker takes its share of the batch sizes in the prototxt.
  int divide_batches = 1;
};

// The train net and the test nets, which read the train net's weights.
struct NetSet {
  std::unique_ptr<Net> train;          // destroyed last
  std::vector<std::unique_ptr<Net>> tests;
  std::vector<int> test_iter;
};

// REQUIRES: nets inlined (common/model_file/prototxt.h).
absl::StatusOr<NetSet> CreateNets(const caffe::SolverParameter& solver,
                                  const LayerRegistry& registry,
                                  Device& device,
                                  const NetSetOptions& options);

// Records that one pass of `net` consumes: extent 0 of its first data top, 1
// for a net that has none.
int64_t BatchSize(Net& net);

// Seconds for which the net's passes have stood still for records, in all.
double DataWaitSeconds(const Net& net);

// Whether every pass may take another number of records (batches by measured
// speed): the net is planned for one and back.  InvalidArgument names the layer
// that cannot follow, or whose loss would not be a mean over records.
absl::Status CheckBatchMayChange(Net& net);

// Divides every data layer's batch_size (and the first extent of DummyData and
// Input shapes) by `workers`; InvalidArgument names the layer whose batch
// leaves a remainder.  REQUIRES: an upgraded net.
absl::Status DivideBatches(int workers, caffe::NetParameter* net);

}  // namespace cssp

#endif  // CSSP_WORKER_SOLVER_SOLVER_NETS_H_
