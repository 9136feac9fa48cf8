#include "worker/solver/solver.h"

#include <cmath>
#include <utility>

#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/model_file/prototxt.h"
#include "worker/solver/tester.h"

namespace cssp {
namespace {

absl::Status Interrupted() {
  return absl::CancelledError("training was interrupted");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Solver>> Solver::Create(
    caffe::SolverParameter param, const LayerRegistry& registry,
    Device& device, const SolverOptions& options) {
  if (!options.remote)
    LOG(INFO) << "Initializing solver from parameters: \n"
              << param.DebugString();
  if (param.debug_info() && options.remote && options.rank == 0)
    LOG(WARNING) << "debug_info is ignored in a job: train in one process";
  const NetSources sources = SourcesOf(param);
  RETURN_IF_ERROR(InlineNets(options.source_name, &param));
  if (param.max_iter() < 0)
    return absl::InvalidArgumentError("max_iter must not be negative");
  if (!options.remote) RETURN_IF_ERROR(CheckSnapshotPrefix(param));
  ASSIGN_OR_RETURN(LearningRatePolicy policy,
                   LearningRatePolicy::Create(param));
  auto solver = std::unique_ptr<Solver>(
      new Solver(std::move(param), options, std::move(policy)));
  RETURN_IF_ERROR(solver->CreateNets(registry, device, sources));
  return solver;
}

Solver::Solver(caffe::SolverParameter param, SolverOptions options,
               LearningRatePolicy policy)
    : param_(std::move(param)),
      options_(std::move(options)),
      policy_(std::move(policy)),
      time_(options_.time != nullptr ? *options_.time : TimeSource::Real()),
      smoother_(param_.average_loss()),
      display_time_(time_.Now()) {}

Solver::~Solver() {
  if (nets_.train != nullptr) nets_.train->AttachSync(nullptr, nullptr);
}

absl::Status Solver::CreateNets(const LayerRegistry& registry, Device& device,
                                const NetSources& sources) {
  const NetSetOptions options{
      .sources = &sources,
      .source_name = options_.source_name,
      .seed = options_.seed,
      .keep_blobs = options_.keep_blobs,
      .sync_layers = options_.sync_layers,
      .one_gradient_generation = !options_.remote,
      .with_tests = !options_.remote,
      .log_creation = !options_.remote,
      .debug_info = param_.debug_info() && !options_.remote,
      .divide_batches = options_.global_batch ? options_.workers : 1};
  ASSIGN_OR_RETURN(nets_, cssp::CreateNets(param_, registry, device, options));
  dealt_batch_ = batch_size_ = BatchSize(net());
  if (options_.balance)
    RETURN_IF_ERROR(Annotate(CheckBatchMayChange(net()), "--balance"));
  device_name_ = device.name();
  if (options_.remote) return absl::OkStatus();
  ASSIGN_OR_RETURN(local_, LocalSync::Create(param_, net()));
  AttachSync(*local_);
  return absl::OkStatus();
}

void Solver::AttachSync(ParameterSync& sync) {
  sync_ = &sync;
  net().AttachSync(&sync, &sync);
  iter_ = sync.next_clock();
}

void Solver::AddCallback(SolverCallback callback) {
  callbacks_.push_back(std::move(callback));
}

absl::Status Solver::Call(
    std::function<absl::Status()> SolverCallback::*callback) {
  for (const SolverCallback& registered : callbacks_)
    if (registered.*callback) RETURN_IF_ERROR((registered.*callback)());
  return absl::OkStatus();
}

int64_t Solver::samples_per_clock() const {
  return batch_size_ * param_.iter_size();
}

absl::Status Solver::Solve() {
  if (!options_.remote) {
    LOG(INFO) << "Effective batch " << samples_per_clock();
    LOG(INFO) << "Memory on " << device_name_ << ": " << memory().ToString();
    LOG(INFO) << "Solving " << net().name();
    LOG(INFO) << "Learning Rate Policy: " << param_.lr_policy();
  }
  RETURN_IF_ERROR(Step(param_.max_iter() - iter_));
  if (options_.remote) return sync_->Finish();
  return FinishSolve();
}

absl::Status Solver::Step(int64_t iterations) {
  const int64_t end = iter_ + iterations;
  stop_ = false;
  first_iter_ = iter_;
  smoother_.Reset();
  display_time_ = time_.Now();
  display_iter_ = iter_;
  while (iter_ < end && !stop_) {
    if (TestDue()) {
      RETURN_IF_ERROR(TestAll());
      if (stop_) break;
    }
    RETURN_IF_ERROR(Call(&SolverCallback::on_start));
    RETURN_IF_ERROR(OneClock());
    RETURN_IF_ERROR(AfterClock());
  }
  return absl::OkStatus();
}

bool Solver::TestDue() const {
  return !options_.remote && Every(param_.test_interval()) &&
         (iter_ > 0 || param_.test_initialization());
}

absl::Status Solver::OneClock() {
  ClockSummary summary;
  summary.clock = iter_;
  RETURN_IF_ERROR(sync_->BeginClock(iter_));
  RETURN_IF_ERROR(TakeMemberships());
  // An order that came at the last moment has let this worker go.
  stop_ = sync_->order() == LoopOrder::kStop;
  if (stop_) return absl::OkStatus();
  RETURN_IF_ERROR(FollowDeal(&summary));
  RETURN_IF_ERROR(ForwardBackward(&summary));
  const double waited = DataWaitSeconds(net());
  summary.data_wait_seconds = waited - data_waited_;
  data_waited_ = waited;
  if (!std::isfinite(summary.loss) && !reported_nan_) {
    reported_nan_ = true;
    LOG(WARNING) << "Iteration " << iter_ << ": loss = " << summary.loss
                 << "; the learning rate may be too high";
  }
  if (local_ != nullptr)
    local_->ObserveLoss(iter_, static_cast<float>(summary.loss));
  if (!options_.remote) Display(summary);
  RETURN_IF_ERROR(net().AwaitGradients());
  RETURN_IF_ERROR(Call(&SolverCallback::on_gradients_ready));
  RETURN_IF_ERROR(sync_->EndClock(summary));
  ++iter_;
  return absl::OkStatus();
}

absl::Status Solver::TakeMemberships() {
  for (const control::Order& order : sync_->memberships()) {
    std::vector<Share> shares;
    const control::MembershipOrder& membership = order.membership();
    for (int i = 0; i < membership.ranks_size(); ++i)
      shares.push_back({membership.ranks(i), i < membership.batch_size()
                                                 ? membership.batch(i)
                                                 : batch_size_});
    if (deals_.has_value())
      RETURN_IF_ERROR(deals_->AddDeal(order.effective_clock(), shares));
  }
  if (deals_.has_value()) deals_->Prune(iter_);
  return absl::OkStatus();
}

absl::Status Solver::FollowDeal(ClockSummary* summary) {
  const int64_t dealt =
      deals_.has_value() ? deals_->BatchOf(iter_, options_.rank) : batch_size_;
  if (dealt > 0 && dealt != dealt_batch_) {
    RETURN_IF_ERROR(net().SetBatch(dealt));
    dealt_batch_ = dealt;
  }
  summary->samples = dealt_batch_ * param_.iter_size();
  sync_->SetSamples(summary->samples);
  return absl::OkStatus();
}

absl::Status Solver::ApplyUpdate() {
  if (local_ == nullptr)
    return absl::FailedPreconditionError(
        "the weights of a job are updated by its servers");
  RETURN_IF_ERROR(
      local_->Update(iter_, net().gradients(net().last_generation())));
  net().WeightsChanged();
  ++iter_;
  return absl::OkStatus();
}

absl::Status Solver::SetBaseRate(float base_lr) {
  if (local_ == nullptr)
    return absl::FailedPreconditionError(
        "the learning rate of a job is its servers'");
  caffe::SolverParameter changed = param_;
  changed.set_base_lr(base_lr);
  ASSIGN_OR_RETURN(LearningRatePolicy policy,
                   LearningRatePolicy::Create(changed));
  param_ = std::move(changed);
  policy_ = policy;
  local_->set_policy(std::move(policy));
  return absl::OkStatus();
}

absl::Status Solver::ForwardBackward(ClockSummary* summary) {
  const int passes = param_.iter_size();
  for (int pass = 0; pass < passes; ++pass) {
    double loss = 0;
    RETURN_IF_ERROR(net().ForwardBackward(StateOf(iter_, pass),
                                          pass == passes - 1, &loss));
    summary->loss += loss;
  }
  summary->loss /= passes;
  // Workers report outputs only where someone will print them.
  if (Every(param_.display())) summary->outputs = Outputs(net());
  return absl::OkStatus();
}

StepState Solver::StateOf(int64_t clock, int pass) const {
  StepState state;
  state.phase = caffe::TRAIN;
  state.clock = clock;
  state.pass = pass;
  state.rank = options_.rank;
  state.seed = options_.seed;
  state.first_record =
      deals_.has_value()
          ? deals_->FirstPosition(clock, pass, options_.rank)
          : ((clock * param_.iter_size() + pass) * options_.workers +
             options_.rank) * batch_size_;
  return state;
}

void Solver::Display(const ClockSummary& summary) {
  const float smoothed =
      smoother_.Add(static_cast<float>(summary.loss), iter_ - first_iter_);
  if (!Every(param_.display())) return LogSchedule();
  const absl::Time now = time_.Now();
  LogDisplay(iter_, iter_ - display_iter_,
             absl::ToDoubleSeconds(now - display_time_), param_.display(),
             smoothed, summary.outputs);
  LogSchedule();
  LogDataWait(iter_, data_waited_ - display_waited_,
              absl::ToDoubleSeconds(now - display_time_));
  display_waited_ = data_waited_;
  display_time_ = now;
  display_iter_ = iter_;
}

void Solver::LogSchedule() {
  if (param_.lr_policy() == "multistep" && iter_ > 0 &&
      policy_.CurrentStep(iter_) > policy_.CurrentStep(iter_ - 1))
    LogStepTaken(iter_, policy_.CurrentStep(iter_));
  if (Every(param_.display())) LogRate(iter_, rate());
}

MemoryReport Solver::memory() const {
  return MeasureMemory(nets_, local_ ? local_->num_history() : 0);
}

absl::Status Solver::AfterClock() {
  const SolverAction action =
      options_.actions ? options_.actions->Poll() : SolverAction::kNone;
  const bool snapshot =
      Every(param_.snapshot()) || action == SolverAction::kSnapshot;
  if (snapshot && !options_.remote) RETURN_IF_ERROR(Snapshot().status());
  if (action == SolverAction::kAbort) return Interrupted();
  if (action == SolverAction::kStop) stop_ = true;
  if (action == SolverAction::kLeave && !std::exchange(leaving_, true))
    stop_ = stop_ || !sync_->Leave();
  switch (sync_->order()) {
    case LoopOrder::kContinue:
      break;
    case LoopOrder::kStop:
      stop_ = true;
      break;
    case LoopOrder::kJump:
      iter_ = sync_->next_clock();
      break;
  }
  return absl::OkStatus();
}

absl::Status Solver::FinishSolve() {
  if (param_.snapshot_after_train() && !Every(param_.snapshot()))
    RETURN_IF_ERROR(Snapshot().status());
  if (stop_) {
    LOG(INFO) << "Optimization stopped early.";
    return absl::OkStatus();
  }
  // One more forward pass, for the loss after the last update.
  if (Every(param_.display())) {
    double loss = 0;
    RETURN_IF_ERROR(net().Forward(StateOf(iter_, 0), &loss));
    LogFinalLoss(iter_, smoother_.Add(static_cast<float>(loss),
                                      iter_ - first_iter_));
  }
  if (Every(param_.test_interval())) RETURN_IF_ERROR(TestAll());
  LOG(INFO) << "Optimization Done.";
  return absl::OkStatus();
}

absl::Status Solver::TestAll() {
  for (size_t i = 0; i < nets_.tests.size() && !stop_; ++i)
    RETURN_IF_ERROR(Test(static_cast<int>(i)));
  return absl::OkStatus();
}

absl::Status Solver::Test(int number) {
  LogTestBegin(iter_, number);
  // It reads the train net's slab, which has moved since its last pass.
  nets_.tests[number]->WeightsChanged();
  absl::Status snapshot_status;
  TestOptions options;
  options.batches = nets_.test_iter[number];
  options.seed = options_.seed;
  options.interrupted = [&] { return TestInterrupted(&snapshot_status); };
  ASSIGN_OR_RETURN(const TestScores scores,
                   RunTest(*nets_.tests[number], options));
  RETURN_IF_ERROR(snapshot_status);
  if (scores.interrupted) {
    LOG(INFO) << "Test interrupted.";
    return absl::OkStatus();
  }
  LogTestScores(scores, param_.test_compute_loss());
  return absl::OkStatus();
}

bool Solver::TestInterrupted(absl::Status* status) {
  if (options_.actions == nullptr) return false;
  while (true) {
    switch (options_.actions->Poll()) {
      case SolverAction::kNone:
        return stop_;
      case SolverAction::kAbort:
        *status = Interrupted();
        return true;
      case SolverAction::kStop:
      case SolverAction::kLeave:
        stop_ = true;
        break;
      case SolverAction::kSnapshot:
        *status = Snapshot().status();
        if (!status->ok()) return true;
        break;
    }
  }
}

absl::StatusOr<SnapshotFiles> Solver::Snapshot() {
  if (local_ == nullptr)
    return absl::FailedPreconditionError(
        "the history of a job lies on its servers: use psctl checkpoint");
  std::vector<absl::Span<const float>> history;
  for (int k = 0; k < local_->num_history(); ++k)
    history.push_back(local_->history(k));
  return WriteSnapshot(param_, *nets_.train, iter_, history,
                       local_->plateau());
}

absl::Status Solver::Restore(const std::string& path) {
  if (local_ == nullptr)
    return absl::FailedPreconditionError("a job's worker restores nothing");
  LOG(INFO) << "Restoring previous solver status from " << path;
  std::vector<absl::Span<float>> history;
  for (int k = 0; k < local_->num_history(); ++k)
    history.push_back(local_->history(k));
  PlateauState plateau;
  ASSIGN_OR_RETURN(iter_, RestoreSnapshot(path, net(), history, &plateau));
  local_->RestorePlateau(plateau);
  local_->set_next_clock(iter_);
  return absl::OkStatus();
}

absl::Status Solver::LoadWeights(const std::string& files) {
  return LoadWeightsFiles(files, net());
}

}  // namespace cssp
