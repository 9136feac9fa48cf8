// caffe.Net: made from a prototxt, run, looked into, saved.
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model_file/caffemodel.h"
#include "common/model_file/hdf5_model.h"
#include "worker/layers/memory_data_layer.h"
#include "worker/net/net_passes.h"
#include "worker/python/bindings.h"
#include "worker/python/python_layer.h"
#include "worker/solver/solver_nets.h"

namespace cssp::python {
namespace {

using NetPtr = std::shared_ptr<NetHandle>;

// What an array of a net keeps alive; members go from the last to the first.
struct NetHold {
  NetPtr net;
  std::shared_ptr<const void> memory;
};

py::array NetArray(const NetPtr& net, const Shape& shape, float* data) {
  return MakeArray(
      shape, data,
      std::make_shared<NetHold>(NetHold{net, net->net().memory()}));
}

// Zeros that belong to the blob: where no gradient flows.
float* Zeros(const Shape& shape, std::shared_ptr<std::vector<float>>& zeros) {
  if (zeros == nullptr || zeros->size() != shape.count())
    zeros = std::make_shared<std::vector<float>>(shape.count());
  return zeros->data();
}

class NetBlobRef final : public PyBlob {
 public:
  NetBlobRef(NetPtr net, Blob& blob) : net_(std::move(net)), blob_(blob) {}

  Shape shape() const override { return blob_.shape(); }
  py::array data() override {
    ThrowIfError(net_->net().Reshape());  // a reshaped input: plan first
    const absl::Span<float> data = blob_.mutable_data();
    if (data.empty() && blob_.shape().count() > 0)
      ThrowIfError(absl::InternalError("the blob cannot be read: see the log"));
    return NetArray(net_, blob_.shape(), data.data());
  }
  py::array diff() override {
    ThrowIfError(net_->net().Reshape());
    const absl::Span<float> diff = blob_.mutable_diff();
    if (!diff.empty() || blob_.shape().count() == 0)
      return NetArray(net_, blob_.shape(), diff.data());
    float* const zeros = Zeros(blob_.shape(), zeros_);
    return MakeArray(blob_.shape(), zeros, zeros_);
  }
  void Reshape(const Shape& shape) override {
    ThrowIfError(blob_.Reshape(shape));
  }

 private:
  const NetPtr net_;
  Blob& blob_;
  std::shared_ptr<std::vector<float>> zeros_;
};

class ParamBlobRef final : public PyBlob {
 public:
  ParamBlobRef(NetPtr net, Shape shape, int param)
      : net_(std::move(net)), shape_(std::move(shape)), param_(param) {}

  Shape shape() const override { return shape_; }
  py::array data() override {
    return NetArray(net_, shape_, net_->net().param_data(param_).data());
  }
  py::array diff() override {
    return NetArray(net_, shape_, net_->net().param_diff(param_).data());
  }
  void Reshape(const Shape& shape) override {
    if (shape == shape_) return;
    ThrowIfError(absl::FailedPreconditionError(
        "a parameter's shape is its layer's: change the prototxt"));
  }

 private:
  const NetPtr net_;
  const Shape shape_;
  const int param_;
};

// A built-in layer, for looking at.
struct LayerRef {
  NetPtr net;
  int index;
  const Layer& layer() const { return net->net().layer(index); }
};

std::vector<std::shared_ptr<PyBlob>> LayerParams(const NetPtr& net, int layer) {
  std::vector<std::shared_ptr<PyBlob>> blobs;
  for (int i = 0; i < net->net().num_layer_params(layer); ++i)
    blobs.push_back(std::make_shared<ParamBlobRef>(
        net, net->net().layer(layer).param_declarations()[i].shape,
        net->net().param_of(layer, i)));
  return blobs;
}

// ---- making a net ----

struct NetSource {
  caffe::NetParameter param;
  std::string name;
};

NetSource ReadSource(const py::object& source) {
  NetSource read;
  if (IsMessage(source)) {
    if (!read.param.ParseFromString(SerializedMessage(source)))
      throw py::type_error("the message is no NetParameter");
    return read;
  }
  read.name = PathOf(source);
  read.param = ValueOrThrow(Unlocked([&] { return ReadNet(read.name); }));
  return read;
}

absl::Status LoadFile(Net& net, const std::string& path) {
  ASSIGN_OR_RETURN(const caffe::NetParameter trained, ReadCaffemodel(path));
  RETURN_IF_ERROR(Annotate(net.LoadWeights(trained), path));
  net.WeightsChanged();
  return absl::OkStatus();
}

NetPtr MakeNet(const std::shared_ptr<Session>& session,
               const py::object& source, int phase, int level,
               const std::optional<std::vector<std::string>>& stages,
               const py::object& weights) {
  if (phase != caffe::TRAIN && phase != caffe::TEST)
    throw py::value_error("phase must be caffe.TRAIN or caffe.TEST");
  const NetSource read = ReadSource(source);
  NetOptions options;
  options.state.set_phase(static_cast<caffe::Phase>(phase));
  options.state.set_level(level);
  for (const std::string& stage : stages.value_or(std::vector<std::string>()))
    options.state.add_stage(stage);
  options.keep_blobs = true;
  options.one_gradient_generation = true;
  options.source_name = read.name;
  options.seed = session->NextSeed();
  Device& device = *ValueOrThrow(session->device());
  std::unique_ptr<Net> net = ValueOrThrow(Unlocked([&] {
    return Net::Create(read.param, session->layers(), device, options);
  }));
  if (!weights.is_none()) {
    const std::string path = PathOf(weights);
    ThrowIfError(Unlocked([&] { return LoadFile(*net, path); }));
  }
  return std::make_shared<NetHandle>(session, std::move(net), options.seed);
}

// ---- data for MemoryData ----

using FloatArray = py::array_t<float, py::array::c_style>;

void SetInputArrays(NetHandle& handle, const FloatArray& data,
                    const FloatArray& labels) {
  auto* layer =
      handle.net().num_layers() > 0
          ? dynamic_cast<MemoryDataLayer*>(&handle.net().mutable_layer(0))
          : nullptr;
  if (layer == nullptr)
    throw std::runtime_error(
        "set_input_arrays may only be called if the first "
        "layer is a MemoryData layer");
  const caffe::MemoryDataParameter& want =
      layer->layer_param().memory_data_param();
  if (data.ndim() != 4 || data.shape(1) != want.channels() ||
      data.shape(2) != want.height() || data.shape(3) != want.width())
    throw py::value_error(absl::StrCat("data must have 4 axes, the last three ",
                                       want.channels(), ", ", want.height(),
                                       ", ", want.width()));
  if (labels.ndim() < 1 || labels.shape(0) != data.shape(0) ||
      labels.size() != data.shape(0))
    throw py::value_error("labels must be one number for each of the data");
  ThrowIfError(layer->Reset(absl::MakeConstSpan(data.data(), data.size()),
                            absl::MakeConstSpan(labels.data(), labels.size()),
                            data.shape(0)));
  handle.Keep({data, labels});
}

// ---- running ----

double RunForward(const NetPtr& net, int first, int last) {
  NetHandle::Use use(*net);
  double loss = 0;
  ThrowIfError(Unlocked([&] { return net->Forward(first, last, &loss); }));
  return loss;
}

void RunBackward(const NetPtr& net, int last, int first) {
  NetHandle::Use use(*net);
  ThrowIfError(Unlocked([&] { return net->Backward(last, first); }));
}

template <class Names>
py::list NameList(const Names& names) {
  py::list list;
  for (const std::string& name : names) list.append(name);
  return list;
}

py::object BlobsOf(const NetPtr& net) {
  py::object blobs = py::module_::import("collections").attr("OrderedDict")();
  for (const std::string& name : net->net().blob_names()) {
    Blob* blob = net->net().blob(name);
    const std::shared_ptr<PyBlob> made =
        std::make_shared<NetBlobRef>(net, *blob);
    blobs.attr("__setitem__")(name, made);
  }
  return blobs;
}

py::object LayerOf(const NetPtr& net, int index) {
  const auto* python =
      dynamic_cast<const PythonLayer*>(&net->net().layer(index));
  if (python != nullptr) return python->instance();
  return py::cast(std::make_shared<LayerRef>(LayerRef{net, index}));
}

void BindRunning(py::class_<NetHandle, NetPtr>& net) {
  net.def("_forward", &RunForward)
      .def("_backward", &RunBackward)
      .def("reshape",
           [](const NetPtr& self) {
             NetHandle::Use use(*self);
             ThrowIfError(Unlocked([&] { return self->net().Reshape(); }));
           })
      .def("clear_param_diffs", &NetHandle::ClearParamDiffs)
      .def("_set_input_arrays", &SetInputArrays)
      .def("before_forward",
           [](NetHandle& self, py::object call) {
             self.AddCallback(NetHandle::kBeforeForward, std::move(call));
           })
      .def("after_forward",
           [](NetHandle& self, py::object call) {
             self.AddCallback(NetHandle::kAfterForward, std::move(call));
           })
      .def("before_backward",
           [](NetHandle& self, py::object call) {
             self.AddCallback(NetHandle::kBeforeBackward, std::move(call));
           })
      .def("after_backward", [](NetHandle& self, py::object call) {
        self.AddCallback(NetHandle::kAfterBackward, std::move(call));
      });
}

void BindFiles(py::class_<NetHandle, NetPtr>& net) {
  const auto load = [](const NetPtr& self, const py::object& file) {
    const std::string path = PathOf(file);
    NetHandle::Use use(*self);
    ThrowIfError(Unlocked([&] { return LoadFile(self->net(), path); }));
  };
  net.def("copy_from", load)
      .def("load_hdf5", load)
      .def("save",
           [](const NetPtr& self, const py::object& file) {
             const std::string path = PathOf(file);
             NetHandle::Use use(*self);
             ThrowIfError(Unlocked([&] {
               return WriteCaffemodel(self->net().ToProto(false), path);
             }));
           })
      .def(
          "save_hdf5",
          [](const NetPtr& self, const py::object& file, bool write_diff) {
            const std::string path = PathOf(file);
            NetHandle::Use use(*self);
            ThrowIfError(Unlocked([&] {
              return WriteHdf5Model(self->net().ToProto(write_diff), path);
            }));
          },
          py::arg("filename"), py::arg("write_diff") = false)
      .def("share_with", [](const NetPtr& self, const NetPtr& other) {
        if (self == other) return;
        NetHandle::Use use(*self);
        ThrowIfError(self->net().ShareWeights(other->net()));
      });
}

void BindInside(py::class_<NetHandle, NetPtr>& net) {
  net.def("_blobs", &BlobsOf)
      .def("_layer_params", &LayerParams)
      .def("_layer", &LayerOf)
      .def_property_readonly("name",
                             [](NetHandle& self) { return self.net().name(); })
      .def_property_readonly(
          "_layer_names",
          [](NetHandle& self) { return NameList(self.net().layer_names()); })
      .def_property_readonly(
          "_blob_names",
          [](NetHandle& self) { return NameList(self.net().blob_names()); })
      .def_property_readonly(
          "inputs",
          [](NetHandle& self) { return NameList(self.net().input_names()); })
      .def_property_readonly(
          "outputs",
          [](NetHandle& self) { return NameList(self.net().output_names()); })
      .def("_bottoms",
           [](NetHandle& self, int layer) {
             return NameList(self.net().layer(layer).layer_param().bottom());
           })
      .def("_tops",
           [](NetHandle& self, int layer) {
             return NameList(self.net().layer(layer).layer_param().top());
           })
      .def("_loss_weight",
           [](NetHandle& self, const std::string& blob) {
             return self.net().output_loss_weight(blob);
           })
      .def("_net_parameter", [](NetHandle& self, bool diffs) {
        return py::bytes(self.net().ToProto(diffs).SerializeAsString());
      });
}

}  // namespace

// ---- NetHandle ----

NetHandle::NetHandle(std::shared_ptr<Session> session, std::unique_ptr<Net> net,
                     uint64_t seed)
    : session_(std::move(session)),
      own_(std::move(net)),
      net_(*own_),
      seed_(seed),
      batch_size_(BatchSize(net_)) {
  for (const NetParam& param : net_.params())
    has_statistics_ |= param.kind == ParamKind::kStatistic;
}

NetHandle::NetHandle(std::shared_ptr<Session> session, Net& net, uint64_t seed)
    : session_(std::move(session)),
      net_(net),
      seed_(seed),
      batch_size_(BatchSize(net_)) {
  for (const NetParam& param : net_.params())
    has_statistics_ |= param.kind == ParamKind::kStatistic;
}

NetHandle::~NetHandle() { net_.Observe(nullptr); }

NetHandle::Use::Use(NetHandle& handle) : handle_(handle) {
  if (handle_.busy_.exchange(true))
    throw std::runtime_error(
        "this net is running already, in another thread or further up in this "
        "one: one pass at a time");
}

absl::Status NetHandle::Forward(int first, int last, double* loss) {
  state_.phase = net_.phase();
  // An even clock, so that gradients stay in one place, and a pass that adds.
  state_.clock = 2 * passes_;
  state_.pass = 1;
  state_.seed = seed_;
  state_.first_record = passes_ * batch_size_;
  ++passes_;
  net_.WeightsChanged();  // arrays of them are in Python's hands
  RETURN_IF_ERROR(net_.ForwardFromTo(state_, first, last, loss));
  if (has_statistics_ && backward_ && net_.phase() == caffe::TRAIN)
    return UpdateStatistics();
  return absl::OkStatus();
}

absl::Status NetHandle::Backward(int last, int first) {
  if (!backward_)
    return absl::FailedPreconditionError(
        "the gradients of a job's worker are on their way to the servers: "
        "backward is the solver's alone");
  return net_.BackwardFromTo(state_, last, first);
}

// A solver's updater does this else: Caffe's layer does it as it runs.
absl::Status NetHandle::UpdateStatistics() {
  for (size_t i = 0; i < net_.params().size(); ++i) {
    const NetParam& param = net_.params()[i];
    if (param.kind != ParamKind::kStatistic) continue;
    const absl::Span<float> value = net_.param_data(static_cast<int>(i));
    const absl::Span<float> batch = net_.param_diff(static_cast<int>(i));
    for (size_t k = 0; k < value.size(); ++k)
      value[k] = param.moving_average_fraction * value[k] + batch[k];
    RETURN_IF_ERROR(net_.ClearGradient(static_cast<int>(i)));
  }
  return absl::OkStatus();
}

void NetHandle::ClearParamDiffs() {
  if (!backward_) return;
  for (size_t i = 0; i < net_.params().size(); ++i)
    ThrowIfError(net_.ClearGradient(static_cast<int>(i)));
}

void NetHandle::AddCallback(Moment moment, py::object callback) {
  callbacks_[moment].push_back(std::move(callback));
  net_.Observe(this);
}

absl::Status NetHandle::BeforeLayer(int layer, bool backward) {
  return Call(backward ? kBeforeBackward : kBeforeForward, layer);
}

absl::Status NetHandle::AfterLayer(int layer, bool backward) {
  return Call(backward ? kAfterBackward : kAfterForward, layer);
}

absl::Status NetHandle::Call(Moment moment, int layer) {
  if (callbacks_[moment].empty()) return absl::OkStatus();
  py::gil_scoped_acquire lock;
  try {
    // By index: a callback may register another.
    for (size_t i = 0; i < callbacks_[moment].size(); ++i)
      callbacks_[moment][i](layer);
  } catch (py::error_already_set& error) {
    return Pending(error);
  }
  return absl::OkStatus();
}

void BindNets(py::module_& module, const std::shared_ptr<Session>& session) {
  py::class_<LayerRef, std::shared_ptr<LayerRef>>(module, "NetLayer")
      .def_property_readonly(
          "type", [](const LayerRef& self) { return self.layer().type(); })
      .def_property_readonly(
          "name", [](const LayerRef& self) { return self.layer().name(); })
      .def_property_readonly("blobs",
                             [](const LayerRef& self) {
                               return LayerParams(self.net, self.index);
                             })
      .def("__repr__", [](const LayerRef& self) {
        return absl::StrCat("<caffe layer '", self.layer().name(), "' (",
                            self.layer().type(), ")>");
      });
  py::class_<NetHandle, NetPtr> net(module, "Net", py::dynamic_attr());
  // Net(file, weights, phase), as Caffe once had it, goes first.
  net.def(py::init([session](const py::object& file, const py::str& weights,
                             int phase) {
            return MakeNet(session, file, phase, 0, std::nullopt, weights);
          }),
          py::arg("network_file"), py::arg("weights"), py::arg("phase"))
      .def(py::init(
               [session](const py::object& file, int phase, int level,
                         const std::optional<std::vector<std::string>>& stages,
                         const py::object& weights) {
                 return MakeNet(session, file, phase, level, stages, weights);
               }),
           py::arg("network_file"), py::arg("phase"), py::arg("level") = 0,
           py::arg("stages") = py::none(), py::arg("weights") = py::none());
  BindRunning(net);
  BindFiles(net);
  BindInside(net);
}

}  // namespace cssp::python
