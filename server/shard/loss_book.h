// The losses that ticks report, until their clock's mean is decided.
#ifndef CSSP_SERVER_SHARD_LOSS_BOOK_H_
#define CSSP_SERVER_SHARD_LOSS_BOOK_H_

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace cssp {

// Thread-confined: the shard.  Bounded: one double a worker for each clock that
// is neither decided nor refused by the vector clock.
class LossBook {
 public:
  explicit LossBook(int workers) : workers_(workers) {}

  // The first report of a rank for a clock counts.
  void Add(int rank, int64_t clock, double loss);
  bool Has(int rank, int64_t clock) const;
  // Over the ranks that reported `clock`, in rank order; nullopt: none did.
  std::optional<double> Mean(int64_t clock) const;
  // Forgets the clocks before `clock`.
  void Prune(int64_t clock);

 private:
  const int workers_;
  std::map<int64_t, std::vector<std::optional<double>>> losses_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_LOSS_BOOK_H_
