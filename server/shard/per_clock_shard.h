// Update mode PER_CLOCK: a chunk takes the mean of a clock's parts once.
//
//   parts -> (all in) sum -> [norms of all shards, loss] -> apply
//         -> version + 1
//
// With backup workers one server, the map's first, decides whose parts make up
// a clock, by the ticks; the others hear it and wait for those parts only.
#ifndef CSSP_SERVER_SHARD_PER_CLOCK_SHARD_H_
#define CSSP_SERVER_SHARD_PER_CLOCK_SHARD_H_

#include <memory>
#include <optional>
#include <vector>

#include "server/shard/loss_book.h"
#include "server/shard/norm_exchange.h"
#include "server/shard/shard.h"

namespace cssp {

// Thread-confined: the shard thread.  Invariants, beyond Shard's:
//  1. A chunk goes from version v to v + 1 once, when the part of every
//     contributor of clock v is in, summed in rank order; with backup workers
//     the contributors are the same on every shard.
//  2. Chunks move by themselves: no tick is waited for.
//  3. A reader of clock c gets a version v with c - s <= v <= c, never a
//     partial clock; its own part stands in an open clock.
class PerClockShard final : public Shard {
 public:
  PerClockShard(ps::SlabLayout layout, ShardOptions options, Parts parts,
                ShardOutput& output);

  bool OnNorms(int server, int64_t clock,
               absl::Span<const double> partials) override;
  void OnServerConnected(int server) override;
  bool OnContributors(int server, int64_t clock,
                      absl::Span<const int32_t> ranks) override;
  void OnDecided(int64_t clock, absl::Span<const int32_t> ranks) override;
  void Replayed() override;
  bool has_peers() const override {
    return norms_ != nullptr || contributors_ != nullptr;
  }
  const Contributors* contributors() const override {
    return contributors_.get();
  }
  ps::Freshness FreshnessFor(const ChunkState& chunk, int rank) const override;

 private:
  ps::Reason Admit(const ChunkState& chunk,
                   const ps::MessageHeader& push) const override;
  void OnPart(ChunkState& chunk, int rank) override;
  void OnTick(const control::Tick& tick) override;
  void AdvanceAll() override;
  bool WorthSending(int rank, const ps::Freshness& sent,
                    const ps::Freshness& now) const override;
  void FillHistory(ChunkState& chunk, int slot,
                   absl::Span<const float> floats) override;
  void SaveHistory(ChunkState& chunk, std::vector<BufferRef>* arrays) override;
  int64_t NextNeeded(const ChunkState& chunk, int rank) const override;
  int64_t LookAhead(const ChunkState& chunk, int64_t target,
                    Momentum* weighed) const override;
  int64_t NextRead(const ChunkState& chunk, int rank) const override;
  std::optional<PlateauState> plateau() const override;

  // Backup workers (contributors.h).
  void Decide();
  void Announce(int64_t clock, const std::vector<int32_t>& ranks);
  bool Settle(int64_t clock, absl::Span<const int32_t> ranks);
  bool IsLate(const ps::MessageHeader& push, const ChunkState& chunk) const;
  bool Contributes(int rank, int64_t clock) const;

  bool AllIn(const ChunkState& chunk) const;
  void Advance(ChunkState& chunk);
  void Sum(ChunkState& chunk);
  void Apply(ChunkState& chunk, const UpdateScales& scales);
  void AddNorms(ChunkState& chunk);
  bool AdvanceNormed();
  void AdvanceChunks();
  void DecideLoss();
  void SendOwnNorms(int64_t clock);
  void SendOwnNorms(int server, int64_t clock);

  // Null: no clipping, LARS or plateau, or no gradients here.
  std::unique_ptr<NormExchange> norms_;
  std::unique_ptr<Contributors> contributors_;  // null: no backup workers
  bool deciding_ = false;  // a decision is on its way into the log
  std::optional<PlateauTracker> plateau_;
  LossBook losses_;
  std::vector<UpdateSegment> blobs_;     // the whole model, for the norms
  std::vector<double> partials_;         // scratch
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_PER_CLOCK_SHARD_H_
