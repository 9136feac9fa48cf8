// caffe.Solver and what trains: in this process, or as a worker of a job.
#include <limits.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/model_file/prototxt.h"
#include "worker/python/bindings.h"
#include "worker/solver/job_worker.h"
#include "worker/solver/solver.h"
#include "worker/sync/job_session.h"

namespace cssp::python {
namespace {

// A solver as Python holds it, with its nets.
//
// Thread-confined: one thread at a time, by its train net's Use.  Polled by the
// loop: Ctrl-C ends Solve and Step within one iteration or test batch.
class SolverHandle final : public SolverActions {
 public:
  SolverHandle(std::shared_ptr<Session> session)
      : session_(std::move(session)) {}

  // Caffe in this process.
  absl::Status Init(caffe::SolverParameter param, const std::string& path);
  // A worker of a job that has been submitted.
  absl::Status Join(const JobSessionOptions& options);
  // Trains to the end; a job is then told and left.
  absl::Status Solve();

  Solver& solver() { return *solver_; }
  NetHandle& net() { return *net_; }
  const std::vector<std::unique_ptr<NetHandle>>& tests() const {
    return tests_;
  }

  // `call` (a status) with the train net in use; nothing else may run it.
  template <class F>
  void Run(F&& call) {
    in_use_.emplace(*net_);
    net_->net().WeightsChanged();  // arrays of them are in Python's hands
    const absl::Status status = Unlocked(call);
    in_use_.reset();
    if (!status.ok()) Leave(status);
    ThrowIfError(status);
  }

  void AddCallback(py::object on_start, py::object on_gradients_ready);
  SolverAction Poll() override;

 private:
  std::function<absl::Status()> Caller(py::object callback);
  void HandOut(uint64_t seed);
  // Tells the job why this worker goes (OK: done).  Once.
  void Leave(const absl::Status& why);

  const std::shared_ptr<Session> session_;  // destroyed last
  std::unique_ptr<JobSession> job_;         // null: in this process
  std::unique_ptr<JobTrainer> trainer_;
  std::unique_ptr<Solver> own_;
  Solver* solver_ = nullptr;  // own_ or the trainer's
  bool left_ = false;
  std::unique_ptr<NetHandle> net_;
  std::vector<std::unique_ptr<NetHandle>> tests_;
  std::optional<NetHandle::Use> in_use_;
};

using SolverPtr = std::shared_ptr<SolverHandle>;

absl::Status SolverHandle::Init(caffe::SolverParameter param,
                                const std::string& path) {
  SolverOptions options;
  options.source_name = path;
  options.keep_blobs = true;
  options.actions = this;
  options.seed = param.random_seed() >= 0
                     ? static_cast<uint64_t>(param.random_seed())
                     : session_->NextSeed();
  ASSIGN_OR_RETURN(Device* const device, session_->device());
  ASSIGN_OR_RETURN(own_, Unlocked([&] {
                     return Solver::Create(std::move(param), session_->layers(),
                                           *device, options);
                   }));
  solver_ = own_.get();
  for (const std::string& file : solver_->param().weights())
    RETURN_IF_ERROR(solver_->LoadWeights(file));
  HandOut(options.seed);
  return absl::OkStatus();
}

absl::Status SolverHandle::Join(const JobSessionOptions& options) {
  JobWorkerOptions worker;
  worker.layers = &session_->layers();
  ASSIGN_OR_RETURN(worker.device, session_->device());
  worker.actions = this;
  worker.keep_blobs = true;
  worker.on_start = [](const std::string& line) { LOG(INFO) << line; };
  const absl::Status joined = Unlocked([&]() -> absl::Status {
    ASSIGN_OR_RETURN(job_, JobSession::Join(options));
    {
      py::gil_scoped_acquire lock;
      SetPlace(job_->joined().rank(), job_->spec().workers());
    }
    ASSIGN_OR_RETURN(trainer_, JobTrainer::Create(*job_, worker));
    return absl::OkStatus();
  });
  if (!joined.ok()) {
    Leave(joined);
    return joined;
  }
  solver_ = &trainer_->solver();
  HandOut(static_cast<uint64_t>(job_->spec().seed()));
  return absl::OkStatus();
}

void SolverHandle::HandOut(uint64_t seed) {
  net_ = std::make_unique<NetHandle>(session_, solver_->net(), seed);
  if (job_ != nullptr) net_->ForbidBackward();
  for (const std::unique_ptr<Net>& test : solver_->test_nets())
    tests_.push_back(std::make_unique<NetHandle>(session_, *test, seed));
}

absl::Status SolverHandle::Solve() {
  RETURN_IF_ERROR(solver_->Solve());
  Leave(absl::OkStatus());
  return absl::OkStatus();
}

void SolverHandle::Leave(const absl::Status& why) {
  if (job_ == nullptr || left_) return;
  left_ = true;
  job_->Leave(why);
}

SolverAction SolverHandle::Poll() {
  py::gil_scoped_acquire lock;
  return PyErr_CheckSignals() == 0 ? SolverAction::kNone : SolverAction::kAbort;
}

std::function<absl::Status()> SolverHandle::Caller(py::object callback) {
  if (callback.is_none()) return nullptr;
  // Copies of the function would count references without the lock.
  auto kept = std::shared_ptr<py::object>(new py::object(std::move(callback)),
                                          [](py::object* object) {
                                            py::gil_scoped_acquire lock;
                                            delete object;
                                          });
  return [this, kept]() -> absl::Status {
    py::gil_scoped_acquire lock;
    try {
      in_use_.reset();  // it may look at, and run, the nets
      (*kept)();
      in_use_.emplace(*net_);
      net_->net().WeightsChanged();
    } catch (py::error_already_set& error) {
      return Pending(error);
    } catch (const std::runtime_error& error) {
      return absl::FailedPreconditionError(error.what());
    }
    return absl::OkStatus();
  };
}

void SolverHandle::AddCallback(py::object on_start,
                               py::object on_gradients_ready) {
  solver_->AddCallback(
      {Caller(std::move(on_start)), Caller(std::move(on_gradients_ready))});
}

// ---- making a solver ----

struct SolverSource {
  caffe::SolverParameter param;
  std::string path;
};

absl::StatusOr<SolverSource> ReadSource(const py::object& source) {
  SolverSource read;
  if (!IsMessage(source)) {
    read.path = PathOf(source);
    ASSIGN_OR_RETURN(read.param, ReadSolver(read.path));
    return read;
  }
  if (!read.param.ParseFromString(SerializedMessage(source)))
    return absl::InvalidArgumentError("the message is no SolverParameter");
  read.path = "solver";
  RETURN_IF_ERROR(UpgradeSolver(read.path, &read.param));
  return read;
}

// `type` overrides the solver's own: the class says what it is.
SolverPtr MakeSolver(const std::shared_ptr<Session>& session,
                     const py::object& source, const std::string& type) {
  SolverSource read = ValueOrThrow(ReadSource(source));
  if (!type.empty()) read.param.set_type(type);
  auto solver = std::make_shared<SolverHandle>(session);
  ThrowIfError(solver->Init(std::move(read.param), read.path));
  return solver;
}

// A net of a solver lives as long as the solver; arrays keep both.
std::shared_ptr<NetHandle> Inside(const SolverPtr& solver, NetHandle& net) {
  return std::shared_ptr<NetHandle>(solver, &net);
}

std::vector<std::shared_ptr<NetHandle>> TestNets(const SolverPtr& self) {
  std::vector<std::shared_ptr<NetHandle>> nets;
  for (const std::unique_ptr<NetHandle>& net : self->tests())
    nets.push_back(Inside(self, *net));
  return nets;
}

SolverPtr JoinJob(const std::shared_ptr<Session>& session,
                  const std::string& coordinator, const std::string& job,
                  const std::string& token, int rank) {
  JobSessionOptions options;
  options.coordinator = coordinator;
  options.job = job;
  options.token = token;
  options.rank = rank;
  char host[HOST_NAME_MAX + 1] = {};
  gethostname(host, HOST_NAME_MAX);
  options.host = host;
  options.pid = getpid();
  auto solver = std::make_shared<SolverHandle>(session);
  ThrowIfError(solver->Join(options));
  return solver;
}

// The update keeps history by the place of a parameter, which must not change.
absl::Status ShareWeights(SolverHandle& self, Net& other) {
  Net& net = self.solver().net();
  if (net.weights().size() != other.weights().size())
    return absl::InvalidArgumentError("the nets' parameters differ");
  for (size_t i = 0; i < net.params().size(); ++i)
    if (i >= other.params().size() ||
        net.params()[i].key != other.params()[i].key ||
        net.params()[i].offset != other.params()[i].offset)
      return absl::InvalidArgumentError(
          absl::StrCat("the nets' parameters differ at ", net.params()[i].key));
  RETURN_IF_ERROR(net.ShareWeights(other));
  for (const std::unique_ptr<Net>& test : self.solver().test_nets())
    RETURN_IF_ERROR(test->ShareWeights(net));
  return absl::OkStatus();
}

void BindTraining(py::class_<SolverHandle, SolverPtr>& solver) {
  solver
      .def(
          "solve",
          [](const SolverPtr& self, const py::object& resume_file) {
            const std::string path =
                resume_file.is_none() ? "" : PathOf(resume_file);
            self->Run([&]() -> absl::Status {
              if (!path.empty()) RETURN_IF_ERROR(self->solver().Restore(path));
              return self->Solve();
            });
          },
          py::arg("resume_file") = py::none())
      .def("step",
           [](const SolverPtr& self, int64_t iterations) {
             self->Run([&] { return self->solver().Step(iterations); });
           })
      .def("test_all",
           [](const SolverPtr& self) {
             self->Run([&] { return self->solver().TestAll(); });
           })
      .def("restore",
           [](const SolverPtr& self, const py::object& file) {
             const std::string path = PathOf(file);
             self->Run([&] { return self->solver().Restore(path); });
           })
      .def("snapshot",
           [](const SolverPtr& self) {
             self->Run([&] { return self->solver().Snapshot().status(); });
           })
      .def("apply_update",
           [](const SolverPtr& self) {
             self->Run([&] { return self->solver().ApplyUpdate(); });
           })
      .def("share_weights",
           [](const SolverPtr& self, const std::shared_ptr<NetHandle>& net) {
             self->Run([&] { return ShareWeights(*self, net->net()); });
           })
      .def(
          "add_callback",
          [](SolverHandle& self, py::object on_start,
             py::object on_gradients_ready) {
            self.AddCallback(std::move(on_start),
                             std::move(on_gradients_ready));
          },
          py::arg("on_start") = py::none(),
          py::arg("on_gradients_ready") = py::none());
}

// solver.param: what Caffe lets Python see of it.
struct ParamRef {
  SolverPtr solver;
  const caffe::SolverParameter& get() const { return solver->solver().param(); }
};

void BindParam(py::module_& module) {
  py::class_<ParamRef>(module, "SolverParam")
      .def_property_readonly(
          "max_iter",
          [](const ParamRef& self) { return self.get().max_iter(); })
      .def_property_readonly(
          "display", [](const ParamRef& self) { return self.get().display(); })
      .def_property_readonly(
          "layer_wise_reduce",
          [](const ParamRef& self) { return self.get().layer_wise_reduce(); })
      .def_property(
          "base_lr", [](const ParamRef& self) { return self.get().base_lr(); },
          [](ParamRef& self, float base_lr) {
            ThrowIfError(self.solver->solver().SetBaseRate(base_lr));
          })
      .def("_serialized", [](const ParamRef& self) {
        return py::bytes(self.get().SerializeAsString());
      });
}

}  // namespace

void BindSolvers(py::module_& module, const std::shared_ptr<Session>& session) {
  module.def("_solver_type", [](const py::object& source) {
    return ValueOrThrow(ReadSource(source)).param.type();
  });
  BindParam(module);
  py::class_<SolverHandle, SolverPtr> solver(module, "Solver",
                                             py::dynamic_attr());
  solver
      .def(py::init(
               [session](const py::object& source, const std::string& type) {
                 return MakeSolver(session, source, type);
               }),
           py::arg("solver_file"), py::arg("type") = "")
      .def_static(
          "join",
          [session](const std::string& coordinator, const std::string& job,
                    const std::string& token, int rank) {
            return JoinJob(session, coordinator, job, token, rank);
          },
          py::arg("coordinator"), py::arg("job"), py::arg("token") = "",
          py::arg("rank") = -1)
      .def_property_readonly(
          "net",
          [](const SolverPtr& self) { return Inside(self, self->net()); })
      .def_property_readonly("test_nets", &TestNets)
      .def_property_readonly(
          "iter", [](SolverHandle& self) { return self.solver().iter(); })
      .def_property_readonly(
          "lr", [](SolverHandle& self) { return self.solver().rate(); })
      .def_property_readonly(
          "type",
          [](SolverHandle& self) { return self.solver().param().type(); })
      .def_property_readonly(
          "param", [](const SolverPtr& self) { return ParamRef{self}; });
  BindTraining(solver);
}

}  // namespace cssp::python
