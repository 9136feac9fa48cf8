// Counters, gauges and histograms that cost one atomic on the hot path, and
// the registry that knows them.  exposer.h serves them to Prometheus.
#ifndef CSSP_COMMON_METRICS_METRICS_H_
#define CSSP_COMMON_METRICS_METRICS_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"

namespace cssp {

// Label names and values; order does not matter.
using Labels = std::vector<std::pair<std::string, std::string>>;

// Thread-safe (atomics, relaxed).  Never falls.
class Counter {
 public:
  void Increment() { Add(1); }
  // REQUIRES: by >= 0.
  void Add(double by) { value_.fetch_add(by, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

// Thread-safe (atomics, relaxed).
class Gauge {
 public:
  void Set(double to) { value_.store(to, std::memory_order_relaxed); }
  void Add(double by) { value_.fetch_add(by, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

// Thread-safe (atomics, relaxed): a scrape during Observe may see the sum one
// observation behind the counts.
class Histogram {
 public:
  // Upper bounds, inclusive, rising; +Inf is added.
  explicit Histogram(absl::Span<const double> bounds);
  void Observe(double value);

  const std::vector<double>& bounds() const { return bounds_; }
  // Observations per bucket, not cumulated; the last one is beyond all bounds.
  std::vector<uint64_t> counts() const;
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  const std::vector<double> bounds_;
  std::vector<std::atomic<uint64_t>> counts_;
  std::atomic<double> sum_{0};
};

// 10 us to 5 s in steps of 1-2-5: for durations in seconds.
absl::Span<const double> DurationBuckets();
// first, first*factor, ... : `count` bounds.
std::vector<double> ExponentialBuckets(double first, double factor, int count);
// 0, 1, ..., last: for staleness and other small whole numbers.
std::vector<double> IntegerBuckets(int last);

// Thread-safe (monitor).  Invariants:
// 1. A handle stays safe to use for the registry's life, also after its series
//    was removed; it is then merely not exported any more.
// 2. The same name and labels give the same handle; one name has one kind.
// 3. At most `max_series` are exported; later ones are kept but not exported,
//    and counted in cssp_metrics_dropped_series_total.
// Names are cssp_<part>_<what>_<unit>, a counter's ends in _total: checked,
// because a wrong one is our own bug.
class MetricsRegistry {
 public:
  explicit MetricsRegistry(size_t max_series = 5000);
  ~MetricsRegistry();
  MetricsRegistry(const MetricsRegistry&) = delete;
  MetricsRegistry& operator=(const MetricsRegistry&) = delete;

  Counter* AddCounter(absl::string_view name, absl::string_view help,
                      const Labels& labels = {}) ABSL_LOCKS_EXCLUDED(mu_);
  Gauge* AddGauge(absl::string_view name, absl::string_view help,
                  const Labels& labels = {}) ABSL_LOCKS_EXCLUDED(mu_);
  Histogram* AddHistogram(absl::string_view name, absl::string_view help,
                          absl::Span<const double> bounds,
                          const Labels& labels = {}) ABSL_LOCKS_EXCLUDED(mu_);

  // Stops exporting every series that has this label (a job ended, a worker
  // left).  Gives how many.
  int RemoveByLabel(absl::string_view key, absl::string_view value)
      ABSL_LOCKS_EXCLUDED(mu_);

  // What the exposer reads: exactly one of the three pointers is set.
  struct Series {
    Labels labels;
    const Counter* counter = nullptr;
    const Gauge* gauge = nullptr;
    const Histogram* histogram = nullptr;
  };
  struct Family {
    std::string name;
    std::string help;
    std::vector<Series> series;
  };
  std::vector<Family> Snapshot() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  enum class Kind { kCounter, kGauge, kHistogram };
  struct FamilyState;

  Series& FindOrAddLocked(Kind kind, absl::string_view name,
                          absl::string_view help, const Labels& labels)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const size_t max_series_;
  mutable absl::Mutex mu_;
  std::map<std::string, std::unique_ptr<FamilyState>> families_
      ABSL_GUARDED_BY(mu_);
  // Handles live here, also those no longer exported (invariant 1).
  std::vector<std::unique_ptr<Counter>> counters_ ABSL_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<Gauge>> gauges_ ABSL_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<Histogram>> histograms_ ABSL_GUARDED_BY(mu_);
  size_t series_ ABSL_GUARDED_BY(mu_) = 0;
  Series unexported_ ABSL_GUARDED_BY(mu_);
  Counter dropped_;
};

}  // namespace cssp

#endif  // CSSP_COMMON_METRICS_METRICS_H_
