#include "worker/solver/evaluator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/optim/update_rule.h"
#include "worker/solver/job_worker.h"
#include "worker/solver/tester.h"

namespace cssp {
namespace {

constexpr absl::Duration kEventWait = absl::Milliseconds(100);
constexpr absl::Duration kPullTimeout = absl::Minutes(5);
constexpr int kMaxConnects = 30;
// After training: the last checkpoint's directive, the job's last state.
constexpr absl::Duration kLastEventTimeout = absl::Seconds(3);
constexpr absl::Duration kCheckpointTimeout = absl::Minutes(1);
constexpr absl::Duration kEndTimeout = absl::Minutes(3);

double UnixSeconds() { return absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()); }

bool Terminal(control::JobState state) {
  return state == control::JOB_SUCCEEDED || state == control::JOB_FAILED ||
         state == control::JOB_CANCELLED;
}

std::vector<OutputSample> Samples(const control::ClockProgress& progress) {
  std::vector<OutputSample> samples;
  for (const control::OutputValue& output : progress.outputs())
    samples.push_back({output.name(), output.index(), output.value(),
                       output.loss_weight()});
  return samples;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Evaluator>> Evaluator::Create(
    JobSession& session, const EvaluatorOptions& options) {
  const control::JobSpec& spec = session.spec();
  RETURN_IF_ERROR(CheckSnapshotPrefix(spec.solver()));
  ASSIGN_OR_RETURN(LearningRatePolicy policy,
                   LearningRatePolicy::Create(spec.solver()));
  ASSIGN_OR_RETURN(const std::unique_ptr<UpdateRule> rule,
                   UpdateRule::Create(spec.solver()));
  const NetSetOptions net_options{
      .source_name = spec.solver_path(),
      .seed = static_cast<uint64_t>(spec.seed()),
      .divide_batches = spec.global_batch() ? spec.workers() : 1};
  ASSIGN_OR_RETURN(NetSet nets, CreateNets(spec.solver(), *options.layers,
                                           *options.device, net_options));
  auto evaluator = std::unique_ptr<Evaluator>(new Evaluator(
      session, options, std::move(nets), std::move(policy)));
  evaluator->num_history_ = rule->num_history();
  RETURN_IF_ERROR(evaluator->Begin());
  return evaluator;
}

Evaluator::Evaluator(JobSession& session, const EvaluatorOptions& options,
                     NetSet nets, LearningRatePolicy policy)
    : session_(session),
      options_(options),
      solver_(session.spec().solver()),
      nets_(std::move(nets)),
      policy_(std::move(policy)),
      smoother_(solver_.average_loss()) {}

absl::Status Evaluator::Begin() {
  RETURN_IF_ERROR(Connect());
  next_clock_ = start_clock_;
  display_clock_ = start_clock_;
  Watch();
  return absl::OkStatus();
}

absl::Status Evaluator::Connect() {
  cuts_.reset();
  Net& net = *nets_.train;
  const int64_t samples = BatchSize(net) * solver_.iter_size();
  ASSIGN_OR_RETURN(const control::DeclareLayoutResponse declared,
                   session_.Declare(BlobSpecs(net), samples, 0));
  ASSIGN_OR_RETURN(ps::SlabLayout layout, LayoutOf(net, declared.shard_map()));
  ASSIGN_OR_RETURN(
      cuts_, CutPuller::Create(
                 session_, declared.shard_map(), std::move(layout),
                 TransportFor(options_.transport, declared.shard_map())));
  if (next_clock_ == 0) start_clock_ = declared.start_clock();
  return absl::OkStatus();
}

void Evaluator::Watch() {
  control::WatchJobRequest request;
  request.set_job_id(session_.job());
  request.set_from_clock(next_clock_);
  watch_ = session_.coordinator().WatchJob(request);
}

absl::Status Evaluator::PullCut(int64_t clock, int slot,
                                absl::Span<float> slab) {
  for (int attempt = 0;; ++attempt) {
    const absl::Status pulled =
        cuts_ == nullptr ? absl::UnavailableError("not connected")
                         : cuts_->Pull(clock, slot, slab, kPullTimeout);
    const bool lost = absl::IsUnavailable(pulled) ||
                      absl::IsAborted(pulled) ||
                      absl::IsFailedPrecondition(pulled);
    if (!lost || attempt == kMaxConnects) return pulled;
    RETURN_IF_ERROR(session_.failure());
    absl::SleepFor(kEventWait * std::min(attempt, 10));
    RETURN_IF_ERROR(Connect());
  }
}

void Evaluator::Announce() {
  const control::JobSpec& spec = session_.spec();
  const int64_t samples = BatchSize(*nets_.train) * solver_.iter_size();
  LOG(INFO) << "Effective batch " << samples * spec.workers() << " ("
            << spec.workers() << " workers of " << samples
            << " samples), staleness " << spec.staleness();
  LOG(INFO) << "Solving " << nets_.train->name();
  LOG(INFO) << "Learning Rate Policy: " << solver_.lr_policy();
}

absl::Status Evaluator::Run() {
  Announce();
  display_seconds_ = UnixSeconds();
  if (Every(solver_.test_interval(), start_clock_) &&
      (start_clock_ > 0 || solver_.test_initialization()))
    RETURN_IF_ERROR(TestAll(start_clock_, false));
  absl::Status followed = FollowToEnd();
  // Counted as dead, but only silent: it comes back.
  while (absl::IsFailedPrecondition(session_.failure()) &&
         session_.JoinAgain().ok()) {
    LOG(WARNING) << "the evaluator joins again: " << followed.message();
    followed = Connect();
    Watch();
    if (followed.ok()) followed = FollowToEnd();
  }
  // Aborted: the job's last state says why.
  if (absl::IsCancelled(followed)) {
    AwaitEnd();
    return Outcome();
  }
  RETURN_IF_ERROR(followed);
  return Outcome();
}

void Evaluator::AwaitEnd() {
  const absl::Time deadline = absl::Now() + kLastEventTimeout;
  while (!Terminal(status_.state()) && absl::Now() < deadline) {
    const std::optional<control::JobEvent> event = watch_->Next(kEventWait);
    if (event.has_value() && event->has_status()) status_ = event->status();
    if (!event.has_value() && watch_->ended()) return;
  }
}

absl::Status Evaluator::FollowToEnd() {
  RETURN_IF_ERROR(Follow());
  return FinishRun();
}

// Handles events until training has ended.
absl::Status Evaluator::Follow() {
  while (!over_) {
    RETURN_IF_ERROR(session_.failure());
    PollActions();
    RETURN_IF_ERROR(ExportWaiting(absl::ZeroDuration()));
    const std::optional<control::JobEvent> event = watch_->Next(kEventWait);
    if (event.has_value()) {
      RETURN_IF_ERROR(OnEvent(*event));
    } else if (watch_->ended()) {
      const absl::Status status = watch_->status();
      if (!status.ok() && !absl::IsUnavailable(status)) return status;
      // The coordinator is away: the lease judges for how long.
      absl::SleepFor(kEventWait);
      Watch();
    }
  }
  return absl::OkStatus();
}

absl::Status Evaluator::OnEvent(const control::JobEvent& event) {
  switch (event.event_case()) {
    case control::JobEvent::kProgress:
      return OnProgress(event.progress());
    case control::JobEvent::kStatus:
      status_ = event.status();
      over_ = status_.state() == control::JOB_FINISHING ||
              Terminal(status_.state());
      return absl::OkStatus();
    case control::JobEvent::kNote:
      LOG(WARNING) << event.note();
      return absl::OkStatus();
    default:
      return absl::OkStatus();
  }
}

absl::Status Evaluator::OnProgress(const control::ClockProgress& progress) {
  const int64_t clock = progress.clock();
  // Clocks come again after the job went back to a checkpoint.
  const bool again = clock < next_clock_;
  next_clock_ = std::max(next_clock_, clock + 1);
  if (clock > start_clock_ && Every(solver_.test_interval(), clock))
    RETURN_IF_ERROR(TestAll(clock, false));
  if (again) return absl::OkStatus();
  const float smoothed = smoother_.Add(static_cast<float>(progress.loss()),
                                       clock - start_clock_);
  const bool displays = Every(solver_.display(), clock);
  if (displays)
    LogDisplay(clock, clock - display_clock_,
               progress.unix_seconds() - display_seconds_, solver_.display(),
               smoothed, Samples(progress));
  if (solver_.lr_policy() == "multistep" && clock > 0 &&
      policy_.CurrentStep(clock) > policy_.CurrentStep(clock - 1))
    LogStepTaken(clock, policy_.CurrentStep(clock));
  if (!displays) return absl::OkStatus();
  LogRate(clock, progress.rate());
  display_seconds_ = progress.unix_seconds();
  display_clock_ = clock;
  return absl::OkStatus();
}

absl::Status Evaluator::PullWeights(int64_t clock) {
  if (held_ == clock) return absl::OkStatus();
  held_ = -1;
  RETURN_IF_ERROR(PullCut(clock, 0, nets_.train->weights()));
  nets_.train->WeightsChanged();
  for (const std::unique_ptr<Net>& net : nets_.tests) net->WeightsChanged();
  held_ = clock;
  return absl::OkStatus();
}

absl::Status Evaluator::TestAll(int64_t clock, bool last) {
  if (nets_.tests.empty() || clock <= tested_) return absl::OkStatus();
  const absl::Status pulled = PullWeights(clock);
  if (absl::IsNotFound(pulled) && !last) {
    Note(absl::StrCat("Iteration ", clock,
                      ": test skipped, an earlier one was still running"));
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(pulled);
  tested_ = clock;
  for (size_t i = 0; i < nets_.tests.size(); ++i) {
    LogTestBegin(clock, static_cast<int>(i));
    TestOptions options;
    options.batches = nets_.test_iter[i];
    options.seed = static_cast<uint64_t>(session_.spec().seed());
    options.interrupted = [this] {
      PollActions();
      return !session_.failure().ok();
    };
    ASSIGN_OR_RETURN(const TestScores scores,
                     RunTest(*nets_.tests[i], options));
    if (scores.interrupted) {
      LOG(INFO) << "Test interrupted.";
      return session_.failure();
    }
    LogTestScores(scores, solver_.test_compute_loss());
    ReportTest(clock, static_cast<int>(i), scores);
  }
  return absl::OkStatus();
}

void Evaluator::ReportTest(int64_t clock, int net, const TestScores& scores) {
  control::WorkerReport report;
  control::TestResult& test = *report.mutable_test();
  test.set_clock(clock);
  test.set_net(net);
  test.set_unix_seconds(UnixSeconds());
  for (const OutputSample& sample : scores.outputs) {
    control::OutputValue& output = *test.add_outputs();
    output.set_name(sample.name);
    output.set_index(sample.index);
    output.set_value(sample.value);
    output.set_loss_weight(sample.loss_weight);
  }
  session_.Report(std::move(report));
}

void Evaluator::Note(const std::string& text) {
  LOG(INFO) << text;
  control::WorkerReport report;
  report.set_note(text);
  session_.Report(std::move(report));
}

absl::Status Evaluator::ExportWaiting(absl::Duration timeout) {
  while (true) {
    const std::optional<control::CheckpointInfo> checkpoint =
        session_.NextCheckpoint(timeout);
    if (!checkpoint.has_value()) return absl::OkStatus();
    const absl::Status exported = Export(*checkpoint);
    // The checkpoint itself is safe on the servers: training goes on.
    if (!exported.ok())
      Note(absl::StrCat("checkpoint ", checkpoint->checkpoint_id(),
                        " was not exported: ", exported.message()));
    timeout = absl::ZeroDuration();
  }
}

absl::Status Evaluator::Export(const control::CheckpointInfo& checkpoint) {
  const int64_t clock = checkpoint.clock();
  std::vector<std::vector<float>> history(num_history_);
  std::vector<absl::Span<const float>> slots;
  for (int slot = 0; slot < num_history_; ++slot) {
    history[slot].resize(nets_.train->weights().size());
    RETURN_IF_ERROR(
        PullCut(clock, slot + 1, absl::MakeSpan(history[slot])));
    slots.push_back(history[slot]);
  }
  RETURN_IF_ERROR(PullWeights(clock));
  ASSIGN_OR_RETURN(const SnapshotFiles files,
                   WriteSnapshot(solver_, *nets_.train, clock, slots,
                                 FromRecord(checkpoint.plateau())));
  control::WorkerReport report;
  report.mutable_exported()->set_clock(clock);
  report.mutable_exported()->set_caffemodel(files.caffemodel);
  report.mutable_exported()->set_solverstate(files.solverstate);
  session_.Report(std::move(report));
  return absl::OkStatus();
}

// As BVLC's Solve ends: snapshot, loss, test.
absl::Status Evaluator::FinishRun() {
  const absl::Time deadline = absl::Now() + kEndTimeout;
  while (!session_.job_finished() && !Terminal(status_.state()) &&
         absl::Now() < deadline) {
    RETURN_IF_ERROR(session_.failure());
    RETURN_IF_ERROR(ExportWaiting(kEventWait));
  }
  RETURN_IF_ERROR(ExportWaiting(absl::ZeroDuration()));
  if (Terminal(status_.state()) && status_.state() != control::JOB_SUCCEEDED)
    return absl::OkStatus();
  const int64_t end = solver_.max_iter();
  // The last clocks' progress may have been lost with the coordinator.
  const bool trained =
      session_.job_finished() || status_.state() == control::JOB_SUCCEEDED;
  if (next_clock_ < end && !trained) {
    LOG(INFO) << "Optimization stopped early.";
    return absl::OkStatus();
  }
  if (Every(solver_.display(), end) &&
      PullWeights(end).ok()) {
    StepState state;
    state.clock = end;
    state.seed = static_cast<uint64_t>(session_.spec().seed());
    state.first_record = end * solver_.iter_size() *
                         session_.spec().workers() * BatchSize(*nets_.train);
    double loss = 0;
    RETURN_IF_ERROR(nets_.train->Forward(state, &loss));
    LogFinalLoss(end, smoother_.Add(static_cast<float>(loss),
                                    end - start_clock_));
  }
  if (Every(solver_.test_interval(), end))
    RETURN_IF_ERROR(TestAll(end, true));
  LOG(INFO) << "Optimization Done.";
  return absl::OkStatus();
}

void Evaluator::PollActions() {
  if (options_.actions == nullptr) return;
  while (true) {
    switch (options_.actions->Poll()) {
      case SolverAction::kNone:
        return;
      case SolverAction::kAbort:
      case SolverAction::kStop:
      case SolverAction::kLeave:
        StopJob();
        break;
      case SolverAction::kSnapshot: {
        const auto answer = session_.coordinator().CheckpointJob(
            session_.job(), kCheckpointTimeout);
        if (!answer.ok()) LOG(WARNING) << answer.status().message();
        break;
      }
    }
  }
}

// As Caffe on Ctrl-C: a snapshot, unless the solver wants none, then the end.
void Evaluator::StopJob() {
  if (cancelled_) return;
  cancelled_ = true;
  if (solver_.snapshot_after_train()) {
    const auto answer = session_.coordinator().CheckpointJob(
        session_.job(), kCheckpointTimeout);
    absl::Status status = answer.status();
    if (status.ok()) status = ExportWaiting(absl::Seconds(2));
    if (!status.ok()) LOG(WARNING) << status.message();
  }
  const auto answer = session_.coordinator().CancelJob(session_.job());
  if (!answer.ok()) LOG(WARNING) << answer.status().message();
  LOG(INFO) << "Optimization stopped early.";
}

absl::Status Evaluator::Outcome() const {
  if (cancelled_) return absl::OkStatus();
  switch (status_.state()) {
    case control::JOB_FAILED:
      return absl::AbortedError(
          absl::StrCat("job ", session_.job(), " failed: ", status_.message()));
    case control::JOB_CANCELLED:
      return absl::CancelledError(
          absl::StrCat("job ", session_.job(), " was cancelled"));
    default:
      return absl::OkStatus();
  }
}

absl::Status RunEvaluator(JobSession& session,
                          const EvaluatorOptions& options) {
  absl::Status status;
  {
    absl::StatusOr<std::unique_ptr<Evaluator>> evaluator =
        Evaluator::Create(session, options);
    status = evaluator.ok() ? (*evaluator)->Run() : evaluator.status();
  }
  session.Leave(status);
  return status;
}

}  // namespace cssp
