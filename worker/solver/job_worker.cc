#include "worker/solver/job_worker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/optim/update_rule.h"
#include "worker/solver/snapshot.h"

namespace cssp {
namespace {

bool IsLoopback(const std::string& address) {
  return absl::StartsWith(address, "127.") ||
         absl::StartsWith(address, "localhost:") ||
         absl::StartsWith(address, "[::1]");
}

// What rank 0 brings to a job that begins: weights in the net's slab, and the
// history of a snapshot.
struct InitialState {
  int64_t start_clock = 0;
  std::vector<std::vector<float>> history;
  PlateauState plateau;
};

absl::StatusOr<InitialState> LoadInitial(const control::JobSpec& spec,
                                         Net& net) {
  InitialState initial;
  if (!spec.weights_files().empty())
    RETURN_IF_ERROR(LoadWeightsFiles(spec.weights_files(), net));
  if (spec.snapshot_file().empty()) return initial;
  ASSIGN_OR_RETURN(const std::unique_ptr<UpdateRule> rule,
                   UpdateRule::Create(spec.solver()));
  initial.history.resize(rule->num_history());
  std::vector<absl::Span<float>> slots;
  for (std::vector<float>& slot : initial.history) {
    slot.resize(net.weights().size());
    slots.push_back(absl::MakeSpan(slot));
  }
  ASSIGN_OR_RETURN(initial.start_clock,
                   RestoreSnapshot(spec.snapshot_file(), net, slots,
                                   &initial.plateau));
  return initial;
}

}  // namespace

std::vector<ps::BlobSpec> BlobSpecs(const Net& net) {
  std::vector<ps::BlobSpec> blobs;
  for (const NetParam& param : net.params()) {
    ps::BlobSpec blob;
    blob.key = param.key;
    blob.shape.assign(param.shape.dims().begin(), param.shape.dims().end());
    blob.count = param.shape.count();
    blob.lr_mult = param.lr_mult;
    blob.decay_mult = param.decay_mult;
    blob.statistic = param.kind == ParamKind::kStatistic;
    blob.moving_average_fraction = param.moving_average_fraction;
    blobs.push_back(std::move(blob));
  }
  return blobs;
}

absl::StatusOr<ps::SlabLayout> LayoutOf(const Net& net,
                                        const control::ShardMap& map) {
  ASSIGN_OR_RETURN(ps::SlabLayout layout,
                   ps::SlabLayout::Create(BlobSpecs(net), map.chunk_bytes()));
  const absl::Span<const NetParam> params = net.params();
  for (size_t i = 0; i < params.size(); ++i)
    if (params[i].offset != layout.blob_offset(static_cast<int>(i)))
      return absl::InternalError(absl::StrCat(
          "parameter ", params[i].key, " lies at ", params[i].offset,
          " in the net and at ", layout.blob_offset(static_cast<int>(i)),
          " in the layout"));
  return layout;
}

TransportOptions TransportFor(const TransportOptions& asked,
                              const control::ShardMap& map) {
  TransportOptions options = asked;
  const bool loopback = std::all_of(
      map.servers().begin(), map.servers().end(),
      [](const auto& server) { return IsLoopback(server.data_address()); });
  if (options.devices.empty() && loopback) options.devices = "lo";
  return options;
}

absl::StatusOr<std::unique_ptr<JobTrainer>> JobTrainer::Create(
    JobSession& session, const JobWorkerOptions& options) {
  const control::JobSpec& spec = session.spec();
  const int rank = session.joined().rank();
  // The evaluator writes there, on this host: no training for nothing.
  if (rank == 0) RETURN_IF_ERROR(CheckSnapshotPrefix(spec.solver()));
  SolverOptions solver_options;
  solver_options.source_name = spec.solver_path();
  solver_options.remote = true;
  solver_options.rank = rank;
  solver_options.workers = spec.workers();
  solver_options.seed = static_cast<uint64_t>(spec.seed());
  solver_options.keep_blobs = options.keep_blobs;
  solver_options.global_batch = spec.global_batch();
  solver_options.actions = options.actions;
  solver_options.sync_layers = options.sync_layers;
  auto trainer = std::unique_ptr<JobTrainer>(new JobTrainer());
  ASSIGN_OR_RETURN(trainer->solver_,
                   Solver::Create(spec.solver(), *options.layers,
                                  *options.device, solver_options));
  RETURN_IF_ERROR(trainer->Attach(session, options));
  return trainer;
}

absl::Status JobTrainer::Attach(JobSession& session,
                                const JobWorkerOptions& options) {
  const int rank = session.joined().rank();
  Net& net = solver_->net();
  if (options.on_net) options.on_net(net);
  InitialState initial;
  const bool initialises = rank == 0 && !session.joined().initialised();
  if (initialises) {
    ASSIGN_OR_RETURN(initial, LoadInitial(session.spec(), net));
  }
  ASSIGN_OR_RETURN(
      const control::DeclareLayoutResponse declared,
      session.Declare(BlobSpecs(net), solver_->samples_per_clock(),
                      initial.start_clock, ToRecord(initial.plateau)));
  ASSIGN_OR_RETURN(ps::SlabLayout layout,
                   LayoutOf(net, declared.shard_map()));
  const ParamSlabs slabs{.weights = net.weights(),
                         .gradients = {net.gradients(0), net.gradients(1)}};
  if (options.metrics != nullptr)
    metrics_ = std::make_unique<SyncMetrics>(*options.metrics, session.job(),
                                             rank);
  PsSyncOptions sync_options;
  sync_options.transport = TransportFor(options.transport,
                                        declared.shard_map());
  sync_options.metrics = metrics_.get();
  sync_options.samples = static_cast<uint32_t>(solver_->samples_per_clock());
  ASSIGN_OR_RETURN(
      sync_, PsSync::Create(session, declared, std::move(layout), slabs,
                            sync_options));
  if (initialises) {
    std::vector<absl::Span<const float>> history(initial.history.begin(),
                                                 initial.history.end());
    RETURN_IF_ERROR(sync_->Initialise(history));
  }
  if (options.on_start)
    options.on_start(absl::StrCat(sync_->Describe(), "; memory of a worker: ",
                                  solver_->memory().ToString()));
  solver_->AttachSync(*sync_);
  return absl::OkStatus();
}

absl::Status RunJobWorker(JobSession& session,
                          const JobWorkerOptions& options) {
  absl::Status trained;
  {
    auto trainer = JobTrainer::Create(session, options);
    trained = trainer.ok() ? (*trainer)->solver().Solve() : trainer.status();
  }
  session.Leave(trained.ok() ? "" : std::string(trained.message()));
  return trained;
}

}  // namespace cssp
