#include "worker/solver/solver_nets.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/net/net_passes.h"

namespace cssp {
namespace {

absl::Status DivideOne(const std::string& layer, int workers, uint32_t* batch) {
  if (*batch % static_cast<uint32_t>(workers) != 0)
    return absl::InvalidArgumentError(absl::StrCat(
        "layer '", layer, "': the global batch of ", *batch,
        " cannot be divided by ", workers, " workers"));
  *batch /= static_cast<uint32_t>(workers);
  return absl::OkStatus();
}

template <class DataParam>
absl::Status DivideBatch(const std::string& layer, int workers,
                         DataParam* param) {
  uint32_t batch = param->batch_size();
  RETURN_IF_ERROR(DivideOne(layer, workers, &batch));
  param->set_batch_size(batch);
  return absl::OkStatus();
}

template <class ShapedParam>
absl::Status DivideShapes(const std::string& layer, int workers,
                          ShapedParam* param) {
  for (caffe::BlobShape& shape : *param->mutable_shape()) {
    if (shape.dim_size() == 0) continue;
    auto batch = static_cast<uint32_t>(shape.dim(0));
    RETURN_IF_ERROR(DivideOne(layer, workers, &batch));
    shape.set_dim(0, batch);
  }
  return absl::OkStatus();
}

absl::Status DivideLayer(int workers, caffe::LayerParameter* layer) {
  const std::string& name = layer->name();
  if (layer->has_data_param())
    RETURN_IF_ERROR(DivideBatch(name, workers, layer->mutable_data_param()));
  if (layer->has_memory_data_param())
    RETURN_IF_ERROR(
        DivideBatch(name, workers, layer->mutable_memory_data_param()));
  if (layer->has_image_data_param())
    RETURN_IF_ERROR(
        DivideBatch(name, workers, layer->mutable_image_data_param()));
  if (layer->has_window_data_param())
    RETURN_IF_ERROR(
        DivideBatch(name, workers, layer->mutable_window_data_param()));
  if (layer->has_hdf5_data_param())
    RETURN_IF_ERROR(
        DivideBatch(name, workers, layer->mutable_hdf5_data_param()));
  if (layer->has_input_param())
    RETURN_IF_ERROR(DivideShapes(name, workers, layer->mutable_input_param()));
  if (layer->has_dummy_data_param()) {
    RETURN_IF_ERROR(
        DivideShapes(name, workers, layer->mutable_dummy_data_param()));
    for (uint32_t& num : *layer->mutable_dummy_data_param()->mutable_num())
      RETURN_IF_ERROR(DivideOne(name, workers, &num));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Net>> CreateOne(
    const SolverNet& choice, const LayerRegistry& registry, Device& device,
    const NetSetOptions& options, Net* share) {
  NetOptions net;
  net.state = choice.net.state();
  net.keep_blobs = options.keep_blobs;
  net.sync_layers = options.sync_layers;
  net.one_gradient_generation = options.one_gradient_generation;
  net.source_name = options.source_name;
  net.seed = options.seed;
  net.log_creation = options.log_creation;
  net.debug_info = options.debug_info;
  net.share_weights_with = share;
  return Net::Create(choice.net, registry, device, net);
}

}  // namespace

NetSources SourcesOf(const caffe::SolverParameter& solver) {
  NetSources sources;
  std::string net = "net_param";
  if (solver.has_net()) net = absl::StrCat("net file: ", solver.net());
  if (solver.has_train_net_param()) {
    sources.train = "specified in train_net_param.";
  } else if (solver.has_train_net()) {
    sources.train = absl::StrCat("from train_net file: ", solver.train_net());
  } else if (solver.has_net()) {
    sources.train = absl::StrCat("from ", net);
  } else {
    sources.train = "specified in net_param.";
  }
  for (int i = 0; i < solver.test_net_param_size(); ++i)
    sources.tests.push_back("test_net_param");
  for (const std::string& file : solver.test_net())
    sources.tests.push_back(absl::StrCat("test_net file: ", file));
  while (static_cast<int>(sources.tests.size()) < solver.test_iter_size())
    sources.tests.push_back(net);
  return sources;
}

absl::StatusOr<NetSet> CreateNets(const caffe::SolverParameter& solver,
                                  const LayerRegistry& registry,
                                  Device& device,
                                  const NetSetOptions& options) {
  ASSIGN_OR_RETURN(SolverNet train, ResolveTrainNet(solver));
  ASSIGN_OR_RETURN(const std::vector<SolverNet> tests, ResolveTestNets(solver));
  if (options.divide_batches > 1)
    RETURN_IF_ERROR(DivideBatches(options.divide_batches, &train.net));
  NetSet nets;
  const bool say = options.log_creation && options.sources != nullptr;
  if (say) LOG(INFO) << "Creating training net " << options.sources->train;
  ASSIGN_OR_RETURN(nets.train,
                   CreateOne(train, registry, device, options, nullptr));
  if (!options.with_tests) return nets;
  for (const SolverNet& test : tests) {
    const size_t i = nets.tests.size();
    if (say && i < options.sources->tests.size())
      LOG(INFO) << "Creating test net (#" << i << ") specified by "
                << options.sources->tests[i];
    ASSIGN_OR_RETURN(
        std::unique_ptr<Net> net,
        CreateOne(test, registry, device, options, nets.train.get()));
    nets.tests.push_back(std::move(net));
    nets.test_iter.push_back(test.test_iter);
  }
  return nets;
}

int64_t BatchSize(Net& net) {
  for (int i = 0; i < net.num_layers(); ++i) {
    const caffe::LayerParameter& layer = net.layer(i).layer_param();
    if (layer.bottom_size() > 0 || layer.top_size() == 0) continue;
    const Blob* top = net.blob(layer.top(0));
    if (top != nullptr && top->shape().num_axes() > 0)
      return top->shape().dim(0);
  }
  return 1;
}

absl::Status CheckBatchMayChange(Net& net) {
  const int64_t batch = BatchSize(net);
  for (int i = 0; i < net.num_layers(); ++i) {
    const Layer& layer = net.layer(i);
    const caffe::LayerParameter& param = layer.layer_param();
    const std::string where =
        absl::StrCat("layer ", param.name(), " (", param.type(), "): ");
    if (param.loss_param().normalization() == caffe::LossParameter::NONE)
      return absl::InvalidArgumentError(absl::StrCat(
          where, "with normalization: NONE its loss is a sum, which unequal "
                 "batches do not average"));
    if (param.bottom_size() > 0 || param.top_size() == 0 ||
        !layer.param_declarations().empty())
      continue;
    const Blob* top = net.blob(param.top(0));
    if (top == nullptr || top->shape().num_axes() == 0 ||
        top->shape().dim(0) != batch)
      return absl::InvalidArgumentError(absl::StrCat(
          where, "every source must take the same batch, here ", batch));
  }
  for (const int64_t records : {batch > 1 ? int64_t{1} : int64_t{2}, batch}) {
    RETURN_IF_ERROR(net.SetBatch(records));
    RETURN_IF_ERROR(net.Reshape());
  }
  return absl::OkStatus();
}

double DataWaitSeconds(const Net& net) {
  double seconds = 0;
  for (int i = 0; i < net.num_layers(); ++i)
    seconds += net.layer(i).data_wait_seconds();
  return seconds;
}

absl::Status DivideBatches(int workers, caffe::NetParameter* net) {
  for (caffe::LayerParameter& layer : *net->mutable_layer())
    RETURN_IF_ERROR(DivideLayer(workers, &layer));
  return absl::OkStatus();
}

}  // namespace cssp
