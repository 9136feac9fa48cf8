// Retained cuts: the versions that an evaluator may still ask for exactly, and
// those that become checkpoints.
#ifndef CSSP_SERVER_SHARD_CUT_KEEPER_H_
#define CSSP_SERVER_SHARD_CUT_KEEPER_H_

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "common/optim/plateau.h"
#include "proto/caffe.pb.h"
#include "server/shard/buffer_pool.h"
#include "server/shard/order_book.h"

namespace cssp {

// What a clock's cut is for.
struct CutKind {
  bool test = false;
  bool durable = false;  // with history; goes to the store
  bool stored = false;   // with history; came from the store
  bool any() const { return test || durable || stored; }
  bool history() const { return durable || stored; }
};

struct TablesCut;  // server/shard/param_table.h

struct RetainedCut {
  int64_t clock = 0;
  CutKind kind;
  int filled = 0;  // chunks in
  // By local chunk: array 0 the values, then (durable cuts) history copies.
  std::vector<std::vector<BufferRef>> chunks;
  // Under lr_policy plateau, on shards that hold gradients.
  std::optional<PlateauState> plateau;
  std::shared_ptr<const TablesCut> tables;  // of a job of tables
};

// Thread-confined: the shard.  Invariants: a cut holds version `clock` of every
// chunk, whatever else has been applied since; of complete cuts the newest two
// of each kind are kept (one in use, one waiting), incomplete ones always.
class CutKeeper {
 public:
  struct Options {
    int64_t every = 0;      // a durable cut every so many clocks, too
    bool restored = false;  // the first version is a checkpoint's
  };
  CutKeeper(const caffe::SolverParameter& solver, int64_t start_clock,
            int num_chunks, const Options& options);
  CutKeeper(const caffe::SolverParameter& solver, int64_t start_clock,
            int num_chunks)
      : CutKeeper(solver, start_clock, num_chunks, Options()) {}

  // Caffe's test and snapshot points, the last clock, and orders.
  CutKind KindAt(int64_t clock, const OrderBook& orders) const;
  // The first durable cut after `clock`, of those that do not come from the
  // solver; kClockInfinity: none is known.
  int64_t NextDurable(int64_t clock, const OrderBook& orders) const;
  // Chunk `chunk` has reached `clock`; gives the cut when that completes it.
  RetainedCut* Add(int64_t clock, CutKind kind, int chunk,
                         std::vector<BufferRef> arrays);
  // Null: not (or no longer) retained, or not durable and slot > 0.
  const BufferRef* Find(int64_t clock, int chunk, int slot) const;
  int size() const { return static_cast<int>(cuts_.size()); }

 private:
  void DropOld();

  const caffe::SolverParameter solver_;
  const int64_t start_clock_;
  const int num_chunks_;
  const Options options_;
  std::list<RetainedCut> cuts_;  // by clock
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_CUT_KEEPER_H_
