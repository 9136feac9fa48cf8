// `caffe train` under mpirun: who is what, and how the ranks find each other.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/model_file/prototxt.h"
#include "common/model_file/solverstate.h"
#include "common/ps/gradient_wire.h"
#include "common/rpc/coordinator_client.h"
#include "worker/caffe/embedded_server.h"
#include "worker/caffe/runtime.h"
#include "worker/caffe/train_command.h"
#include "worker/caffe/worker_process.h"
#include "worker/solver/snapshot.h"
#include "worker/solver/solver_nets.h"

namespace cssp {
namespace {

constexpr char kJobKey[] = "cssp.job";
constexpr absl::Duration kJobTimeout = absl::Minutes(2);
// Put instead of a job where rank 0 could not start one.
constexpr char kNoJob[] = "none";

// How a rank gets into the job.
struct Invitation {
  std::string coordinator, job, token;
};

std::string Encode(const Invitation& invitation) {
  return absl::StrCat(invitation.coordinator, "\n", invitation.job, "\n",
                      invitation.token);
}

absl::StatusOr<Invitation> Decode(const std::string& text) {
  const std::vector<std::string> fields = absl::StrSplit(text, '\n');
  if (fields.size() != 3)
    return absl::InternalError("rank 0 put something that is no job");
  return Invitation{fields[0], fields[1], fields[2]};
}

absl::StatusOr<control::JobSpec> MakeSpec(const CaffeFlags& flags,
                                          int workers) {
  control::JobSpec spec;
  ASSIGN_OR_RETURN(*spec.mutable_solver(), ReadSolverForTraining(flags));
  control::SspUpdate update;
  if (!control::SspUpdate_Parse(flags.ssp_update, &update))
    return absl::InvalidArgumentError("--ssp_update: unknown value");
  ASSIGN_OR_RETURN(const control::GradientWire wire,
                   ps::ParseGradientWire(flags.wire));
  spec.set_workers(workers);
  spec.set_staleness(flags.staleness);
  spec.set_ssp_update(update);
  spec.set_fresh_wait(flags.fresh_wait);
  spec.set_chunk_bytes(flags.chunk_bytes);
  spec.set_global_batch(flags.global_batch);
  spec.set_wait_for_dead(flags.wait_for_dead);
  spec.set_straggler(flags.straggler);
  spec.set_backup(flags.backup);
  spec.set_balance(flags.balance);
  spec.set_lazy_pull(flags.lazy_pull);
  spec.set_max_ahead(flags.max_ahead);
  spec.set_lookahead(flags.lookahead);
  spec.set_wire(wire);
  spec.set_threads(flags.threads);
  spec.set_solver_path(flags.solver);
  spec.set_python_layers(HasPythonLayers(spec.solver()));
  spec.set_snapshot_file(flags.snapshot);
  spec.set_weights_files(WeightsFiles(flags, spec.solver()));
  return spec;
}

// What would fail on every rank is found on one, before there is a job.
absl::Status Rehearse(const ProgramHost& host, const CaffeFlags& flags,
                      const control::JobSpec& spec) {
  if (!flags.gpu.empty())
    RETURN_IF_ERROR(
        MakeCompute({.gpu = flags.gpu, .host_ranks = spec.workers()}).status());
  RETURN_IF_ERROR(CheckSnapshotPrefix(spec.solver()));
  if (!flags.snapshot.empty())
    RETURN_IF_ERROR(ReadSolverState(flags.snapshot).status());
  ASSIGN_OR_RETURN(const std::shared_ptr<Compute> compute,
                   MakeCompute({.threads = 1,
                                .extension = host.extension,
                                .place = {.source = flags.solver}}));
  const NetSetOptions options{
      .source_name = flags.solver,
      .log_creation = false,
      .divide_batches = flags.global_batch ? spec.workers() : 1};
  ASSIGN_OR_RETURN(const NetSet nets,
                   CreateNets(spec.solver(), compute->layers,
                              *compute->device, options));
  if (spec.balance())
    RETURN_IF_ERROR(Annotate(CheckBatchMayChange(*nets.train), "--balance"));
  if (!spec.weights_files().empty())
    RETURN_IF_ERROR(LoadWeightsFiles(spec.weights_files(), *nets.train));
  return absl::OkStatus();
}

absl::StatusOr<Invitation> Submit(const std::string& coordinator,
                                  const control::JobSpec& spec) {
  ASSIGN_OR_RETURN(std::unique_ptr<CoordinatorClient> client,
                   CoordinatorClient::Create(coordinator));
  control::SubmitJobRequest request;
  *request.mutable_spec() = spec;
  ASSIGN_OR_RETURN(const control::SubmitJobResponse submitted,
                   client->SubmitJob(request));
  return Invitation{coordinator, submitted.job_id(), submitted.token()};
}

WorkerProcessOptions ProcessOptions(const ProgramHost& host,
                                    const CaffeFlags& flags,
                                    const Invitation& invitation) {
  WorkerProcessOptions options;
  options.extension = host.extension;
  options.config.set_coordinator(invitation.coordinator);
  options.config.set_job(invitation.job);
  options.config.set_threads(flags.threads);
  options.config.set_gpu(flags.gpu);
  // Its coordinator is rank 0's child: nobody starts it again.
  options.config.set_coordinator_wait_ms(0);
  options.data_threads = flags.data_threads;
  options.cuda = CudaOptionsOf(flags);
  options.sync_layers = flags.sync_layers;
  options.token = invitation.token;
  return options;
}

// Ranks of this host that train.
int TrainingRanks(const Launch& launch) {
  int ranks = 0;
  for (int rank : launch.local_ranks()) ranks += rank != 0;
  return ranks;
}

// Which of them this one is.
int TrainingRankOnHost(const Launch& launch) {
  int before = 0;
  for (int rank : launch.local_ranks())
    before += rank != 0 && rank < launch.rank();
  return before;
}

absl::StatusOr<std::unique_ptr<EmbeddedServer>> StartServer(
    const ProgramHost& host, const CaffeFlags& flags, const Launch& launch) {
  const bool one_host = launch.local_size() == launch.size();
  EmbeddedServerOptions options;
  options.folder = FolderOf(host.path);
  options.program = flags.server_program;
  options.bind_host = !flags.bind_host.empty() ? flags.bind_host
                      : one_host               ? "127.0.0.1"
                                               : RoutableAddress();
  return EmbeddedServer::Start(options);
}

absl::Status Host(const ProgramHost& host, const CaffeFlags& flags,
                  Launch& launch, SolverActions& actions) {
  const int workers = launch.size() - 1;
  std::unique_ptr<EmbeddedServer> server;
  const auto open = [&]() -> absl::StatusOr<Invitation> {
    ASSIGN_OR_RETURN(const control::JobSpec spec, MakeSpec(flags, workers));
    RETURN_IF_ERROR(Rehearse(host, flags, spec));
    ASSIGN_OR_RETURN(server, StartServer(host, flags, launch));
    return Submit(server->control_address(), spec);
  };
  const absl::StatusOr<Invitation> invitation = open();
  if (!invitation.ok()) {
    RETURN_IF_ERROR(launch.Put(kJobKey, kNoJob));
    return invitation.status();
  }
  LOG(INFO) << "Embedded ps-server at " << server->control_address()
            << ", job " << invitation->job << ", " << workers << " workers";
  WorkerProcessOptions options = ProcessOptions(host, flags, *invitation);
  options.config.set_evaluator(true);
  options.config.set_rank(-1);
  options.ranks_on_host = launch.local_size();
  options.actions = &actions;
  // Workers are invited once the evaluator has joined: a short job must not be
  // over before.
  bool invited = false;
  options.on_join = [&](JobSession&) {
    invited = true;
    return launch.Put(kJobKey, Encode(*invitation));
  };
  const absl::Status worked = RunWorkerProcess(options);
  if (!invited) RETURN_IF_ERROR(launch.Put(kJobKey, kNoJob));
  RETURN_IF_ERROR(worked);
  return server->Check();
}

absl::Status Train(const ProgramHost& host, const CaffeFlags& flags,
                   Launch& launch) {
  ASSIGN_OR_RETURN(const std::string text,
                   launch.Get(0, kJobKey, kJobTimeout));
  // Rank 0 has said why.
  if (text == kNoJob) return absl::InvalidArgumentError("");
  ASSIGN_OR_RETURN(const Invitation invitation, Decode(text));
  WorkerProcessOptions options = ProcessOptions(host, flags, invitation);
  const int rank = launch.rank() - 1;
  options.config.set_rank(rank);
  options.config.set_metrics_port(
      flags.metrics_port > 0 ? flags.metrics_port + rank : flags.metrics_port);
  options.ranks_on_host = TrainingRanks(launch);
  options.host_rank = TrainingRankOnHost(launch);
  const absl::Status trained = RunWorkerProcess(options);
  // Aborted because of something elsewhere: rank 0 says what.
  return absl::IsCancelled(trained) ? absl::OkStatus() : trained;
}

}  // namespace

absl::Status ClusterTrain(const ProgramHost& host, const CaffeFlags& flags,
                          Launch& launch, SolverActions& actions) {
  return launch.rank() == 0 ? Host(host, flags, launch, actions)
                            : Train(host, flags, launch);
}

}  // namespace cssp
