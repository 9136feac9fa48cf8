#include "worker/caffe/worker_process.h"

#include <unistd.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/metrics/exposer.h"
#include "worker/solver/evaluator.h"
#include "worker/solver/job_worker.h"

namespace cssp {
namespace {

absl::StatusOr<std::shared_ptr<Compute>> ComputeOf(
    const WorkerProcessOptions& options, const JobSession& session) {
  const WorkerConfig& config = options.config;
  const control::JobSpec& spec = session.spec();
  const int asked = config.threads() > 0 ? config.threads() : spec.threads();
  return MakeCompute(
      {.gpu = config.evaluator() ? "" : config.gpu(),
       .gpu_wanted = spec.solver().solver_mode() == caffe::SolverParameter::GPU,
       .gpu_ordinal = spec.solver().device_id(),
       .cuda = options.cuda,
       .host_rank = options.host_rank,
       .host_ranks = options.ranks_on_host,
       .threads = ComputeThreads(asked, options.ranks_on_host),
       .data_threads = options.data_threads,
       // One process says it for all.
       .quiet = !config.evaluator(),
       .extension = options.extension,
       .place = {.source = spec.solver_path(),
                 .rank = config.evaluator() ? 0 : session.joined().rank(),
                 .workers = config.evaluator() ? 1 : spec.workers()}});
}

absl::Status Work(JobSession& session, const WorkerProcessOptions& options,
                  MetricsRegistry& metrics) {
  absl::StatusOr<std::shared_ptr<Compute>> compute =
      ComputeOf(options, session);
  if (!compute.ok()) {
    session.Leave(compute.status());
    return compute.status();
  }
  TransportOptions transport;
  transport.devices = options.config.transport().devices();
  transport.transports = options.config.transport().transports();
  Device& device = *(*compute)->device;
  if (options.config.evaluator())
    return RunEvaluator(session, {.layers = &(*compute)->layers,
                                  .device = &device,
                                  .transport = transport,
                                  .actions = options.actions});
  const int rank = session.joined().rank();
  return RunJobWorker(session, {.layers = &(*compute)->layers,
                                .device = &device,
                                .metrics = &metrics,
                                .transport = transport,
                                .actions = options.actions,
                                .sync_layers = options.sync_layers,
                                .on_start = [&](const std::string& carriers) {
                                  if (rank != 0) return;
                                  const int level = FLAGS_minloglevel;
                                  FLAGS_minloglevel = 0;
                                  LOG(INFO) << "Workers use " << device.name()
                                            << "; data plane: " << carriers;
                                  FLAGS_minloglevel = level;
                                }});
}

}  // namespace

absl::Status RunWorkerProcess(const WorkerProcessOptions& options) {
  const WorkerConfig& config = options.config;
  MetricsRegistry metrics;
  std::unique_ptr<MetricsExposer> exposer;
  if (config.metrics_port() >= 0 && !config.evaluator()) {
    ASSIGN_OR_RETURN(exposer,
                     MetricsExposer::Create(config.bind_host(),
                                            config.metrics_port(), metrics));
  }
  // Training processes print warnings only: the evaluator speaks for the job.
  if (!config.evaluator()) FLAGS_minloglevel = google::GLOG_WARNING;
  ASSIGN_OR_RETURN(
      std::unique_ptr<JobSession> session,
      JobSession::Join({.coordinator = config.coordinator(),
                        .job = config.job(),
                        .token = options.token,
                        .evaluator = config.evaluator(),
                        .rank = config.rank(),
                        .host = HostName(),
                        .pid = getpid(),
                        .metrics_address =
                            exposer != nullptr ? exposer->address() : "",
                        .coordinator_wait = absl::Milliseconds(
                            config.coordinator_wait_ms())}));
  if (options.on_join) RETURN_IF_ERROR(options.on_join(*session));
  const absl::Status worked = Work(*session, options, metrics);
  if (config.evaluator()) return worked;
  return Annotate(worked, absl::StrCat("worker ", session->joined().rank()));
}

}  // namespace cssp
