#include "worker/net/net.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/net/debug_info.h"
#include "worker/net/net_impl.h"
#include "worker/net/net_passes.h"
#include "worker/net/replan.h"

namespace cssp {

// ---- NetBlob ----

const std::string& NetBlob::name() const {
  return net_.graph.blobs[index_].name;
}

const Shape& NetBlob::shape() const {
  const Shape& pending = net_.input_shapes[index_];
  return pending.num_axes() > 0 ? pending : net_.graph.blobs[index_].shape;
}

absl::Span<float> NetBlob::View(Side side, bool write) {
  const absl::StatusOr<absl::Span<float>> view = TryView(side, write);
  if (view.ok()) return *view;
  LOG(ERROR) << view.status().message();
  return {};
}

absl::StatusOr<float*> NetBlob::Memory(Side side) {
  const int tensor = net_.executor->plan().blob_tensor[index_];
  if (side == kData) return net_.executor->data(tensor);
  return net_.executor->gradient(tensor);
}

absl::StatusOr<absl::Span<float>> NetBlob::TryView(Side side, bool write) {
  RETURN_IF_ERROR(net_.EnsurePlan());
  ASSIGN_OR_RETURN(float* const memory, Memory(side));
  if (memory == nullptr) return absl::Span<float>();
  const auto count = static_cast<size_t>(shape().count());
  if (net_.device.works_in_host_memory()) return absl::MakeSpan(memory, count);
  Mirror& mirror = mirrors_[side];
  const size_t bytes = count * sizeof(float);
  if (mirror.memory == nullptr || mirror.memory->bytes() != bytes) {
    ASSIGN_OR_RETURN(Buffer host, net_.device.AllocateHost(bytes));
    mirror.memory = std::make_shared<Buffer>(std::move(host));
    mirror.written = false;
  }
  if (!mirror.written)
    RETURN_IF_ERROR(
        net_.executor->CopyOut(mirror.memory->data(), memory, bytes));
  if (write && !mirror.written) {
    mirror.written = true;
    net_.written.push_back(this);
  }
  return absl::MakeSpan(mirror.memory->floats(), count);
}

absl::Status NetBlob::Flush() {
  for (const Side side : {kData, kDiff}) {
    Mirror& mirror = mirrors_[side];
    if (!std::exchange(mirror.written, false)) continue;
    ASSIGN_OR_RETURN(float* const memory, Memory(side));
    const size_t bytes = shape().count() * sizeof(float);
    // Reshaped since: what was written is gone, as it is on the CPU.
    if (memory == nullptr || mirror.memory->bytes() != bytes) continue;
    RETURN_IF_ERROR(
        net_.executor->CopyIn(memory, mirror.memory->data(), bytes));
  }
  return absl::OkStatus();
}

absl::Status NetBlob::Reshape(const Shape& shape) {
  if (!net_.graph.blobs[index_].is_input)
    return absl::FailedPreconditionError(absl::StrCat(
        "blob '", name(), "' cannot be reshaped: it is no input of the net"));
  if (shape == this->shape()) return absl::OkStatus();
  if (shape.num_axes() == 0)
    return absl::InvalidArgumentError(
        absl::StrCat("input blob '", name(), "' needs at least one axis"));
  net_.input_shapes[index_] = shape;
  net_.stale = true;
  return absl::OkStatus();
}

// ---- Net::Impl ----

absl::Status Net::Impl::Init(const caffe::NetParameter& raw,
                             const LayerRegistry& registry) {
  std::vector<std::string> notes;
  const auto passed = PrepareNet(raw, options.state, &notes);
  if (!passed.ok())
    return options.source_name.empty()
               ? passed.status()
               : Annotate(passed.status(), options.source_name);
  const caffe::NetParameter& prepared = *passed;
  options.debug_info |= prepared.debug_info();
  if (options.log_creation) {
    for (const std::string& note : notes) LOG(INFO) << note;
    LOG(INFO) << "Initializing net from parameters: \n"
              << prepared.DebugString();
  }
  LayerContext context;
  context.device = &device;
  context.phase = options.state.phase();
  context.root_folder = options.root_folder;
  ASSIGN_OR_RETURN(graph,
                   BuildGraph(prepared, registry, context, options.source_name,
                              options.log_creation));
  const Net* train = options.share_weights_with;
  ASSIGN_OR_RETURN(params, ParamMemory::Create(
                               graph, device, options.seed,
                               train ? &train->impl_->graph : nullptr,
                               train ? train->impl_->params.get() : nullptr));
  if (options.one_gradient_generation) params->UseOneGeneration();
  if (train == nullptr) RETURN_IF_ERROR(LoadLayerBlobs(*this));
  if (graph.phase == caffe::TRAIN) RETURN_IF_ERROR(params->EnsureGradients());
  ASSIGN_OR_RETURN(
      executor, Executor::Create(graph, *params, device, options.sync_layers));
  for (const GraphLayer& layer : graph.layers) {
    const LayerTraits traits = layer.layer->Traits();
    has_bounds |= !traits.is_source && traits.data_dependent_shape;
    if (traits.is_source && traits.data_dependent_shape)
      changing_sources.push_back(static_cast<int>(layer_names.size()));
    layer_names.push_back(layer.layer->name());
  }
  for (size_t i = 0; i < graph.blobs.size(); ++i) {
    views.push_back(std::make_unique<NetBlob>(*this, i));
    const auto found = graph.blob_index.find(graph.blobs[i].name);
    if (found != graph.blob_index.end() && found->second == i)
      blob_names.push_back(graph.blobs[i].name);
  }
  input_shapes.resize(graph.blobs.size());
  pinned.assign(graph.blobs.size(), options.keep_blobs);
  RETURN_IF_ERROR(EnsurePlan());
  if (options.log_creation)
    LOG(INFO) << "Memory placed: data " << executor->plan().data_bytes
              << " bytes, gradients " << executor->plan().gradient_bytes
              << ", parameters " << graph.slab_floats * sizeof(float)
              << ", scratch " << executor->plan().scratch_bytes;
  return absl::OkStatus();
}

absl::StatusOr<ExecutionPlan> Net::Impl::NewPlan(int run_layers) {
  PlanOptions plan_options;
  plan_options.pinned = pinned;
  plan_options.reuse_memory = !options.keep_blobs;
  plan_options.backward = options.keep_blobs || graph.phase == caffe::TRAIN;
  plan_options.blocked_formats = device.works_in_host_memory();
  if (run_layers > 0) plan_options.running = &executor->plan();
  plan_options.run_layers = run_layers;
  return BuildPlan(graph, input_shapes, plan_options);
}

absl::Status Net::Impl::EnsurePlan() {
  if (!stale) return absl::OkStatus();
  ASSIGN_OR_RETURN(ExecutionPlan plan, NewPlan(0));
  RETURN_IF_ERROR(executor->Adopt(std::move(plan)));
  stale = false;
  ran_forward = false;
  return absl::OkStatus();
}

absl::Status Net::Impl::CheckSources(const StepState& state, int first,
                                     int last) {
  // Layers that give bounds (Filter) are to have room for them again.
  if (std::exchange(made_while_running, false) && has_bounds) stale = true;
  for (int l : changing_sources) {
    if (l < first || l > last) continue;
    const GraphLayer& layer = graph.layers[l];
    RETURN_IF_ERROR(graph.Annotated(layer.layer->Prepare(state), l));
    absl::StatusOr<std::vector<Shape>> shapes = InferTops(layer, {});
    RETURN_IF_ERROR(graph.Annotated(shapes.status(), l));
    for (size_t i = 0; i < shapes->size(); ++i) {
      const int tensor = executor->plan().blob_tensor[layer.top[i]];
      if ((*shapes)[i] != executor->plan().tensors[tensor].desc.shape)
        stale = true;
    }
  }
  return absl::OkStatus();
}

absl::Status Net::Impl::CheckRange(int first, int last) const {
  if (first >= 0 && first <= last && last < num_layers())
    return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat("layers ", first, " to ", last,
                                            " of a net of ", num_layers()));
}

absl::Status Net::Impl::Run(const StepState& state, int first, int last,
                            double* loss) {
  absl::Status ran = executor->Forward(state, first, last, loss);
  // A layer that hands over its tops does not ask again: at most once a layer.
  while (IsReplanRequest(ran)) {
    ASSIGN_OR_RETURN(ExecutionPlan plan, NewPlan(executor->stopped_layer()));
    RETURN_IF_ERROR(executor->AdoptRunning(std::move(plan)));
    made_while_running = true;
    ran = executor->Resume(state, first, last, loss);
  }
  return ran;
}

absl::Status Net::Impl::Forward(const StepState& state, int first, int last,
                                double* loss) {
  if (observer == nullptr && !options.debug_info)
    return Run(state, first, last, loss);
  double sum = 0;
  for (int l = first; l <= last; ++l) {
    double part = 0;
    if (observer != nullptr) RETURN_IF_ERROR(observer->BeforeLayer(l, false));
    RETURN_IF_ERROR(FlushViews());
    RETURN_IF_ERROR(Run(state, l, l, &part));
    if (options.debug_info) RETURN_IF_ERROR(LogForwardDebug(*this, l));
    if (observer != nullptr) RETURN_IF_ERROR(observer->AfterLayer(l, false));
    sum += part;
  }
  if (loss != nullptr) *loss = sum;
  return FlushViews();
}

absl::Status Net::Impl::Backward(const StepState& state, int last, int first,
                                 bool complete) {
  if (!options.keep_blobs && graph.phase != caffe::TRAIN)
    return absl::FailedPreconditionError(
        "a TEST net plans for backward only with keep_blobs");
  if (stale || !ran_forward)
    return absl::FailedPreconditionError(
        "backward needs a forward pass since the net was planned (a blob was "
        "reshaped or viewed for the first time)");
  RETURN_IF_ERROR(FlushViews());
  if (observer == nullptr && !options.debug_info)
    return executor->Backward(state, last, first, complete);
  for (int l = last; l >= first; --l) {
    if (observer != nullptr) RETURN_IF_ERROR(observer->BeforeLayer(l, true));
    RETURN_IF_ERROR(FlushViews());
    RETURN_IF_ERROR(executor->Backward(state, l, l, complete));
    if (options.debug_info) RETURN_IF_ERROR(LogBackwardDebug(*this, l));
    if (observer != nullptr) RETURN_IF_ERROR(observer->AfterLayer(l, true));
  }
  if (options.debug_info && first == 0) RETURN_IF_ERROR(LogParamsDebug(*this));
  return FlushViews();
}

absl::Status Net::Impl::FlushViews() {
  for (NetBlob* view : std::exchange(written, {}))
    RETURN_IF_ERROR(view->Flush());
  return absl::OkStatus();
}

// ---- Net ----

Net::Net(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Net::~Net() = default;

absl::StatusOr<std::unique_ptr<Net>> Net::Create(const caffe::NetParameter& raw,
                                                 const LayerRegistry& registry,
                                                 Device& device,
                                                 const NetOptions& options) {
  auto impl = std::make_unique<Impl>(options, device);
  RETURN_IF_ERROR(impl->Init(raw, registry));
  return std::unique_ptr<Net>(new Net(std::move(impl)));
}

absl::Status Net::Forward(const StepState& state, double* loss) {
  return ForwardFromTo(state, 0, num_layers() - 1, loss);
}

absl::Status Net::ForwardFromTo(const StepState& state, int first, int last,
                                double* loss) {
  RETURN_IF_ERROR(impl_->CheckRange(first, last));
  RETURN_IF_ERROR(impl_->CheckSources(state, first, last));
  RETURN_IF_ERROR(impl_->EnsurePlan());
  RETURN_IF_ERROR(impl_->FlushViews());
  RETURN_IF_ERROR(impl_->Forward(state, first, last, loss));
  impl_->ran_forward = true;
  return absl::OkStatus();
}

absl::Status Net::Backward(const StepState& state) {
  return impl_->Backward(state, num_layers() - 1, 0, false);
}

absl::Status Net::BackwardFromTo(const StepState& state, int last, int first) {
  RETURN_IF_ERROR(impl_->CheckRange(first, last));
  return impl_->Backward(state, last, first, false);
}

absl::Status Net::ForwardBackward(const StepState& state, bool last_pass,
                                  double* loss) {
  RETURN_IF_ERROR(Forward(state, loss));
  return impl_->Backward(state, num_layers() - 1, 0, last_pass);
}

void Net::AttachSync(GradientSink* sink, WeightSource* source) {
  impl_->executor->Attach(sink, source);
}

absl::Status Net::AwaitGradients() { return impl_->executor->AwaitGradients(); }
absl::Status Net::Synchronize() { return impl_->executor->Synchronize(); }

void Net::Observe(LayerObserver* observer) { impl_->observer = observer; }

absl::Status Net::Reshape() { return impl_->EnsurePlan(); }

absl::Status Net::SetBatch(int64_t records) {
  for (int l = 0; l < num_layers(); ++l) {
    const GraphLayer& layer = impl_->graph.layers[l];
    // A learnt blob has no batch.
    if (!layer.bottom.empty() || !layer.layer->param_declarations().empty())
      continue;
    if (!layer.layer->SetBatch(records))
      return impl_->graph.Annotated(
          absl::InvalidArgumentError("its batch cannot change"), l);
  }
  impl_->stale = true;
  return absl::OkStatus();
}

const std::string& Net::name() const { return impl_->graph.name; }
caffe::Phase Net::phase() const { return impl_->graph.phase; }
absl::Span<const std::string> Net::layer_names() const {
  return impl_->layer_names;
}
const Layer& Net::layer(int i) const { return *impl_->graph.layers[i].layer; }
Layer& Net::mutable_layer(int i) { return *impl_->graph.layers[i].layer; }
int Net::num_layers() const { return impl_->num_layers(); }

Blob* Net::blob(absl::string_view name) {
  const auto found = impl_->graph.blob_index.find(name);
  if (found == impl_->graph.blob_index.end()) return nullptr;
  const int index = found->second;
  if (!impl_->pinned[index]) {
    impl_->pinned[index] = true;
    const ExecutionPlan& plan = impl_->executor->plan();
    if (!plan.tensors[plan.blob_tensor[index]].pinned) impl_->stale = true;
  }
  return impl_->views[index].get();
}

absl::Span<const std::string> Net::blob_names() const {
  return impl_->blob_names;
}
absl::Span<const std::string> Net::output_names() const {
  return impl_->graph.output_names;
}
absl::Span<const std::string> Net::input_names() const {
  return impl_->graph.input_names;
}

float Net::output_loss_weight(absl::string_view blob) const {
  const auto found = impl_->graph.blob_index.find(blob);
  if (found == impl_->graph.blob_index.end()) return 0;
  return impl_->graph.blobs[found->second].loss_weight;
}

absl::Span<const NetParam> Net::params() const { return impl_->graph.params; }
int Net::param_of(int layer, int index) const {
  return impl_->graph.layers[layer].param[index];
}
int Net::num_layer_params(int layer) const {
  return static_cast<int>(impl_->graph.layers[layer].param.size());
}

absl::Span<float> Net::weights() {
  const absl::Status settled = impl_->params->SettleUploads();
  if (!settled.ok()) LOG(ERROR) << settled.message();
  return impl_->params->weights();
}

absl::Span<float> Net::gradients(int generation) {
  const absl::StatusOr<absl::Span<float>> gradients =
      impl_->executor->Gradients(generation);
  if (gradients.ok()) return *gradients;
  LOG(ERROR) << gradients.status().message();
  return {};
}

absl::Span<float> Net::param_data(int param) {
  const absl::Status settled = impl_->params->SettleUploads();
  if (!settled.ok()) LOG(ERROR) << settled.message();
  return absl::MakeSpan(impl_->params->host_weight(param),
                        params()[param].shape.count());
}

absl::Span<float> Net::param_diff(int param) {
  return gradients(last_generation())
      .subspan(params()[param].offset, params()[param].shape.count());
}

absl::Status Net::ClearGradient(int param) {
  RETURN_IF_ERROR(impl_->params->EnsureGradients());
  return impl_->executor->ClearGradient(param);
}

absl::Status Net::ShareWeights(Net& other) {
  RETURN_IF_ERROR(impl_->params->Share(impl_->graph, other.impl_->graph,
                                       *other.impl_->params));
  impl_->stale = true;  // steps are bound to the old memory
  return impl_->EnsurePlan();
}

std::shared_ptr<const void> Net::memory() const {
  if (impl_->device.works_in_host_memory()) return impl_->executor->memory();
  using Hold = std::vector<std::shared_ptr<const void>>;
  auto hold = std::make_shared<Hold>(1, impl_->executor->memory());
  for (const std::unique_ptr<NetBlob>& view : impl_->views) view->Hold(*hold);
  return hold;
}

void Net::WeightsChanged() {
  impl_->params->Changed(0, static_cast<int>(impl_->graph.params.size()));
}

void Net::set_debug_info(bool on) { impl_->options.debug_info = on; }
const ExecutionPlan& Net::plan() const { return impl_->executor->plan(); }
int Net::last_generation() const { return impl_->executor->generation(); }

}  // namespace cssp
