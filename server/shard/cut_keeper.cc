#include "server/shard/cut_keeper.h"

#include <algorithm>
#include <utility>

namespace cssp {
namespace {

constexpr int kKept = 2;  // complete cuts of a kind: one in use, one waiting

caffe::SolverParameter OnlySchedule(const caffe::SolverParameter& solver) {
  caffe::SolverParameter kept;
  kept.set_max_iter(solver.max_iter());
  kept.set_test_interval(solver.test_interval());
  kept.mutable_test_iter()->CopyFrom(solver.test_iter());
  kept.set_test_initialization(solver.test_initialization());
  kept.set_snapshot(solver.snapshot());
  kept.set_snapshot_after_train(solver.snapshot_after_train());
  return kept;
}

}  // namespace

CutKeeper::CutKeeper(const caffe::SolverParameter& solver, int64_t start_clock,
                     int num_chunks, const Options& options)
    : solver_(OnlySchedule(solver)),
      start_clock_(start_clock),
      num_chunks_(num_chunks),
      options_(options) {}

CutKind CutKeeper::KindAt(int64_t clock, const OrderBook& orders) const {
  CutKind kind;
  const bool last = clock == solver_.max_iter();
  if (solver_.test_interval() > 0 && solver_.test_iter_size() > 0) {
    kind.test = clock % solver_.test_interval() == 0 &&
                (clock > 0 || solver_.test_initialization());
  }
  kind.test = kind.test || last;
  if (clock > start_clock_) {
    kind.durable =
        (solver_.snapshot() > 0 && clock % solver_.snapshot() == 0) ||
        (options_.every > 0 && clock % options_.every == 0) ||
        (last && solver_.snapshot_after_train());
  }
  kind.stored = options_.restored && clock == start_clock_;
  if (const auto order = orders.CheckpointAt(clock)) {
    (order->durable() ? kind.durable : kind.test) = true;
  }
  return kind;
}

int64_t CutKeeper::NextDurable(int64_t clock, const OrderBook& orders) const {
  const int64_t ordered = orders.NextCheckpoint(clock);
  if (options_.every <= 0) return ordered;
  return std::min(ordered, (clock / options_.every + 1) * options_.every);
}

RetainedCut* CutKeeper::Add(int64_t clock, CutKind kind, int chunk,
                            std::vector<BufferRef> arrays) {
  auto it = cuts_.begin();
  while (it != cuts_.end() && it->clock < clock) ++it;
  if (it == cuts_.end() || it->clock != clock) {
    it = cuts_.insert(it, RetainedCut{.clock = clock, .kind = kind});
    it->chunks.resize(num_chunks_);
  }
  if (!it->chunks[chunk].empty()) return nullptr;
  it->chunks[chunk] = std::move(arrays);
  if (++it->filled < num_chunks_) return nullptr;
  DropOld();
  return &*it;  // the newest complete cut is never dropped
}

const BufferRef* CutKeeper::Find(int64_t clock, int chunk, int slot) const {
  for (const RetainedCut& cut : cuts_) {
    if (cut.clock != clock) continue;
    const std::vector<BufferRef>& arrays = cut.chunks[chunk];
    return slot < static_cast<int>(arrays.size()) ? &arrays[slot] : nullptr;
  }
  return nullptr;
}

void CutKeeper::DropOld() {
  int tests = 0, durables = 0;
  for (auto it = cuts_.end(); it != cuts_.begin();) {
    --it;
    if (it->filled < num_chunks_) continue;
    const bool keep = (it->kind.test && tests < kKept) ||
                      (it->kind.history() && durables < kKept);
    tests += it->kind.test;
    durables += it->kind.history();
    if (!keep) it = cuts_.erase(it);
  }
}

}  // namespace cssp
