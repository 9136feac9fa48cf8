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
  explicit LayerBlob(std::shared_ptr<Session> session)
      : session_(std::move(session)) {}

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

  const std::shared_ptr<Session> session_;  // owns the memory's device
  Shape shape_, bound_shape_;
  HostView data_, diff_;
  Own own_data_, own_diff_;
};

// A Python layer's parameters: a sequence that setup() adds to.
class LayerBlobs {
 public:
  explicit LayerBlobs(std::shared_ptr<Session> session)
      : session_(std::move(session)) {}
  void Add(const Shape& shape);
  const std::vector<std::shared_ptr<LayerBlob>>& blobs() const {
    return blobs_;
  }
  void Close() { open_ = false; }

 private:
  const std::shared_ptr<Session> session_;
  std::vector<std::shared_ptr<LayerBlob>> blobs_;
  bool open_ = true;
};

// Calls an instance of python_param's class:
//   setup(bottom, top)    once; may declare parameters by self.blobs.add_blob
//   reshape(bottom, top)  when shapes are asked for, and before every forward
//   forward(bottom, top), backward(top, propagate_down, bottom)
// Both of the former may reshape tops as the bottoms' values ask for: the net
// is then planned anew behind this layer (worker/net/replan.h). What Python
// raises stays pending on the thread (bindings.h).
//
// In a net on a GPU it sees host mirrors (worker/net/host_view.h): Python runs
// on the processor wherever the net does.
//
// Thread-confined: the training thread.  Takes the global lock by itself.
class PythonLayer final : public Layer {
 public:
  PythonLayer(caffe::LayerParameter param, const LayerContext& context,
              std::shared_ptr<Session> session)
      : Layer(std::move(param), context.phase),
        session_(std::move(session)),
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
  // Once the net is made, by who made it: its parameters get the values that
  // setup() gave them, and arrays will keep its memory.  Takes no lock.
  void Join(Net& net, int layer);

 private:
  using Blobs = std::vector<std::shared_ptr<LayerBlob>>;

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

  // The net that this layer is part of is null while it is being made.
  HostPass NewPass(StepContext& step) const {
    return {device_, step.stream(), net_ != nullptr ? net_->memory() : nullptr};
  }

  const std::shared_ptr<Session> session_;
  Device& device_;
  Net* net_ = nullptr;
  std::vector<std::vector<float>> initial_;  // per parameter, from setup()
  py::object instance_;
  std::shared_ptr<LayerBlobs> params_;
  Blobs bottom_, top_;
  py::object bottom_list_, top_list_;  // the same, as Python gets them
  // reshape() is to be called for shapes: not yet, or a source's next batch.
  mutable bool stale_ = true;
  mutable std::vector<Shape> bottom_shapes_;  // that reshape() knows of
  std::vector<std::vector<float>> results_;   // to be handed over
};

// Joins every Python layer of a new net; before weights are loaded.
void JoinPythonLayers(Net& net);

absl::Status RegisterPythonLayer(const std::shared_ptr<Session>& session,
                                 LayerRegistry& registry);

}  // namespace cssp::python

#endif  // CSSP_WORKER_PYTHON_PYTHON_LAYER_H_
