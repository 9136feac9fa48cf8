#include "worker/solver/job_worker.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
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

// Who takes which records, as the coordinator has it.
absl::StatusOr<DealSchedule> DealsOf(
    const control::DeclareLayoutResponse& declared, int iter_size) {
  std::optional<DealSchedule> deals;
  for (const control::Order& order : declared.orders()) {
    if (!order.has_membership()) continue;
    const control::MembershipOrder& membership = order.membership();
    std::vector<Share> shares;
    for (int i = 0; i < std::min(membership.ranks_size(),
                                 membership.batch_size()); ++i)
      shares.push_back({membership.ranks(i), membership.batch(i)});
    if (deals.has_value()) {
      RETURN_IF_ERROR(
          deals->AddDeal(order.effective_clock(), std::move(shares)));
      continue;
    }
    ASSIGN_OR_RETURN(deals, DealSchedule::Create({order.effective_clock(),
                                                  membership.first_record(),
                                                  std::move(shares)},
                                                 iter_size));
  }
  if (deals.has_value()) return *std::move(deals);
  return absl::InternalError("the coordinator deals no records");
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
  solver_options.balance = spec.balance();
  solver_options.actions = options.actions;
  solver_options.sync_layers = options.sync_layers;
  auto trainer =
      std::unique_ptr<JobTrainer>(new JobTrainer(session, options));
  ASSIGN_OR_RETURN(trainer->solver_,
                   Solver::Create(spec.solver(), *options.layers,
                                  *options.device, solver_options));
  RETURN_IF_ERROR(trainer->Begin());
  return trainer;
}

absl::Status JobTrainer::Begin() {
  const int rank = session_.joined().rank();
  Net& net = solver_->net();
  InitialState initial;
  const bool initialises = rank == 0 && !session_.joined().initialised();
  if (initialises) {
    ASSIGN_OR_RETURN(initial, LoadInitial(session_.spec(), net));
  }
  ASSIGN_OR_RETURN(const control::DeclareLayoutResponse declared,
                   Declare(initial.start_clock, initial.plateau));
  RETURN_IF_ERROR(Attach(declared));
  if (initialises && !declared.initialised()) {
    std::vector<absl::Span<const float>> history(initial.history.begin(),
                                                 initial.history.end());
    RETURN_IF_ERROR(sync_->Initialise(history));
  }
  if (options_.on_start)
    options_.on_start(absl::StrCat(sync_->Describe(), "; memory of a worker: ",
                                   solver_->memory().ToString()));
  return absl::OkStatus();
}

absl::StatusOr<control::DeclareLayoutResponse> JobTrainer::Declare(
    int64_t start_clock, const PlateauState& plateau) {
  return session_.Declare(BlobSpecs(solver_->net()),
                          solver_->samples_per_clock(), start_clock,
                          ToRecord(plateau));
}

absl::Status JobTrainer::Attach(
    const control::DeclareLayoutResponse& declared) {
  Net& net = solver_->net();
  ASSIGN_OR_RETURN(ps::SlabLayout layout,
                   LayoutOf(net, declared.shard_map()));
  const ParamSlabs slabs{.weights = net.weights(),
                         .gradients = {net.gradients(0), net.gradients(1)}};
  if (options_.metrics != nullptr && metrics_ == nullptr)
    metrics_ = std::make_unique<SyncMetrics>(
        *options_.metrics, session_.job(), session_.joined().rank());
  PsSyncOptions sync_options;
  sync_options.transport = TransportFor(options_.transport,
                                        declared.shard_map());
  sync_options.metrics = metrics_.get();
  sync_options.samples = static_cast<uint32_t>(solver_->samples_per_clock());
  ASSIGN_OR_RETURN(
      sync_, PsSync::Create(session_, declared, std::move(layout), slabs,
                            sync_options));
  ASSIGN_OR_RETURN(DealSchedule deals,
                   DealsOf(declared, session_.spec().solver().iter_size()));
  solver_->SetDeals(std::move(deals));
  solver_->AttachSync(*sync_);
  return absl::OkStatus();
}

// Nothing of the net's refers to the servers any more.
void JobTrainer::Detach() {
  if (sync_ == nullptr) return;
  // A gradient on its way to the host still knows its sink.
  solver_->net().AwaitGradients().IgnoreError();
  solver_->net().AttachSync(nullptr, nullptr);
  sync_.reset();
}

absl::StatusOr<bool> JobTrainer::Rejoin() {
  Detach();
  ASSIGN_OR_RETURN(const control::DeclareLayoutResponse declared, Declare(0, {}));
  if (session_.joined().rank() == 0 && !declared.initialised()) return false;
  RETURN_IF_ERROR(Attach(declared));
  return true;
}

namespace {

constexpr int kMaxFutile = 20;  // rejoins without a clock in between
constexpr absl::Duration kRejoinPause = absl::Milliseconds(50);

// One stretch of training: until it is over, or the service ends it.
absl::Status Train(JobSession& session, const JobWorkerOptions& options,
                   std::unique_ptr<JobTrainer>* trainer) {
  if (*trainer != nullptr) {
    ASSIGN_OR_RETURN(const bool same, (*trainer)->Rejoin());
    if (!same) trainer->reset();
  }
  if (*trainer == nullptr) {
    ASSIGN_OR_RETURN(*trainer, JobTrainer::Create(session, options));
  }
  if ((*trainer)->let_go()) return absl::OkStatus();
  RETURN_IF_ERROR((*trainer)->solver().Solve());
  if ((*trainer)->let_go()) return absl::OkStatus();
  return session.AwaitRelease();
}

// Whether training that ended with `why` goes on.
bool MayGoOn(JobSession& session, const JobTrainer* trainer,
             const absl::Status& why) {
  const absl::Status failure = session.failure();
  // Counted as dead: a job that waits takes it back.
  if (absl::IsFailedPrecondition(failure) ||
      (absl::IsFailedPrecondition(why) && failure.ok() &&
       trainer != nullptr && trainer->lost().ok()))
    return session.spec().wait_for_dead() && session.JoinAgain().ok();
  if (!failure.ok()) return false;
  if (session.must_rejoin() || absl::IsAborted(why)) return true;
  const absl::Status lost = trainer == nullptr ? why : trainer->lost();
  return absl::IsUnavailable(lost) || absl::IsDeadlineExceeded(lost) ||
         absl::IsAborted(lost) || absl::IsResourceExhausted(lost) ||
         (trainer != nullptr &&
          (absl::IsNotFound(lost) || absl::IsFailedPrecondition(lost)));
}

}  // namespace

absl::Status RunJobWorker(JobSession& session,
                          const JobWorkerOptions& options) {
  std::unique_ptr<JobTrainer> trainer;
  absl::Status trained;
  int futile = 0;
  int64_t reached = -1;
  for (;;) {
    trained = Train(session, options, &trainer);
    const int64_t clock = trainer == nullptr ? -1 : trainer->solver().iter();
    futile = clock == reached ? futile + 1 : 0;
    reached = clock;
    if (trained.ok() || futile > kMaxFutile ||
        !MayGoOn(session, trainer.get(), trained))
      break;
    LOG(WARNING) << "worker " << session.joined().rank() << " at clock "
                 << clock << " joins again: " << trained.message();
    absl::SleepFor(kRejoinPause * futile);
  }
  trainer.reset();
  session.Leave(trained);
  return trained;
}

}  // namespace cssp
