// Update mode PER_PUSH: a shard applies one worker's clock as soon as it is
// whole, beside the others'.
//
//   tick and pushes of (rank, clock) -> apply to every chunk -> own[rank] + 1
//                                    -> min over workers      -> version
//
// Worker p has a history v_p of its own; its clock c with gradient g does
//   v_p = momentum * v_p + (1 / P) * rate * lr_mult * (g + decay * w)
//   w   = w - v_p
// (Nesterov likewise).  Both rules are linear, so V = sum of v_p obeys
// PER_CLOCK's rule with the mean of the g: that is why no other solver fits,
// and why V is what a .solverstate holds and what a job on another number of
// workers, or of the other mode, starts from (v_p = V / P).
#ifndef CSSP_SERVER_SHARD_PER_PUSH_SHARD_H_
#define CSSP_SERVER_SHARD_PER_PUSH_SHARD_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "server/shard/shard.h"

namespace cssp {

// Thread-confined: the shard thread.  Invariants, beyond Shard's:
//  1. A worker's clocks are applied in order, each to all chunks at once, when
//     its tick and all pushes that the tick covers are in; of several workers'
//     clocks that may be applied, the one that was complete first.  So a shard
//     that is given the same inputs from a cut on comes to the same bits.
//  2. Every chunk's version is the minimum over contributors of the clocks
//     applied; a worker's own count is what read-my-writes is held against.
//  3. Cuts are aligned: a clock >= k waits until all clocks < k are in, where
//     k is the next cut.  So version k holds exactly the clocks before k.
//  4. 1 / P is the worker's share of the samples of the clock's contributors.
//     One that leaves takes its momentum along; one that joins has none.
//  5. BatchNorm's statistics decay by fraction^(1/P) and take 1/P of the
//     contributor's: P pushes are one clock, and since the scale factor goes
//     the same way, mean and variance stay weighted averages.
class PerPushShard final : public Shard {
 public:
  // InvalidArgument: a solver that is not linear in the gradient.
  static absl::StatusOr<std::unique_ptr<Shard>> Create(ps::SlabLayout layout,
                                                       ShardOptions options,
                                                       Parts parts,
                                                       ShardOutput& output);

  int worker_histories() const override { return options_.workers; }
  void RestoreWorkerHistory(uint32_t chunk, int rank,
                            absl::Span<const float> floats) override;
  ps::Freshness FreshnessFor(const ChunkState& chunk, int rank) const override;

 private:
  struct Lane {
    int64_t applied = 0;   // clocks of this worker that are in the values
    int64_t complete = 0;  // clocks that could be
    uint32_t samples = 0;  // of its last clock; 0: not known
    int64_t samples_clock = -1;
    bool joined = true;
    std::map<int64_t, double> norms;  // squared, by clock; if they clip
  };

  // One worker's clock that is complete.
  struct Complete {
    int rank = 0;
    int64_t clock = 0;
  };

  PerPushShard(ps::SlabLayout layout, ShardOptions options, Parts parts,
               ShardOutput& output);

  ps::Reason Admit(const ChunkState& chunk,
                   const ps::MessageHeader& push) const override;
  void OnPart(ChunkState& chunk, int rank) override { Settle(rank); }
  void OnTick(const control::Tick& tick) override;
  void OnRepeated(const ps::MessageHeader& push) override;
  void AdvanceAll() override;
  bool WorthSending(int rank, const ps::Freshness& sent,
                    const ps::Freshness& now) const override;
  void FillHistory(ChunkState& chunk, int slot,
                   absl::Span<const float> floats) override;
  void SaveHistory(ChunkState& chunk, std::vector<BufferRef>* arrays) override;
  int64_t LookAhead(const ChunkState& chunk, int64_t target,
                    Momentum* weighed) const override;
  int64_t NextRead(const ChunkState& chunk, int rank) const override {
    return lanes_[rank].applied;
  }
  void SaveMode(ShardLogState* state) const override;
  void LoadMode(const ShardLogState& state) override;

  // A push or tick of `rank` is in.
  void Settle(int rank);
  bool CanApply(const Complete& next) const;
  bool HeldByCut(int64_t clock) const;
  void ApplyClock(int rank);
  float ShareOf(int rank, int64_t clock) const;
  // Moves the version if the minimum has; whether it did.
  bool MoveRow();
  void JoinOrLeave(int rank);

  std::vector<Lane> lanes_;  // by rank
  // Not applied yet, in the order in which they became complete.
  std::deque<Complete> complete_;
  int64_t row_;              // the chunks' version
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_PER_PUSH_SHARD_H_
