// Layers written in Python: type "Python".
#ifndef CSSP_WORKER_PYTHON_PYTHON_LAYER_H_
#define CSSP_WORKER_PYTHON_PYTHON_LAYER_H_

#include <memory>
#include <string>
#include <vector>

#include "worker/net/host_view.h"
#include "worker/python/bindings.h"

namespace cssp::python {

// A blob as a Python layer sees it: the net's memory, or a mirror of it, while a
// pass runs; memory of its own (zeros) before there is any.
//
// Thread-confined: whoever holds the global lock.
class LayerBlob final : public PyBlob {
 public:
  // `owner` keeps the memory's device.
  explicit LayerBlob(std::shared_ptr<const void> owner)
      : owner_(std::move(owner)) {}

  Shape shape() const override { return shape_; }
  py::array data() override { return View(data_, own_data_); }
  py::array diff() override { return View(diff_, own_diff_); }
  void Reshape(const Shape& shape) override { shape_ = shape; }

  // Begins a pass.  Null pointers leave that side to memory of the blob's own.
  void Bind(const HostPass& pass, const Shape& shape, void* data, void* diff);
  // Ends it: what Python has looked at goes back to where kernels work.
  // Parameters' values do not: the host's slab is where they are changed.
  absl::Status End();
  absl::Status EndAsParam() { return diff_.End(); }
  void Unbind();
  // What was written before there was a net; empty where nothing was.
  std::vector<float> TakeOwnData();

 private:
  using Own = std::shared_ptr<std::vector<float>>;
  py::array View(HostView& bound, Own& own);

  const std::shared_ptr<const void> owner_;
  Shape shape_, bound_shape_;
  HostView data_, diff_;
  Own own_data_, own_diff_;
};

// A Python layer's parameters: a sequence that setup() adds to.
class LayerBlobs {
 public:
  explicit LayerBlobs(std::shared_ptr<const void> owner)
      : owner_(std::move(owner)) {}
  void Add(const Shape& shape);
  const std::vector<std::shared_ptr<LayerBlob>>& blobs() const {
    return blobs_;
  }
  void Close() { open_ = false; }

 private:
  const std::shared_ptr<const void> owner_;
  std::vector<std::shared_ptr<LayerBlob>> blobs_;
  bool open_ = true;
};

// Who hears of what a layer raises, besides the status.
enum class RaisedIn {
  kPython,   // it stays pending on the thread (bindings.h)
  kProgram,  // nobody: a program's net
};

// What runs a Python layer's net.
struct PythonSurroundings {
  // Keeps the net's device; whoever holds an array of a layer keeps it.
  std::weak_ptr<const void> owner;
  RaisedIn raised = RaisedIn::kPython;
};

// Calls an instance of python_param's class:
//   setup(bottom, top)    once; may declare parameters by self.blobs.add_blob
//   reshape(bottom, top)  when shapes are asked for, and before every forward
//   forward(bottom, top), backward(top, propagate_down, bottom)
// Both of the former may reshape tops as the bottoms' values ask for: the net
// is then planned anew behind this layer (worker/net/replan.h). What Python
// raises is InvalidArgument with file, line and text.
//
// In a net on a GPU it sees host mirrors (worker/net/host_view.h): Python runs
// on the processor wherever the net does.
//
// Thread-confined: the training thread.  Takes the global lock by itself.
class PythonLayer final : public Layer {
 public:
  PythonLayer(caffe::LayerParameter param, const LayerContext& context,
              PythonSurroundings surroundings)
      : Layer(std::move(param), context.phase),
        owner_(surroundings.owner.lock()),
        raised_(surroundings.raised),
        device_(*context.device) {}
  ~PythonLayer() override;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override;

  int min_bottoms() const override { return 0; }
  int max_bottoms() const override { return -1; }
  int min_tops() const override { return 0; }
  int max_tops() const override { return -1; }

  py::object instance() const { return instance_; }

 private:
  using Blobs = std::vector<std::shared_ptr<LayerBlob>>;

  // Runs `call` under the global lock; what Python raises becomes a status.
  template <class F>
  absl::Status Locked(F&& call) const;
  absl::Status Raised(py::error_already_set& error) const;
  py::list MakeBlobs(int count, Blobs& blobs) const;
  void MakeInstance();
  void SetBottomShapes(absl::Span<const Shape> shapes) const;
  void BindParams(const HostPass& pass, absl::Span<const ConstTensor> param,
                  absl::Span<const GradientTensor> gradient);
  // Nothing, or zeros where Python is to write, since it adds.
  absl::Status Clear(StepContext& step, const GradientTensor& gradient);
  absl::Status EndPass(StepContext& step);
  void UnbindAll();
  std::vector<Shape> TopShapes() const;
  absl::Status CallForward(StepContext& step, const ForwardArgs& args);
  absl::Status CallBackward(StepContext& step, const BackwardArgs& args);
  // OK, or the tops' values are kept and a new plan is asked for.
  absl::Status CheckTops(absl::Span<const Tensor> top);
  absl::Status HandOver(StepContext& step, absl::Span<const Tensor> top);
  bool is_source() const { return layer_param().bottom_size() == 0; }

  HostPass NewPass(StepContext& step) const {
    return {device_, step.stream(), step.memory()};
  }

  const std::shared_ptr<const void> owner_;
  const RaisedIn raised_;
  Device& device_;
  py::object instance_;
  std::shared_ptr<LayerBlobs> params_;
  Blobs bottom_, top_;
  py::object bottom_list_, top_list_;  // the same, as Python gets them
  // reshape() is to be called for shapes: not yet, or a source's next batch.
  mutable bool stale_ = true;
  mutable std::vector<Shape> bottom_shapes_;  // that reshape() knows of
  std::vector<std::vector<float>> results_;   // to be handed over
};

absl::Status RegisterPythonLayer(const PythonSurroundings& surroundings,
                                 LayerRegistry& registry);

}  // namespace cssp::python

#endif  // CSSP_WORKER_PYTHON_PYTHON_LAYER_H_
