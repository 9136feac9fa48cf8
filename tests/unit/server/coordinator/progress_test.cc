#include "server/coordinator/progress.h"

#include <gmock/gmock.h>

#include "server/coordinator/event_log.h"

namespace cssp {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

control::ClockReport Report(int64_t clock, double loss) {
  control::ClockReport report;
  report.set_clock(clock);
  report.set_loss(loss);
  report.set_samples(10);
  report.set_wait_seconds(loss);
  report.set_clock_seconds(4);
  control::OutputValue* output = report.add_outputs();
  output->set_name("accuracy");
  output->set_value(static_cast<float>(loss));
  return report;
}

TEST(Progress, WeighsEqualBatchesEqually) {
  Progress progress(2, 5);
  EXPECT_THAT(progress.Add(0, Report(5, 1)), IsEmpty());
  const auto out = progress.Add(1, Report(5, 3));
  ASSERT_THAT(out, SizeIs(1));
  EXPECT_EQ(out[0].clock(), 5);
  EXPECT_EQ(out[0].loss(), 2);
  EXPECT_EQ(out[0].outputs(0).value(), 2);
  EXPECT_EQ(out[0].samples(), 20);
  EXPECT_EQ(out[0].wait_share(), 0.5);
}

TEST(Progress, WeighsWorkersByTheirRecords) {
  Progress progress(2, 0);
  control::ClockReport large = Report(0, 1), small = Report(0, 3);
  large.set_samples(15);
  small.set_samples(5);
  EXPECT_THAT(progress.Add(0, large), IsEmpty());
  const auto out = progress.Add(1, small);
  ASSERT_THAT(out, SizeIs(1));
  EXPECT_DOUBLE_EQ(out[0].loss(), 1.5);
  EXPECT_FLOAT_EQ(out[0].outputs(0).value(), 1.5);
  EXPECT_EQ(out[0].samples(), 20);
}

TEST(Progress, ClocksComeOutInOrderAndOnce) {
  Progress progress(2, 0);
  EXPECT_THAT(progress.Add(0, Report(0, 1)), IsEmpty());
  EXPECT_THAT(progress.Add(0, Report(1, 1)), IsEmpty());
  EXPECT_THAT(progress.Add(0, Report(1, 9)), IsEmpty());  // twice
  EXPECT_THAT(progress.Add(1, Report(0, 1)), SizeIs(1));
  EXPECT_THAT(progress.Add(1, Report(0, 1)), IsEmpty());  // out already
  const auto out = progress.Add(1, Report(1, 1));
  ASSERT_THAT(out, SizeIs(1));
  EXPECT_EQ(out[0].loss(), 1);
  EXPECT_THAT(progress.Add(7, Report(2, 1)), IsEmpty());  // no such rank
}

TEST(Progress, TheDeadAreNotAwaited) {
  Progress progress(2, 0);
  EXPECT_THAT(progress.Add(0, Report(0, 1)), IsEmpty());
  EXPECT_THAT(progress.Add(0, Report(1, 2)), IsEmpty());
  const auto out = progress.Remove(1);
  ASSERT_THAT(out, SizeIs(2));
  EXPECT_EQ(out[1].loss(), 2);
  EXPECT_EQ(out[1].workers(), 1);
}

TEST(Progress, ARunawayDoesNotGrowIt) {
  Progress progress(2, 0);
  size_t out = 0;
  const int64_t clocks = static_cast<int64_t>(Progress::kMaxOpen) + 10;
  for (int64_t clock = 0; clock < clocks; ++clock)
    out += progress.Add(0, Report(clock, 1)).size();
  EXPECT_EQ(out, 10u);
}

TEST(EventLog, KeepsTheNewestAndTellsWhatIsMissed) {
  EventLog log(4);
  for (int i = 0; i < 6; ++i) {
    control::JobEvent event;
    event.set_note(std::to_string(i));
    log.Append(event, i);
  }
  uint64_t cursor = 0;
  std::vector<control::JobEvent> out;
  EXPECT_EQ(log.Read(/*from_clock=*/3, 100, &cursor, &out), 2u);
  ASSERT_THAT(out, SizeIs(3));
  EXPECT_EQ(out[0].note(), "3");
  EXPECT_EQ(cursor, 6u);
  out.clear();
  EXPECT_EQ(log.Read(0, 100, &cursor, &out), 0u);
  EXPECT_THAT(out, IsEmpty());
}

}  // namespace
}  // namespace cssp
