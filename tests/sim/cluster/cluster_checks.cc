// ClusterSim: what every read, cut and shard is held against.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "tests/sim/cluster/cluster_sim.h"

namespace cssp {

float ClusterSim::Gradient(int rank, int64_t clock, int chunk) const {
  return static_cast<float>((rank * 7 + clock * 3 + chunk) % 11) - 5;
}

// PER_PUSH: float q of a chunk counts the clocks of worker q that are in, the
// last one holds a number for each.
void ClusterSim::FillGradient(int rank, const PendingPush& push,
                              absl::Span<float> out) const {
  if (!push.gradient.empty()) {
    std::copy(push.gradient.begin(), push.gradient.end(), out.begin());
    return;
  }
  const float gradient = Gradient(rank, push.clock, push.chunk);
  std::fill(out.begin(), out.end(), gradient);
  if (!config_.per_push) return;
  std::fill_n(out.begin(), config_.workers, 0.0f);
  out[rank] = -static_cast<float>(config_.workers);
}

// The value of a version by the definition of PER_CLOCK.
float ClusterSim::Expected(int chunk, int64_t version) {
  std::vector<float>& values = expected_[chunk];
  while (static_cast<int64_t>(values.size()) <= version) {
    float sum = 0;
    for (int rank = 0; rank < config_.workers; ++rank) {
      sum += Gradient(rank, values.size() - 1, chunk);
    }
    const float mean = sum * (1.0f / static_cast<float>(config_.workers));
    values.push_back(values.back() - mean);
  }
  return values[version];
}

void ClusterSim::CheckRead(int rank, int chunk) {
  const Worker& worker = workers_[rank];
  const int64_t version = worker.cache->installed(chunk);
  if (version < worker.clock - config_.staleness || version > worker.clock) {
    return Fail(absl::StrCat("worker ", rank, " in clock ", worker.clock,
                             " reads version ", version, " of chunk ", chunk));
  }
  ++stats_.reads[worker.clock - version];
  if (config_.gradient) return;
  if (config_.per_push) return CheckPerPushRead(rank, chunk);
  // Whoever reads a version reads the same; without faults of membership, what
  // the definition says, so nothing is lost or counted twice.
  const float value = Weights(rank, chunk)[0];
  const auto [it, first] =
      read_.emplace(std::make_pair(chunk, version), value);
  if (it->second != value) {
    return Fail(absl::StrCat("two values of version ", version));
  }
  if (Exact() && value != Expected(chunk, version)) {
    Fail(absl::StrCat("chunk ", chunk, " version ", version, " is ", value,
                      ", not ", Expected(chunk, version)));
  }
}

// Which updates are visible: the first count[q] of every worker q.  All before
// clock - s, all of one's own, none beyond clock + s; and the values are what
// these updates make, no more and no less.
void ClusterSim::CheckPerPushRead(int rank, int chunk) {
  if (!Exact()) return;
  const int64_t clock = workers_[rank].clock;
  const absl::Span<const float> values = Weights(rank, chunk);
  double sum = 0;
  for (int q = 0; q < config_.workers; ++q) {
    const int64_t count = std::llround(values[q]);
    const bool good = q == rank ? count == clock
                                : count >= clock - config_.staleness &&
                                      count <= clock + config_.staleness + 1;
    if (!good) {
      return Fail(absl::StrCat("worker ", rank, " in clock ", clock, " sees ",
                               values[q], " clocks of worker ", q));
    }
    for (int64_t c = 0; c < count; ++c) sum += Gradient(q, c, chunk);
  }
  const double expected = -sum / config_.workers;
  if (std::abs(values[kChunkFloats - 1] - expected) > 1e-3) {
    Fail(absl::StrCat("worker ", rank, " in clock ", clock, " reads ",
                      values[kChunkFloats - 1], ", its updates make ",
                      expected));
  }
}

// Version k of a cut holds the clocks before k and nothing else.
void ClusterSim::CheckCut(const Shard& shard, const RetainedCut& cut) {
  if (!Exact()) return;
  for (size_t i = 0; i < cut.chunks.size(); ++i) {
    const int chunk = shard.chunks()[i].id;
    const absl::Span<const float> values = cut.chunks[i][0].floats();
    bool good = config_.per_push || values[0] == Expected(chunk, cut.clock);
    for (int q = 0; config_.per_push && q < config_.workers; ++q) {
      good = good && std::llround(values[q]) == cut.clock;
    }
    if (!good) {
      Fail(absl::StrCat("cut ", cut.clock, " of chunk ", chunk,
                        " is not version ", cut.clock));
    }
  }
}

void ClusterSim::CheckEnd() {
  for (int rank = 0; rank < config_.workers && failure_.empty(); ++rank) {
    const Worker& worker = workers_[rank];
    if (worker.alive && !worker.finished) {
      Fail(absl::StrCat("deadlock: worker ", rank, " stands in clock ",
                        worker.clock));
    }
  }
  for (int c = 0; c < config_.chunks && failure_.empty(); ++c) {
    for (const ChunkState& chunk : ServerOf(c).shard().chunks()) {
      if (chunk.version != config_.clocks) {
        Fail(absl::StrCat("chunk ", chunk.id, " ends at version ",
                          chunk.version));
      }
    }
    // Conservation: every update is in, once.
    for (int q = 0; config_.per_push && Exact() && q < config_.workers; ++q) {
      if (std::llround(values(c)[q]) == config_.clocks) continue;
      Fail(absl::StrCat("chunk ", c, " ends with ", values(c)[q],
                        " clocks of worker ", q));
    }
  }
}

// With a network that takes no time, a worker blocks only where the rule
// demands it: somebody has not committed clock - s.  So the slowest never does.
void ClusterSim::CheckBlocked(int rank) {
  const Worker& worker = workers_[rank];
  // Read-my-writes makes whoever is past a cut wait for the others.
  if (config_.per_push && config_.snapshot > 0) return;
  bool parked = false;
  for (const auto& server : servers_) {
    for (const ChunkState& chunk : server->shard().chunks()) {
      parked = parked || (chunk.parked[rank].parked &&
                          chunk.parked[rank].clock == worker.clock);
    }
  }
  if (!parked || worker.finished) return;
  ++stats_.blocked_reads;
  for (int other = 0; other < config_.workers; ++other) {
    const Worker& slow = workers_[other];
    if (!slow.finished && slow.clock < worker.clock - config_.staleness) return;
  }
  Fail(absl::StrCat("worker ", rank, " blocks in clock ", worker.clock,
                    " without need"));
}

// A clock counts as done only if this chunk's part of it is in.
void ClusterSim::CheckDone(const Shard& shard, const ChunkState& chunk,
                           int rank) {
  const int64_t done = shard.done(rank);
  const int64_t in = config_.per_push ? shard.FreshnessFor(chunk, rank).own
                                      : chunk.version;
  if (done == kClockInfinity || done <= in || chunk.summed) return;
  if (config_.per_push && config_.snapshot == 0 && config_.dead_rank < 0) {
    Fail(absl::StrCat("a whole clock of worker ", rank, " is not applied"));
  }
  for (int64_t clock = in; clock < done; ++clock) {
    if (chunk.Holds(rank, clock)) continue;
    return Fail(absl::StrCat("worker ", rank, " counts as done with clock ",
                             clock, " without its part of chunk ", chunk.id));
  }
}

// After every event: nobody is parked whose bound is met, and no clock stays
// open whose parts are all in.
void ClusterSim::CheckShard(Server& server) {
  for (const ChunkState& chunk : server.shard().chunks()) {
    bool complete = chunk.version < config_.clocks && !chunk.summed &&
                    !config_.membership_order && !config_.per_push;
    for (int rank = 0; rank < config_.workers; ++rank) {
      const ParkedPull& pull = chunk.parked[rank];
      if (pull.parked && server.shard()
                             .FreshnessFor(chunk, rank)
                             .FitFor(pull.clock, config_.staleness)) {
        Fail(absl::StrCat("worker ", rank, " waits for chunk ", chunk.id,
                          " without need"));
      }
      complete = complete && chunk.Holds(rank, chunk.version);
      CheckDone(server.shard(), chunk, rank);
    }
    if (complete) {
      Fail(absl::StrCat("chunk ", chunk.id, " holds every part of clock ",
                        chunk.version, " and does not close it"));
    }
  }
}

}  // namespace cssp
