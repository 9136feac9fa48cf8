#include "server/psctl/output.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"

namespace cssp {
namespace {

using testing::HasSubstr;

TEST(Output, TablesAreAlignedAndNotPadded) {
  EXPECT_EQ(Table({{"A", "LONGER", "C"}, {"aaaa", "b", ""}}),
            "A     LONGER  C\naaaa  b\n");
}

TEST(Output, JsonHasTheProtosNames) {
  control::JobStatus job;
  job.set_job_id("a-1");
  job.set_state(control::JOB_RUNNING);
  job.set_max_clock(7);
  EXPECT_EQ(ToJson(job, JsonForm::kOneLine),
            "{\"job_id\":\"a-1\",\"state\":\"JOB_RUNNING\",\"max_clock\":\"7\"}\n");
}

TEST(Output, Durations) {
  EXPECT_EQ(DurationText(0.2), "0s");
  EXPECT_EQ(DurationText(192), "3m12s");
  EXPECT_EQ(DurationText(3720), "1h02m");
  EXPECT_EQ(DurationText(-1), "?");
  EXPECT_EQ(BytesText(1536), "1.5 KiB");
  EXPECT_EQ(BytesText(12), "12 B");
}

TEST(Output, AJobInWords) {
  control::JobStatus job;
  job.set_job_id("a-1");
  job.set_state(control::JOB_FAILED);
  job.set_message("no disk");
  job.set_clock(3);
  job.mutable_spec()->mutable_solver()->set_max_iter(10);
  control::WorkerStatus* worker = job.add_workers();
  worker->set_state("dead");
  worker->add_staleness_histogram(3);
  worker->add_staleness_histogram(1);
  EXPECT_EQ(ResultLine(job), "job a-1 failed: no disk (clock 3 of 10)");
  EXPECT_THAT(DescribeText(job), HasSubstr("staleness 0: 75.0 % 1: 25.0 %"));
  control::ListJobsResponse list;
  *list.add_jobs() = job;
  EXPECT_THAT(JobsTable(list), HasSubstr("a-1  failed  3/10"));
}

TEST(ProgressMeter, RatesOverTheWindow) {
  ProgressMeter meter;
  for (int clock = 0; clock < 100; ++clock) {
    control::ClockProgress progress;
    progress.set_clock(clock);
    progress.set_unix_seconds(1000 + clock * 0.5);
    progress.set_samples(clock < 50 ? 1 : 100);
    progress.set_loss(2);
    progress.set_wait_share(0.25);
    progress.set_max_staleness(clock % 3);
    meter.Add(progress);
  }
  EXPECT_DOUBLE_EQ(meter.samples_per_second(), 200);
  EXPECT_DOUBLE_EQ(meter.clocks_per_second(), 2);
  EXPECT_EQ(meter.Line(200),
            "clock 100/200  loss 2.0000  200 images/s  waiting 25 %  "
            "staleness 2  ETA 50s");
}

}  // namespace
}  // namespace cssp
