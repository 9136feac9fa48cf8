#include "common/metrics/metrics.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "common/base/logging.h"

namespace cssp {
namespace {

// A label's value may come from outside (a job's name): bounded.
constexpr size_t kMaxLabelBytes = 128;

bool ValidName(absl::string_view name) {
  for (char c : name) {
    if (!absl::ascii_islower(c) && !absl::ascii_isdigit(c) && c != '_') {
      return false;
    }
  }
  return !name.empty() && absl::ascii_islower(name[0]);
}

Labels Normalised(const Labels& labels) {
  Labels sorted = labels;
  for (auto& [name, value] : sorted) {
    CHECK(ValidName(name)) << "label name " << name;
    if (value.size() > kMaxLabelBytes) value.resize(kMaxLabelBytes);
  }
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

}  // namespace

Histogram::Histogram(absl::Span<const double> bounds)
    : bounds_(bounds.begin(), bounds.end()), counts_(bounds.size() + 1) {
  CHECK(std::is_sorted(bounds.begin(), bounds.end(), std::less_equal<>()))
      << "bucket bounds must rise";
}

void Histogram::Observe(double value) {
  const size_t bucket =
      std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

std::vector<uint64_t> Histogram::counts() const {
  std::vector<uint64_t> counts;
  counts.reserve(counts_.size());
  for (const auto& count : counts_) {
    counts.push_back(count.load(std::memory_order_relaxed));
  }
  return counts;
}

absl::Span<const double> DurationBuckets() {
  static constexpr double kBounds[] = {1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4,
                                       1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05,
                                       0.1,  0.2,  0.5,  1,    2,    5};
  return kBounds;
}

std::vector<double> ExponentialBuckets(double first, double factor, int count) {
  std::vector<double> bounds;
  for (int i = 0; i < count; ++i, first *= factor) bounds.push_back(first);
  return bounds;
}

std::vector<double> IntegerBuckets(int last) {
  std::vector<double> bounds;
  for (int i = 0; i <= last; ++i) bounds.push_back(i);
  return bounds;
}

struct MetricsRegistry::FamilyState {
  Kind kind;
  std::string help;
  std::map<Labels, Series> series;
};

MetricsRegistry::MetricsRegistry(size_t max_series) : max_series_(max_series) {}
MetricsRegistry::~MetricsRegistry() = default;

MetricsRegistry::Series& MetricsRegistry::FindOrAddLocked(
    Kind kind, absl::string_view name, absl::string_view help,
    const Labels& labels) {
  CHECK(ValidName(name) && absl::StartsWith(name, "cssp_")) << name;
  CHECK_EQ(kind == Kind::kCounter, absl::EndsWith(name, "_total")) << name;
  const Labels key = Normalised(labels);
  auto& family = families_[std::string(name)];
  if (family == nullptr) {
    family =
        std::make_unique<FamilyState>(FamilyState{kind, std::string(help), {}});
  }
  CHECK(family->kind == kind) << name << " exists as another kind";
  const auto known = family->series.find(key);
  if (known != family->series.end()) return known->second;
  if (series_ >= max_series_) {
    dropped_.Increment();
    unexported_ = Series{};
    return unexported_;
  }
  ++series_;
  return family->series.emplace(key, Series{key, nullptr, nullptr, nullptr})
      .first->second;
}

// The registry hands out what it stores as const to readers only.
Counter* MetricsRegistry::AddCounter(absl::string_view name,
                                     absl::string_view help,
                                     const Labels& labels) {
  absl::MutexLock lock(&mu_);
  Series& series = FindOrAddLocked(Kind::kCounter, name, help, labels);
  if (series.counter == nullptr) {
    series.counter = counters_.emplace_back(std::make_unique<Counter>()).get();
  }
  return const_cast<Counter*>(series.counter);
}

Gauge* MetricsRegistry::AddGauge(absl::string_view name, absl::string_view help,
                                 const Labels& labels) {
  absl::MutexLock lock(&mu_);
  Series& series = FindOrAddLocked(Kind::kGauge, name, help, labels);
  if (series.gauge == nullptr) {
    series.gauge = gauges_.emplace_back(std::make_unique<Gauge>()).get();
  }
  return const_cast<Gauge*>(series.gauge);
}

Histogram* MetricsRegistry::AddHistogram(absl::string_view name,
                                         absl::string_view help,
                                         absl::Span<const double> bounds,
                                         const Labels& labels) {
  absl::MutexLock lock(&mu_);
  Series& series = FindOrAddLocked(Kind::kHistogram, name, help, labels);
  if (series.histogram == nullptr) {
    series.histogram =
        histograms_.emplace_back(std::make_unique<Histogram>(bounds)).get();
  }
  return const_cast<Histogram*>(series.histogram);
}

int MetricsRegistry::RemoveByLabel(absl::string_view key,
                                   absl::string_view value) {
  const Labels::value_type wanted{std::string(key),
                                  std::string(value.substr(0, kMaxLabelBytes))};
  absl::MutexLock lock(&mu_);
  size_t removed = 0;
  for (auto& [name, family] : families_) {
    removed += std::erase_if(family->series, [&wanted](const auto& entry) {
      const Labels& labels = entry.first;
      return std::find(labels.begin(), labels.end(), wanted) != labels.end();
    });
  }
  series_ -= removed;
  return static_cast<int>(removed);
}

std::vector<MetricsRegistry::Family> MetricsRegistry::Snapshot() const {
  absl::MutexLock lock(&mu_);
  std::vector<Family> snapshot;
  for (const auto& [name, family] : families_) {
    if (family->series.empty()) continue;
    Family& copy = snapshot.emplace_back(Family{name, family->help, {}});
    for (const auto& [labels, series] : family->series) {
      copy.series.push_back(series);
    }
  }
  Series dropped;
  dropped.counter = &dropped_;
  snapshot.push_back({"cssp_metrics_dropped_series_total",
                      "Series not exported because there were too many.",
                      {dropped}});
  return snapshot;
}

}  // namespace cssp
