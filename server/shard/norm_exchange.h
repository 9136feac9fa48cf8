// The reduce step of clip_gradients, LARS and lr_policy plateau: every shard's
// squared-norm partials of a clock and, from one of them, its mean loss,
// gathered before anyone applies it.
#ifndef CSSP_SERVER_SHARD_NORM_EXCHANGE_H_
#define CSSP_SERVER_SHARD_NORM_EXCHANGE_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/ps/slab_layout.h"

namespace cssp {

// Thread-confined: the shard.  Invariants:
//  1. `width` partials stand for one SlabLayout::kBlock of one blob, and the
//     whole model's lie in key order, then block order: the sum does not
//     depend on chunks or servers.
//  2. Filling is idempotent; three clocks are kept (applied, current, next),
//     which is all that peers can still need or already know.
//  3. The loss is decided by one server, the first that holds gradients, and
//     travels behind its partials: all shards follow the same losses even
//     where a dying worker's tick has reached only some.
class NormExchange {
 public:
  struct Place {
    int servers = 1;
    int self = 0;
    int width = 1;  // doubles a block
    bool with_loss = false;
  };
  // chunk_server[c]: owner of chunk c.
  NormExchange(const ps::SlabLayout& layout, absl::Span<const int> chunk_server,
               const Place& place, int64_t start_clock);

  // The partials of one of our chunks; true when all of ours are in.
  bool AddOwn(int chunk, int64_t clock, absl::Span<const double> partials);
  // The mean loss that we decide; true when all of ours are in.
  // REQUIRES: DecidesLoss().
  bool AddLoss(int64_t clock, double loss);
  bool DecidesLoss() const { return with_loss_ && self_ == decider_; }
  bool HasLoss(int64_t clock) const;
  // A peer's; false when the length or the clock cannot be.
  bool AddPeer(int server, int64_t clock, absl::Span<const double> partials);
  // Whether every server's partials of `clock` are in.
  bool Complete(int64_t clock) const;
  // REQUIRES: Complete(clock).
  absl::Span<const double> All(int64_t clock) const;
  // REQUIRES: Complete(clock), with_loss.
  double Loss(int64_t clock) const { return Find(clock)->loss; }
  // What peers need of us for `clock`: empty if it is not complete or gone.
  std::vector<double> Own(int64_t clock) const;
  // Servers that hold gradients (others neither send nor wait).
  bool Participates(int server) const { return expected_[server] > 0; }
  int64_t expected(int server) const { return expected_[server]; }
  // `clock` has been applied: moves the window.
  void Applied(int64_t clock);
  int64_t current() const { return current_; }

 private:
  struct ChunkRange {
    int64_t first = 0;  // in the model's order
    int64_t count = 0;
  };
  struct Slot {
    int64_t clock = -1;
    std::vector<double> partials;
    std::vector<int64_t> filled;  // doubles in, per server
    std::vector<bool> own_chunk;  // per chunk: ours, added
    double loss = 0;
    bool has_loss = false;
  };

  const Slot* Find(int64_t clock) const;
  Slot* Open(int64_t clock);

  const int self_;
  const bool with_loss_;
  int decider_ = 0;
  int64_t current_;
  std::vector<std::vector<ChunkRange>> ranges_;  // per chunk, per segment
  std::vector<std::vector<int>> chunks_of_;      // per server
  std::vector<int64_t> expected_;                // doubles per server
  std::array<Slot, 3> slots_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_NORM_EXCHANGE_H_
