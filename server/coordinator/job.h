// A job as the coordinator holds it: plain data, guarded by the coordinator's
// lock except where said.
#ifndef CSSP_SERVER_COORDINATOR_JOB_H_
#define CSSP_SERVER_COORDINATOR_JOB_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/bounded_queue.h"
#include "common/optim/learning_rate_policy.h"
#include "common/optim/plateau.h"
#include "common/ps/slab_layout.h"
#include "proto/control.pb.h"
#include "server/coordinator/batch_policy.h"
#include "server/coordinator/event_log.h"
#include "server/coordinator/progress.h"
#include "server/coordinator/shard_control.h"
#include "server/coordinator/staleness_policy.h"

namespace cssp {

// The evaluator's rank, in members and on the wire.
inline constexpr int kEvaluatorRank = -1;

using DirectiveQueue = BoundedQueue<control::WorkerDirective>;

// One worker, or the evaluator (rank -1).
struct Member {
  enum class State { kJoining, kRunning, kDone, kDead };

  control::WorkerStatus status;    // rank, host, pid, clock, ...
  State state = State::kJoining;
  uint32_t incarnation = 0;
  std::string request_id;
  absl::Time last_seen;
  bool declared = false;
  int64_t samples_per_clock = 0;
  double samples = 0;
  absl::Time dead_since;
  bool restored = false;  // from the store, and has not been heard of since
  int64_t clocks = 0;              // reported by this incarnation
  absl::Time last_clock;           // when the last report came
  bool leaves = false;             // let go by an order
  bool failed = false;             // by its own word
  // Directives to the lease's stream; null before it is there.
  std::shared_ptr<DirectiveQueue> directives;

  bool live() const {
    return state == State::kJoining || state == State::kRunning;
  }
  // And its name, in status.
  void SetState(State to);
};

// A consistent cut on its way to a checkpoint.
struct Cut {
  std::map<int, control::ShardCheckpoint> parts;  // by index into the shard map
  absl::Time begun;
  bool committing = false;  // all parts are in; the manifest is being written
  bool ended = false;
  absl::Status result;      // once ended
  control::CheckpointInfo info;
};

// What the first DeclareLayout decides for everyone.
struct PlacedModel {
  ps::SlabLayout layout;
  control::ShardMap map;
  std::vector<std::string> server_ids;                  // as map.servers
  std::vector<std::string> directories;
  std::vector<std::shared_ptr<ShardControl>> shards;
  std::vector<uint64_t> registrations;                  // the servers' present
};

// Under way from the loss of a shard until every server of the map holds the
// job again.
struct Recovery {
  std::string why;           // one line
  absl::Time since;
  absl::Time next_try;
  bool told = false;         // the members were told to declare anew
  bool log_failed = false;   // back to a checkpoint instead
  std::set<int64_t> damaged;  // cuts that could not be read
};

// What an order does to who trains.  It is applied to those who train when the
// order's turn comes, and they change with it in one step: two changes on their
// way at once do not undo each other.
struct MembershipChange {
  std::optional<int> joins;   // a rank that has declared while the job runs
  uint32_t incarnation = 0;   // of joins
  std::set<int> leaves;       // ranks that are let go
};

// Live workers are being asked about an order.
struct Asking {
  uint64_t number = 0;
  control::WorkerDirective directive;
  std::set<int> awaited;           // ranks
  int64_t begun = -1;              // highest clock that one has begun
};

struct Job {
  enum class Opening { kNo, kUnderWay, kOpen };

  std::string id;
  uint32_t number = 0;
  std::string token;
  control::JobSpec spec;  // as run: seed drawn
  // State, message, times, tests, exports, checkpoints, clock, loss.
  control::JobStatus status;
  std::optional<LearningRatePolicy> rate;
  std::optional<PlateauTracker> plateau;  // to tell the rate: shards decide it
  std::map<int, Member> members;  // by rank
  std::map<int, uint32_t> incarnations;

  Opening opening = Opening::kNo;
  std::optional<PlacedModel> model;
  std::optional<Progress> progress;
  EventLog events;

  std::map<int64_t, Cut> cuts;
  uint64_t orders = 0;         // last order's number
  std::optional<Recovery> recovery;
  uint64_t recoveries = 0;     // how often members were told to declare anew
  int64_t first_clock = 0;     // where the job began
  PlateauRecord first_plateau;  // under that lr_policy, at first_clock
  bool released = false;       // workers were told that nothing will come
  std::set<int64_t> asked;     // cuts that a person asked for
  absl::Time last_cut;         // begun
  std::optional<Asking> asking;
  bool members_changed = false;  // an order about it could not be placed yet
  // Who takes how many records, by the clock from which that holds.
  std::map<int64_t, control::Order> deals;
  std::optional<StalenessPolicy> dssp;
  std::optional<BatchPolicy> balance;
  absl::Time stall_told = absl::InfinitePast();
  bool cancelling = false;
  absl::Time cancel_since;
  absl::Time finishing_since;
  bool evaluator_told = false;  // that the job is finished
  bool evaluator_missed = false;  // a note says that the end waits for it
  std::string first_failure;    // a worker's own reason

  // Orders are placed one after the other.  Taken before the coordinator's
  // lock, never while holding it.
  absl::Mutex order_mu;
};

}  // namespace cssp

#endif  // CSSP_SERVER_COORDINATOR_JOB_H_
