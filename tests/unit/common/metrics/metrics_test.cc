#include "common/metrics/metrics.h"

#include <string>
#include <vector>

#include "common/base/thread.h"
#include "common/metrics/process_stats.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

using testing::ElementsAre;

const MetricsRegistry::Family* Find(
    const std::vector<MetricsRegistry::Family>& families,
    const std::string& name) {
  for (const auto& family : families) {
    if (family.name == name) return &family;
  }
  return nullptr;
}

TEST(Metrics, CountersAddUpAcrossThreads) {
  MetricsRegistry registry;
  Counter* counter = registry.AddCounter("cssp_test_things_total", "Things.");
  {
    std::vector<Thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back("adder", [counter] {
        for (int i = 0; i < 10000; ++i) counter->Increment();
      });
    }
  }
  EXPECT_EQ(counter->value(), 40000);
}

TEST(Metrics, SameNameAndLabelsGiveTheSameHandle) {
  MetricsRegistry registry;
  Gauge* a = registry.AddGauge("cssp_test_depth_items", "h",
                               {{"shard", "0"}, {"job", "j"}});
  Gauge* b = registry.AddGauge("cssp_test_depth_items", "h",
                               {{"job", "j"}, {"shard", "0"}});
  Gauge* c = registry.AddGauge("cssp_test_depth_items", "h",
                               {{"job", "j"}, {"shard", "1"}});
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
}

TEST(Metrics, HistogramBoundsAreInclusive) {
  MetricsRegistry registry;
  Histogram* staleness = registry.AddHistogram("cssp_test_staleness_clocks",
                                               "h", IntegerBuckets(2));
  for (double v : {0.0, 0.0, 1.0, 2.0, 7.0}) staleness->Observe(v);
  EXPECT_THAT(staleness->counts(), ElementsAre(2, 1, 1, 1));
  EXPECT_EQ(staleness->sum(), 10);
}

TEST(Metrics, RemovedSeriesAreGoneButTheirHandlesAreSafe) {
  MetricsRegistry registry;
  Counter* ended =
      registry.AddCounter("cssp_test_pushes_total", "h", {{"job", "a"}});
  registry.AddCounter("cssp_test_pushes_total", "h", {{"job", "b"}});
  EXPECT_EQ(registry.RemoveByLabel("job", "a"), 1);
  ended->Increment();  // a thread that has not heard yet
  const auto families = registry.Snapshot();
  const auto* family = Find(families, "cssp_test_pushes_total");
  ASSERT_NE(family, nullptr);
  ASSERT_EQ(family->series.size(), 1);
  EXPECT_EQ(family->series[0].labels[0].second, "b");
  EXPECT_EQ(registry.RemoveByLabel("job", "b"), 1);
  EXPECT_EQ(Find(registry.Snapshot(), "cssp_test_pushes_total"), nullptr);
}

TEST(Metrics, SeriesBeyondTheLimitAreDroppedAndCounted) {
  MetricsRegistry registry(/*max_series=*/2);
  for (int i = 0; i < 5; ++i) {
    Gauge* gauge = registry.AddGauge("cssp_test_load_ratio", "h",
                                     {{"worker", std::to_string(i)}});
    gauge->Set(i);  // usable all the same
    EXPECT_EQ(gauge->value(), i);
  }
  const auto families = registry.Snapshot();
  EXPECT_EQ(Find(families, "cssp_test_load_ratio")->series.size(), 2);
  EXPECT_EQ(Find(families, "cssp_metrics_dropped_series_total")
                ->series[0]
                .counter->value(),
            3);
}

TEST(MetricsDeathTest, MisnamedMetricsAreBugs) {
  MetricsRegistry registry;
  EXPECT_DEATH(registry.AddCounter("cssp_test_things", "h"), "cssp_test");
  EXPECT_DEATH(registry.AddGauge("test_things", "h"), "test_things");
  EXPECT_DEATH(registry.AddGauge("cssp_Test", "h"), "cssp_Test");
}

TEST(ProcessStats, ParsesAHostileProcessName) {
  const auto stats = ParseProcStat(
      "42 (a) b) (c) R 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 1000 "
      "8192 5 18446744073709551615 1 1\n",
      /*boot_seconds=*/1e9, /*ticks_per_second=*/100, /*page_bytes=*/4096);
  ASSERT_TRUE(stats.ok()) << stats.status();
  EXPECT_EQ(stats->cpu_seconds, 3);
  EXPECT_EQ(stats->start_time_seconds, 1e9 + 10);
  EXPECT_EQ(stats->virtual_memory_bytes, 8192);
  EXPECT_EQ(stats->resident_memory_bytes, 5 * 4096);
  EXPECT_FALSE(ParseProcStat("42 (x) R 1", 0, 100, 4096).ok());
  EXPECT_FALSE(ParseProcStat("", 0, 100, 4096).ok());
}

TEST(ProcessStats, OfThisProcessArePlausible) {
  const auto stats = ReadProcessStats();
  ASSERT_TRUE(stats.ok()) << stats.status();
  EXPECT_GT(stats->resident_memory_bytes, 1 << 20);
  EXPECT_GE(stats->open_fds, 3);
  EXPECT_GE(stats->max_fds, stats->open_fds);
  EXPECT_GT(stats->start_time_seconds, 1.6e9);
}

}  // namespace
}  // namespace cssp
