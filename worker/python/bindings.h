// What the files of the extension module share: errors, arrays, blobs, nets.
#ifndef CSSP_WORKER_PYTHON_BINDINGS_H_
#define CSSP_WORKER_PYTHON_BINDINGS_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/tensor/shape.h"
#include "worker/net/net.h"
#include "worker/python/session.h"

namespace cssp::python {

namespace py = pybind11;

// ---- errors ----

// Nothing when OK.  Else throws the Python exception that is pending on this
// thread (a Python layer's, a callback's, KeyboardInterrupt), with the status
// as a note; without one, caffe.Error with the status's file, line and layer.
void ThrowIfError(const absl::Status& status);

template <class T>
T ValueOrThrow(absl::StatusOr<T> value) {
  ThrowIfError(value.status());
  return *std::move(value);
}

// Leaves `error` pending on this thread and gives the status that says so.
absl::Status Pending(py::error_already_set& error);
// "layers.py:31: ValueError: text", the place in `module` if it has been there.
std::string OneLine(const py::error_already_set& error,
                    const std::string& module);
// What caffe.solver_rank() and caffe.solver_count() say from now on.
void SetPlace(int rank, int workers);

// Runs `call` without the global lock.
template <class F>
auto Unlocked(F&& call) {
  py::gil_scoped_release release;
  return call();
}

// ---- arrays ----

// A float32 array on memory that `hold` keeps readable.
py::array MakeArray(const Shape& shape, float* data,
                    std::shared_ptr<const void> hold);

Shape ShapeOf(const py::args& dims);
py::tuple ShapeTuple(const Shape& shape);

// Python's Blob: of a net, of its parameters, or of a Python layer's arguments.
// Thread-confined: whoever holds the global lock.
class PyBlob {
 public:
  virtual ~PyBlob() = default;
  virtual Shape shape() const = 0;
  // Views of what the net computes with, as long as it is not planned anew.
  virtual py::array data() = 0;
  virtual py::array diff() = 0;
  virtual void Reshape(const Shape& shape) = 0;
};

// ---- nets ----

// A net as Python holds it, on its own or inside a solver.
//
// Thread-confined: one thread at a time, which Use sees to.
class NetHandle final : public LayerObserver {
 public:
  enum Moment {
    kBeforeForward,
    kAfterForward,
    kBeforeBackward,
    kAfterBackward
  };

  // Owns its net.
  NetHandle(std::shared_ptr<Session> session, std::unique_ptr<Net> net,
            uint64_t seed);
  // Inside a solver, which outlives it.
  NetHandle(std::shared_ptr<Session> session, Net& net, uint64_t seed);
  ~NetHandle() override;

  Net& net() { return net_; }
  const std::shared_ptr<Session>& session() const { return session_; }

  // Passes over layers [first, last].  Each Forward is a clock of its own;
  // parameter gradients add up until they are cleared, as Caffe's do.
  absl::Status Forward(int first, int last, double* loss);
  absl::Status Backward(int last, int first);
  void ClearParamDiffs();
  // The gradients belong to who sends them: Backward is FailedPrecondition.
  void ForbidBackward() { backward_ = false; }

  void AddCallback(Moment moment, py::object callback);
  // Arrays that a MemoryData layer reads.
  void Keep(std::vector<py::object> arrays) { kept_ = std::move(arrays); }

  absl::Status BeforeLayer(int layer, bool backward) override;
  absl::Status AfterLayer(int layer, bool backward) override;

  // While one lives, another thread (or a callback) that wants to run the net
  // gets RuntimeError.
  class Use {
   public:
    explicit Use(NetHandle& handle);
    ~Use() { handle_.busy_.store(false); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    NetHandle& handle_;
  };

 private:
  absl::Status Call(Moment moment, int layer);
  absl::Status UpdateStatistics();

  const std::shared_ptr<Session> session_;  // destroyed last: owns the device
  const std::unique_ptr<Net> own_;
  Net& net_;
  const uint64_t seed_;
  StepState state_;
  int64_t passes_ = 0;
  int64_t batch_size_ = 0;
  bool has_statistics_ = false;
  bool backward_ = true;
  std::atomic<bool> busy_{false};
  std::array<std::vector<py::object>, 4> callbacks_;
  std::vector<py::object> kept_;
};

// A message of caffe_pb2 or the path of its text.
bool IsMessage(const py::object& source);
std::string SerializedMessage(const py::object& source);
std::string PathOf(const py::object& source);

// ---- module.cc's parts ----

void BindNets(py::module_& module, const std::shared_ptr<Session>& session);
void BindSolvers(py::module_& module, const std::shared_ptr<Session>& session);
void BindPythonLayers(py::module_& module);
void BindTables(py::module_& module);
void BindPrograms(py::module_& module);

}  // namespace cssp::python

#endif  // CSSP_WORKER_PYTHON_BINDINGS_H_
