// Job registry, membership, placement, orders and checkpoints of a cluster:
// the logic, without gRPC and without threads of its own but one.
#ifndef CSSP_SERVER_COORDINATOR_COORDINATOR_H_
#define CSSP_SERVER_COORDINATOR_COORDINATOR_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/bounded_queue.h"
#include "common/base/thread.h"
#include "common/base/time_source.h"
#include "proto/checkpoint.pb.h"
#include "proto/config.pb.h"
#include "proto/control.pb.h"
#include "server/coordinator/job.h"
#include "server/coordinator/metrics.h"
#include "server/coordinator/shard_control.h"
#include "server/storage/param_store.h"

namespace cssp {

struct CoordinatorOptions {
  LeaseConfig lease;
  RecoveryConfig recovery;
  int keep_checkpoints = 5;
  uint64_t max_model_bytes = uint64_t{16} << 30;
  // How long FINISHING waits for the last cut, and a cancelled or draining job
  // for its workers.
  absl::Duration last_cut_wait = absl::Minutes(2);
  absl::Duration stop_wait = absl::Seconds(30);
  // A member that has joined but keeps no lease yet is given this long.
  absl::Duration join_wait = absl::Minutes(5);
  // Drain ends the jobs: nobody starts this coordinator again.
  bool leaves_for_good = false;
  int max_jobs = 256;                    // remembered; the oldest ended go
  TimeSource* time = nullptr;            // borrowed
  std::function<double()> unix_seconds;  // wall time, for stamps
  ParamStore* store = nullptr;           // borrowed
  ShardControlFactory connect;           // to servers elsewhere
  CoordinatorMetrics* metrics = nullptr;  // borrowed; may be null
};

// Names one attached lease.
struct LeaseHandle {
  std::string job_id;
  int rank = 0;
  uint32_t incarnation = 0;
  // Pop until closed: the stream ends then.
  std::shared_ptr<DirectiveQueue> directives;
};

// Fills in bytes and jobs of a server's info, as of now.
using ServerLoad = std::function<void(control::ServerInfo*)>;
using ServerDirectiveQueue = BoundedQueue<control::ServerDirective>;
struct ServerHandle {
  int index = 0;
  uint64_t registration = 0;
  std::shared_ptr<ServerDirectiveQueue> directives;
};

// A reader's place in a job's events.
struct WatchCursor {
  std::string job_id;
  int64_t from_clock = 0;
  bool begun = false;
  uint64_t next = 0;
  bool ended = false;  // the last event has been given
};

// Thread-safe (monitor).  Shards are called without the lock held; what a
// report sets off (orders, closing, commits) is queued and done by Step, on
// the housekeeping thread.
//
// Invariants:
// 1. A job's state only moves forward (but a recovery takes FINISHING back to
//    RUNNING where clocks are lost); terminal states are final and stored.
// 2. A checkpoint is listed only after its manifest is durable, and its
//    manifest is written only after every server's part is.
// 3. Of one rank at most one incarnation is live; reports of others are refused.
class Coordinator {
 public:
  // Loads what earlier runs have stored; jobs that were under way go on when
  // their servers have registered.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Create(
      CoordinatorOptions options);
  ~Coordinator() { Stop(); }

  // Housekeeping on a thread of its own, every heartbeat.  Tests call Step.
  void Start();
  void Stop();
  // Judges leases and deadlines, then runs what is queued.
  void Step() ABSL_LOCKS_EXCLUDED(mu_);

  // ---- People ----
  // The same request_id gives the same job.
  absl::StatusOr<control::SubmitJobResponse> SubmitJob(
      const control::JobSpec& spec) ABSL_LOCKS_EXCLUDED(mu_);
  control::ListJobsResponse ListJobs() const ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<control::JobStatus> DescribeJob(const std::string& id) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // Workers stop after the clock that they are in; repeated calls do nothing.
  absl::StatusOr<control::JobStatus> CancelJob(const std::string& id)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Orders a cut and waits until it is committed.
  absl::StatusOr<control::CheckpointInfo> CheckpointJob(const std::string& id,
                                                        absl::Duration wait)
      ABSL_LOCKS_EXCLUDED(mu_);
  control::ListServersResponse ListServers() const ABSL_LOCKS_EXCLUDED(mu_);
  // Orders; what each gives is the clock from which it holds.
  absl::StatusOr<control::OrderPlaced> SetStaleness(const std::string& id,
                                                    int staleness)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Lets a worker go: it finishes the clock before, and leaves.
  absl::StatusOr<control::OrderPlaced> DrainWorker(const std::string& id,
                                                   int rank)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Lets the newest workers go, or admits more: whoever launches them sees
  // wanted_workers.
  absl::StatusOr<control::JobStatus> ScaleJob(const std::string& id,
                                              int workers)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The next events of a job, waiting up to `timeout` for one.
  absl::StatusOr<std::vector<control::JobEvent>> NextEvents(
      WatchCursor* cursor, absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mu_);

  // ---- Members ----
  absl::StatusOr<control::JoinJobResponse> JoinJob(
      const control::JoinJobRequest& request) ABSL_LOCKS_EXCLUDED(mu_);
  // The first call places the model and opens the shards; others wait for it,
  // up to `wait`, and must declare the same.
  absl::StatusOr<control::DeclareLayoutResponse> DeclareLayout(
      const control::DeclareLayoutRequest& request, absl::Duration wait)
      ABSL_LOCKS_EXCLUDED(mu_);
  // `first` names the member; its body counts as a report.
  absl::StatusOr<LeaseHandle> OpenLease(const control::WorkerReport& first)
      ABSL_LOCKS_EXCLUDED(mu_);
  // FailedPrecondition when this incarnation counts as dead, PermissionDenied
  // when another has taken its rank.
  absl::Status Report(const control::WorkerReport& report)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The stream is gone: without a `done` before, the member is dead.
  void LeaseEnded(const LeaseHandle& lease) ABSL_LOCKS_EXCLUDED(mu_);

  // ---- Servers ----
  // The one in this process: never silent.
  absl::Status AddLocalServer(const control::ServerInfo& info,
                              std::shared_ptr<ShardControl> shard,
                              ServerLoad load) ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<ServerHandle> OpenServer(const control::ServerInfo& hello)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status ReportServer(const ServerHandle& server,
                            const control::ServerReport& report)
      ABSL_LOCKS_EXCLUDED(mu_);
  void ServerEnded(const ServerHandle& server) ABSL_LOCKS_EXCLUDED(mu_);
  // A server's part of a cut; `server_id` is ServerInfo.id.
  void OnShardCheckpoint(const std::string& server_id,
                         const control::ShardCheckpoint& part)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Takes no more jobs; checkpoints those with a shard in this process, which
  // then wait for it (leaves_for_good: ends all), within `bound`.
  void Drain(absl::Duration bound) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Server {
    control::ServerInfo info;
    std::shared_ptr<ShardControl> shard;
    std::shared_ptr<ServerDirectiveQueue> directives;
    absl::Time last_seen;
    uint64_t registration = 0;
    bool local = false;
    ServerLoad load;  // of the local one; takes no lock of ours
    std::map<std::string, uint32_t> held;  // job -> epoch of its open shard
  };
  using Action = std::function<void()>;
  using JobPtr = std::shared_ptr<Job>;

  explicit Coordinator(CoordinatorOptions options)
      : options_(std::move(options)) {}

  // coordinator_jobs.cc
  absl::Status LoadJobs() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<JobPtr> FindLocked(const std::string& id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status StoreLocked(const Job& job, bool sync)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status ResumeLocked(Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetOldJobsLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  control::JobStatus SummaryLocked(const Job& job) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetStateLocked(Job& job, control::JobState state,
                      const std::string& message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // To a terminal state: tells members, closes shards, stores.
  void EndLocked(const JobPtr& job, control::JobState state,
                 const std::string& message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Moves the job on if what it waits for has come.
  void SettleLocked(const JobPtr& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool AwaitsCutLocked(const Job& job) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool AwaitsEvaluatorLocked(Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string LackLocked(const Job& job) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AppendLocked(Job& job, control::JobEvent event)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NoteLocked(Job& job, const std::string& text)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CloseShards(const JobPtr& job) ABSL_LOCKS_EXCLUDED(mu_);

  // coordinator_members.cc
  absl::StatusOr<Member*> MemberLocked(Job& job, int rank, uint32_t incarnation)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<int> ChooseRankLocked(const Job& job,
                                       const control::JoinJobRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReportLocked(const JobPtr& job, Member& member,
                    const control::WorkerReport& report)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ClockLocked(const JobPtr& job, Member& member,
                   const control::ClockReport& clock)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ProgressLocked(Job& job,
                      const std::vector<control::ClockProgress>& clocks)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DeadLocked(const JobPtr& job, Member& member, const std::string& why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // A worker that trained says that none can: the job ends.
  void WrongLocked(const JobPtr& job, Member& member, const std::string& why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ExpireMembersLocked(const JobPtr& job)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TellWorkersLocked(Job& job, const control::WorkerDirective& directive)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // coordinator_layout.cc
  absl::StatusOr<control::DeclareLayoutResponse> Declare(
      const control::DeclareLayoutRequest& request, absl::Duration wait)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<PlacedModel> PlaceLocked(
      const Job& job, const control::DeclareLayoutRequest& request,
      ps::SlabLayout layout) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<ps::SlabLayout> LayoutLocked(
      const Job& job, const control::DeclareLayoutRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // As the shards are opened now, but for where their values come from.
  control::OpenShardRequest OpenRequestLocked(const Job& job,
                                              const PlacedModel& model) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The shards of `which` (indices into the map).
  static absl::Status OpenShards(const control::OpenShardRequest& base,
                                 const PlacedModel& model,
                                 const std::vector<int>& which);
  // The model's servers have a shard of that epoch open; 0: of whichever.
  // Unavailable where one has been lost since the model was placed, or has
  // registered anew.
  absl::Status HoldLocked(const Job& job, const PlacedModel& model,
                          uint32_t epoch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<PlacedModel> PlaceOnLiveLocked(const Job& job,
                                                ps::SlabLayout layout)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status OpenModel(const JobPtr& job,
                         const control::DeclareLayoutRequest& request)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<control::DeclareLayoutResponse> DeclaredLocked(
      const JobPtr& job, const control::DeclareLayoutRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // coordinator_orders.cc
  absl::Status TakesOrdersLocked(const Job& job) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // At a clock that neither a shard nor a live worker has begun, `margin`
  // clocks beyond the first that could be.
  absl::StatusOr<int64_t> PlaceOrder(const JobPtr& job, control::Order order,
                                     const MembershipChange& change = {},
                                     int64_t margin = 0)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status TakenOrder(const JobPtr& job,
                          const control::ProposeOrderRequest& request,
                          const MembershipChange& change)
      ABSL_LOCKS_EXCLUDED(mu_);
  // From a clock on those train who do now, `change` applied.
  absl::StatusOr<int64_t> PlaceMembers(const JobPtr& job,
                                       const MembershipChange& change = {},
                                       int64_t margin = 0)
      ABSL_LOCKS_EXCLUDED(mu_);
  void WorkerGone(const JobPtr& job, int rank, uint32_t incarnation)
      ABSL_LOCKS_EXCLUDED(mu_);
  void CommitCut(const JobPtr& job, int64_t clock) ABSL_LOCKS_EXCLUDED(mu_);
  void EndCutLocked(const JobPtr& job, int64_t clock, const absl::Status& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends the cuts that have taken too long.
  void ExpireCutsLocked(const JobPtr& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // A checkpoint, or the end: that is in the servers' memory, whatever has
  // become of its records.
  bool MayPullLocked(const Job& job, int64_t clock, const Cut& cut) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Of the last clock; OK where there is none.
  absl::Status LastCutLocked(const Job& job) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Manifest ManifestLocked(const Job& job, int64_t clock) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CollectGarbage(const std::string& job_id) ABSL_LOCKS_EXCLUDED(mu_);
  void SendCheckpointLocked(Job& job, const control::CheckpointInfo& info)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // coordinator_recovery.cc
  struct Reopening;
  // A shard of the job is lost, or may be.
  void BeginRecoveryLocked(const JobPtr& job, const std::string& why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Opens what is lost again, where everything needed is there.
  void Recover(const JobPtr& job) ABSL_LOCKS_EXCLUDED(mu_);
  bool PlanLocked(const JobPtr& job, Reopening* plan)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status PlanRollbackLocked(const JobPtr& job, bool replace,
                                  Reopening* plan)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status ChooseCutLocked(const Job& job, Reopening* plan)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReopenedLocked(const JobPtr& job, Reopening plan, absl::Status opened)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FailedReopeningLocked(const JobPtr& job, const Reopening& plan,
                             const absl::Status& why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RolledBackLocked(const JobPtr& job, int64_t clock)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EndRecoveryLocked(const JobPtr& job, const std::string& how)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TellRejoinLocked(Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Server* LiveServerLocked(const std::string& id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string ResumeHintLocked(const Job& job) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void StoreRunLocked(const Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status LoadRunLocked(Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Asks every shard where this worker goes on, and commits it.
  static absl::Status RejoinShards(
      const std::vector<std::shared_ptr<ShardControl>>& shards,
      control::RejoinWorkerRequest request,
      control::DeclareLayoutResponse* response);
  void OrderTimedCutsLocked(const JobPtr& job)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // coordinator_elastic.cc
  absl::StatusOr<int64_t> AskWorkers(const JobPtr& job,
                                     const control::Order& order)
      ABSL_LOCKS_EXCLUDED(mu_);
  void AnsweredLocked(Job& job, int rank, const control::OrderAnswer& answer)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WithdrawOrder(const JobPtr& job,
                     const std::vector<std::shared_ptr<ShardControl>>& shards,
                     control::ProposeOrderRequest request)
      ABSL_LOCKS_EXCLUDED(mu_);
  void PlacedLocked(Job& job, const control::Order& order,
                    const MembershipChange& change)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<control::OrderPlaced> OrderStaleness(const JobPtr& job,
                                                      int staleness,
                                                      const std::string& why)
      ABSL_LOCKS_EXCLUDED(mu_);
  void ObservePaceLocked(const JobPtr& job, const Member& member,
                         const control::ClockReport& clock)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Duration StallBoundLocked(const Job& job) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void JudgeStallsLocked(const JobPtr& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int WantedLocked(const Job& job) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void TellOrdersLocked(const Job& job, DirectiveQueue& to);
  void OrderMembers(const JobPtr& job) ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<int64_t> LetGo(const JobPtr& job, const std::set<int>& ranks)
      ABSL_LOCKS_EXCLUDED(mu_);
  void LeavingLocked(const JobPtr& job, Member& member)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<int> NewcomerRankLocked(const Job& job) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status AdmitNewcomer(const control::DeclareLayoutRequest& request,
                             control::DeclareLayoutResponse* response)
      ABSL_LOCKS_EXCLUDED(mu_);

  // coordinator_deals.cc
  int64_t RecordsBeforeLocked(const Job& job, int64_t clock) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  control::MembershipOrder MembersLocked(
      const Job& job, const MembershipChange& change = {}) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Refuses to let the last live worker go.
  absl::StatusOr<control::MembershipOrder> ChangedMembersLocked(
      const Job& job, const MembershipChange& change) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void BeginDealsLocked(Job& job, int64_t samples_per_clock,
                        int64_t first_record)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AddDealsLocked(const Job& job,
                      control::DeclareLayoutResponse* response) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RestartDealsLocked(Job& job, int64_t clock)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void ShowDealLocked(Job& job);
  void ObserveSpeedLocked(const JobPtr& job, const Member& member,
                          const control::ClockReport& clock)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Balance(const JobPtr& job) ABSL_LOCKS_EXCLUDED(mu_);
  // After a restart: the last deal's batches.
  static void RestoreBalanceLocked(Job& job);

  // coordinator_servers.cc
  // `how` follows its name in a line: "was lost: ...", "has left".
  void ServerGoneLocked(Server& server, const std::string& how)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void HeldLocked(Server& server, const control::HeldShard& held)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ServerDraining(int index) ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<JobPtr> JobsOnLocked(const std::string& server_id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Checkpoints the job and lets it wait as for a lost server; where it cannot
  // go on, fails it with a line that says how to resume.
  void EvacuateJob(const JobPtr& job, const std::string& why, bool goes_on,
                   absl::Duration bound) ABSL_LOCKS_EXCLUDED(mu_);

  void LaterLocked(Action action) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    actions_.push_back(std::move(action));
  }
  void ExpireLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Time Now() const { return options_.time->Now(); }

  const CoordinatorOptions options_;
  mutable absl::Mutex mu_;
  std::map<uint32_t, JobPtr> jobs_ ABSL_GUARDED_BY(mu_);  // by number
  std::map<std::string, JobPtr> jobs_by_id_ ABSL_GUARDED_BY(mu_);
  uint32_t next_job_ ABSL_GUARDED_BY(mu_) = 1;
  std::vector<Server> servers_ ABSL_GUARDED_BY(mu_);  // index = ServerInfo.index
  uint64_t registrations_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<Action> actions_ ABSL_GUARDED_BY(mu_);
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  // Waits for checkpoints of jobs whose server leaves; joined by Stop.
  std::vector<Thread> drains_ ABSL_GUARDED_BY(mu_);
  Thread housekeeping_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_COORDINATOR_COORDINATOR_H_
