// The numbered orders of a job, as one shard keeps them: who contributes, how
// stale a read may be and which clocks are checkpoints, by clock.
#ifndef CSSP_SERVER_SHARD_ORDER_BOOK_H_
#define CSSP_SERVER_SHARD_ORDER_BOOK_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/control.pb.h"
#include "proto/shard_log.pb.h"

namespace cssp {

// Thread-confined: the shard.  Invariants:
//  1. An accepted order is honoured conservatively until it is committed or
//     proposed again: no chunk closes a clock whose contributors are open, a
//     pull needs the tighter of both bounds, a checkpoint is retained.
//  2. What holds for a clock never changes once a chunk has opened it.
class OrderBook {
 public:
  OrderBook(int workers, int staleness, int max_staleness);

  bool IsMember(int rank, int64_t clock) const;
  int64_t Staleness(int64_t clock) const;
  int max_staleness() const { return max_staleness_; }
  // False while the contributors of `clock` are not settled.
  bool MayClose(int64_t clock) const;
  // The cut that an order asks for at `clock`; nullopt: none.
  std::optional<control::CheckpointOrder> CheckpointAt(int64_t clock) const;

  // The clock of the first durable cut after `clock` that an order asks for;
  // kClockInfinity: none.
  int64_t NextCheckpoint(int64_t clock) const;

  // Would this order be kept?  `opened`: the highest clock that any chunk has
  // opened.  InvalidArgument for an order that makes no sense here.
  absl::StatusOr<control::OrderAnswer> Propose(const control::Order& order,
                                               int64_t opened);
  // Takes effect.  An order not proposed before is accepted on Propose's
  // terms; one committed before is accepted again and changes nothing.
  absl::StatusOr<control::OrderAnswer> Commit(const control::Order& order,
                                              int64_t opened);
  // For a log: everything that orders have decided, and back.
  void Save(ShardLogState* state) const;
  void Load(const ShardLogState& state);
  // A proposal up to this number will not be committed.
  void Withdraw(uint64_t number);
  // Contributors from the start on, before any order.
  void SetMembers(const std::vector<int>& ranks);
  // Forgets what only clocks before `clock` need.
  void Prune(int64_t clock);

 private:
  absl::Status Check(const control::Order& order) const;
  void Enact(const control::Order& order);

  const int workers_;
  const int max_staleness_;
  uint64_t committed_ = 0;  // highest number
  std::optional<control::Order> pending_;
  // By the clock from which each holds.
  std::map<int64_t, std::vector<bool>> members_;
  std::map<int64_t, int64_t> staleness_;
  std::map<int64_t, control::CheckpointOrder> checkpoints_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_ORDER_BOOK_H_
