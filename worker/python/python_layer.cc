#include "worker/python/python_layer.h"

#include <algorithm>

#include "common/base/status_macros.h"
#include "worker/net/replan.h"

namespace cssp::python {
namespace {

// What an array of a layer keeps alive; members go from the last to the first.
struct LayerHold {
  std::shared_ptr<const void> owner;
  std::shared_ptr<const void> memory;
};

void* Mutable(const void* raw) { return const_cast<void*>(raw); }

}  // namespace

// ---- LayerBlob ----

py::array LayerBlob::View(HostView& bound, Own& own) {
  float* const floats = shape_.count() == bound_shape_.count()
                            ? ValueOrThrow(bound.Floats())
                            : nullptr;
  if (floats != nullptr)
    return MakeArray(
        shape_, floats,
        std::make_shared<LayerHold>(LayerHold{owner_, bound.hold()}));
  if (own == nullptr || own->size() != shape_.count())
    own = std::make_shared<std::vector<float>>(shape_.count());
  return MakeArray(shape_, own->data(), own);
}

void LayerBlob::Bind(const HostPass& pass, const Shape& shape, void* data,
                     void* diff) {
  shape_ = bound_shape_ = shape;
  data_.Begin(pass, data, shape.count() * sizeof(float));
  diff_.Begin(pass, diff, shape.count() * sizeof(float));
  own_data_ = own_diff_ = nullptr;
}

absl::Status LayerBlob::End() {
  RETURN_IF_ERROR(data_.End());
  return diff_.End();
}

void LayerBlob::Unbind() {
  data_.Clear();
  diff_.Clear();
}

std::vector<float> LayerBlob::TakeOwnData() {
  if (own_data_ == nullptr || own_data_->size() != shape_.count())
    return std::vector<float>(shape_.count());
  return *own_data_;
}

void LayerBlobs::Add(const Shape& shape) {
  if (!open_) throw py::value_error("blobs are added in setup(), not later");
  blobs_.push_back(std::make_shared<LayerBlob>(owner_));
  blobs_.back()->Reshape(shape);
}

// ---- PythonLayer ----

template <class F>
absl::Status PythonLayer::Locked(F&& call) const {
  py::gil_scoped_acquire lock;
  try {
    return call();
  } catch (py::error_already_set& error) {
    return Raised(error);
  } catch (const std::exception& error) {  // pybind11's own: casts
    return absl::InvalidArgumentError(error.what());
  }
}

absl::Status PythonLayer::Raised(py::error_already_set& error) const {
  const absl::Status status =
      error.matches(PyExc_KeyboardInterrupt)
          ? absl::AbortedError("interrupted")
          : absl::InvalidArgumentError(
                OneLine(error, layer_param().python_param().module()));
  if (raised_ == RaisedIn::kPython) error.restore();
  return status;
}

PythonLayer::~PythonLayer() {
  if (!Py_IsInitialized()) return;
  py::gil_scoped_acquire lock;
  if (params_ != nullptr) UnbindAll();
  for (py::object* held : {&instance_, &bottom_list_, &top_list_})
    *held = py::object();
  params_ = nullptr;
  bottom_.clear();
  top_.clear();
}

py::list PythonLayer::MakeBlobs(int count, Blobs& blobs) const {
  py::list list;
  for (int i = 0; i < count; ++i) {
    blobs.push_back(std::make_shared<LayerBlob>(owner_));
    list.append(std::shared_ptr<PyBlob>(blobs.back()));
  }
  return list;
}

void PythonLayer::MakeInstance() {
  const caffe::PythonParameter& param = layer_param().python_param();
  const py::object type =
      py::module_::import(param.module().c_str()).attr(param.layer().c_str());
  // Settings are there before __init__, which may read them.
  instance_ = type.attr("__new__")(type);
  params_ = std::make_shared<LayerBlobs>(owner_);
  instance_.attr("param_str") = param.param_str();
  instance_.attr("param_str_") = param.param_str();
  instance_.attr("phase") = static_cast<int>(phase());
  instance_.attr("name") = name();
  instance_.attr("type") = type.attr("__name__");
  instance_.attr("blobs") = params_;
  instance_.attr("__init__")();
}

absl::Status PythonLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::PythonParameter& param = layer_param().python_param();
  if (param.module().empty() || param.layer().empty())
    return absl::InvalidArgumentError(
        "python_param: give module (a file on PYTHONPATH, less .py) and layer "
        "(the name of a class in it)");
  return Locked([&] {
    bottom_list_ = MakeBlobs(layer_param().bottom_size(), bottom_);
    top_list_ = MakeBlobs(layer_param().top_size(), top_);
    MakeInstance();
    SetBottomShapes(bottom);
    instance_.attr("setup")(bottom_list_, top_list_);
    params_->Close();
    for (const std::shared_ptr<LayerBlob>& blob : params_->blobs()) {
      ParamDeclaration declaration;
      declaration.shape = blob->shape();
      declaration.values = blob->TakeOwnData();
      DeclareParam(std::move(declaration));
    }
    return absl::OkStatus();
  });
}

void PythonLayer::SetBottomShapes(absl::Span<const Shape> shapes) const {
  for (size_t i = 0; i < bottom_.size() && i < shapes.size(); ++i) {
    bottom_[i]->Unbind();
    bottom_[i]->Reshape(shapes[i]);
  }
}

std::vector<Shape> PythonLayer::TopShapes() const {
  std::vector<Shape> shapes;
  for (const std::shared_ptr<LayerBlob>& blob : top_)
    shapes.push_back(blob->shape());
  return shapes;
}

absl::StatusOr<std::vector<Shape>> PythonLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const bool known = absl::MakeConstSpan(bottom_shapes_) == bottom;
  if (known && !stale_) return TopShapes();
  RETURN_IF_ERROR(Locked([&] {
    SetBottomShapes(bottom);
    instance_.attr("reshape")(bottom_list_, top_list_);
    bottom_shapes_.assign(bottom.begin(), bottom.end());
    stale_ = false;
    return absl::OkStatus();
  }));
  return TopShapes();
}

LayerTraits PythonLayer::Traits() const {
  LayerTraits traits;  // backward may read everything
  traits.is_source = is_source();
  // Caffe reshapes before every forward: a source may give another batch.
  traits.data_dependent_shape = is_source();
  traits.has_backward = !is_source();
  traits.capturable = false;
  return traits;
}

void PythonLayer::BindParams(const HostPass& pass,
                             absl::Span<const ConstTensor> param,
                             absl::Span<const GradientTensor> gradient) {
  for (size_t i = 0; i < params_->blobs().size(); ++i) {
    void* const diff = i < gradient.size() ? gradient[i].tensor.raw : nullptr;
    params_->blobs()[i]->Bind(pass, param[i].shape(), Mutable(param[i].raw),
                              diff);
  }
}

absl::Status PythonLayer::Clear(StepContext& step,
                                const GradientTensor& gradient) {
  if (gradient.mode != GradientMode::kWrite) return absl::OkStatus();
  return device_.Zero(step.stream(), gradient.tensor.raw,
                      gradient.tensor.desc->bytes());
}

// Python is slow enough that waiting for the copies costs nothing.
absl::Status PythonLayer::EndPass(StepContext& step) {
  for (const Blobs& blobs : {bottom_, top_})
    for (const auto& blob : blobs) RETURN_IF_ERROR(blob->End());
  for (const auto& blob : params_->blobs()) RETURN_IF_ERROR(blob->EndAsParam());
  return step.stream().Synchronize();
}

void PythonLayer::UnbindAll() {
  for (const Blobs& blobs : {bottom_, top_, params_->blobs()})
    for (const std::shared_ptr<LayerBlob>& blob : blobs) blob->Unbind();
}

absl::Status PythonLayer::CheckTops(absl::Span<const Tensor> top) {
  bool same = true;
  for (size_t i = 0; i < top.size(); ++i)
    same = same && top_[i]->shape() == top[i].shape();
  if (same) return absl::OkStatus();
  results_.clear();
  for (const std::shared_ptr<LayerBlob>& blob : top_) {
    const py::array_t<float> values = blob->data();
    results_.emplace_back(values.data(), values.data() + values.size());
  }
  return ReplanRequest();
}

absl::Status PythonLayer::HandOver(StepContext& step,
                                   absl::Span<const Tensor> top) {
  for (size_t i = 0; i < top.size(); ++i)
    RETURN_IF_ERROR(device_.CopyFromHost(step.stream(), top[i].raw,
                                         results_[i].data(),
                                         results_[i].size() * sizeof(float)));
  RETURN_IF_ERROR(step.stream().Synchronize());
  results_.clear();
  return absl::OkStatus();
}

absl::Status PythonLayer::CallForward(StepContext& step,
                                      const ForwardArgs& args) {
  const HostPass pass = NewPass(step);
  for (size_t i = 0; i < bottom_.size(); ++i)
    bottom_[i]->Bind(pass, args.bottom[i].shape(), Mutable(args.bottom[i].raw),
                     nullptr);
  for (size_t i = 0; i < top_.size(); ++i)
    top_[i]->Bind(pass, args.top[i].shape(), args.top[i].raw, nullptr);
  BindParams(pass, args.param, {});
  if (!is_source()) instance_.attr("reshape")(bottom_list_, top_list_);
  instance_.attr("forward")(bottom_list_, top_list_);
  const absl::Status checked = CheckTops(args.top);
  RETURN_IF_ERROR(EndPass(step));
  return checked;
}

absl::Status PythonLayer::Forward(StepContext& step, const ForwardArgs& args) {
  return Locked([&]() -> absl::Status {
    RETURN_IF_ERROR(results_.empty() ? CallForward(step, args)
                                     : HandOver(step, args.top));
    stale_ = is_source();
    return absl::OkStatus();
  });
}

absl::Status PythonLayer::CallBackward(StepContext& step,
                                       const BackwardArgs& args) {
  const HostPass pass = NewPass(step);
  for (size_t i = 0; i < top_.size(); ++i)
    top_[i]->Bind(pass, args.top[i].shape(), Mutable(args.top[i].raw),
                  Mutable(args.top_gradient[i].raw));
  py::list propagate;
  for (size_t i = 0; i < bottom_.size(); ++i) {
    const GradientTensor& gradient = args.bottom_gradient[i];
    const bool wanted = gradient.mode != GradientMode::kNone;
    RETURN_IF_ERROR(Clear(step, gradient));
    bottom_[i]->Bind(pass, args.bottom[i].shape(), Mutable(args.bottom[i].raw),
                     wanted ? gradient.tensor.raw : nullptr);
    propagate.append(wanted);
  }
  for (const GradientTensor& gradient : args.param_gradient)
    RETURN_IF_ERROR(Clear(step, gradient));
  BindParams(pass, args.param, args.param_gradient);
  instance_.attr("backward")(top_list_, propagate, bottom_list_);
  return EndPass(step);
}

absl::Status PythonLayer::Backward(StepContext& step,
                                   const BackwardArgs& args) {
  return Locked([&]() { return CallBackward(step, args); });
}

absl::Status RegisterPythonLayer(const PythonSurroundings& surroundings,
                                 LayerRegistry& registry) {
  const LayerFactory make =
      [surroundings](const caffe::LayerParameter& param,
                     const LayerContext& context)
      -> absl::StatusOr<std::unique_ptr<Layer>> {
    return std::make_unique<PythonLayer>(param, context, surroundings);
  };
  RETURN_IF_ERROR(registry.Register("Python", DeviceType::kCpu, make));
  return registry.Register("Python", DeviceType::kCuda, make);
}

void BindPythonLayers(py::module_& module) {
  py::class_<LayerBlob, PyBlob, std::shared_ptr<LayerBlob>>(module,
                                                            "LayerBlob");
  py::class_<LayerBlobs, std::shared_ptr<LayerBlobs>>(module, "LayerBlobs")
      .def("add_blob", [](LayerBlobs& blobs,
                          const py::args& dims) { blobs.Add(ShapeOf(dims)); })
      .def("__len__",
           [](const LayerBlobs& blobs) { return blobs.blobs().size(); })
      .def("__getitem__",
           [](const LayerBlobs& blobs, int64_t i) {
             const auto size = static_cast<int64_t>(blobs.blobs().size());
             if (i < 0) i += size;
             if (i < 0 || i >= size) throw py::index_error();
             return std::shared_ptr<PyBlob>(blobs.blobs()[i]);
           })
      .def("append", [](LayerBlobs&, const py::args&) {
        throw py::type_error("use add_blob(*shape)");
      });
}

}  // namespace cssp::python
