#include "server/psctl/output.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace cssp {
namespace {

using control::JobStatus;

std::string StalenessText(const control::JobSpec& spec) {
  if (spec.staleness() >= 0) return absl::StrCat(spec.staleness());
  return absl::StrCat("async (max_ahead ", spec.max_ahead(), ")");
}

std::string WorkerLine(const control::WorkerStatus& worker) {
  std::string line = absl::StrFormat(
      "  worker %-3d %-8s clock %-8d %8.0f images/s  waiting %4.1f %%  %s pid %d",
      worker.rank(), worker.state(), worker.clock(),
      worker.samples_per_second(), 100 * worker.wait_share(), worker.host(),
      worker.pid());
  int64_t total = 0;
  for (const int64_t count : worker.staleness_histogram()) total += count;
  if (total == 0) return absl::StrCat(line, "\n");
  absl::StrAppend(&line, "  staleness");
  for (int i = 0; i < worker.staleness_histogram_size(); ++i)
    if (worker.staleness_histogram(i) > 0)
      absl::StrAppendFormat(
          &line, " %d: %.1f %%", i,
          100.0 * static_cast<double>(worker.staleness_histogram(i)) /
              static_cast<double>(total));
  return absl::StrCat(line, "\n");
}

std::string OrderLine(const control::Order& order) {
  std::string what;
  switch (order.kind_case()) {
    case control::Order::kMembership:
      what = absl::StrCat("workers ",
                          absl::StrJoin(order.membership().ranks(), ", "));
      break;
    case control::Order::kStaleness:
      what = absl::StrCat("staleness ", order.staleness());
      break;
    case control::Order::kCheckpoint:
      what = "checkpoint";
      break;
    default:
      what = "order";
  }
  return absl::StrFormat("  order %d    from clock %d on: %s\n",
                         order.number(), order.effective_clock(), what);
}

std::string BatchesLine(const JobStatus& job) {
  std::vector<std::string> batches;
  for (const control::WorkerStatus& worker : job.workers())
    if (worker.state() == "running")
      batches.push_back(absl::StrCat(worker.rank(), ": ", worker.batch()));
  return absl::StrCat("balance    records a pass by worker: ",
                      batches.empty() ? "none trains"
                                      : absl::StrJoin(batches, ", "),
                      "\n");
}

std::string TestLine(const control::TestResult& test) {
  std::string line =
      absl::StrFormat("  test net %d at clock %d:", test.net(), test.clock());
  for (const control::OutputValue& output : test.outputs())
    absl::StrAppendFormat(&line, " %s = %.6g", output.name(), output.value());
  return absl::StrCat(line, "\n");
}

double RunSeconds(const JobStatus& job) {
  if (job.started_unix() <= 0 || job.finished_unix() <= 0) return 0;
  return std::max(0.0, job.finished_unix() - job.started_unix());
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message, JsonForm form) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.add_whitespace = form == JsonForm::kIndented;
  std::string text;
  // Fails only for Any and Struct, which we have none of.
  (void)google::protobuf::util::MessageToJsonString(message, &text, options);
  if (text.empty() || text.back() != '\n') text += '\n';
  return text;
}

std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      if (i >= widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i)
      absl::StrAppend(&line, row[i],
                      i + 1 < row.size()
                          ? std::string(widths[i] - row[i].size() + 2, ' ')
                          : "");
    absl::StrAppend(&text, absl::StripTrailingAsciiWhitespace(line), "\n");
  }
  return text;
}

std::string StateText(control::JobState state) {
  const std::string name = control::JobState_Name(state);
  return absl::AsciiStrToLower(name.rfind("JOB_", 0) == 0 ? name.substr(4)
                                                          : name);
}

std::string DurationText(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const int64_t whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 60) return absl::StrFormat("%ds", whole);
  if (whole < 3600) return absl::StrFormat("%dm%02ds", whole / 60, whole % 60);
  return absl::StrFormat("%dh%02dm", whole / 3600, whole / 60 % 60);
}

std::string BytesText(int64_t bytes) {
  double value = static_cast<double>(bytes);
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? absl::StrFormat("%d B", bytes)
                   : absl::StrFormat("%.1f %s", value, units[unit]);
}

std::string JobsTable(const control::ListJobsResponse& jobs) {
  std::vector<std::vector<std::string>> rows = {
      {"JOB", "STATE", "CLOCK", "LOSS", "WORKERS", "STALENESS", "MESSAGE"}};
  for (const JobStatus& job : jobs.jobs())
    rows.push_back({job.job_id(), StateText(job.state()),
                    absl::StrCat(job.clock(), "/",
                                 job.spec().solver().max_iter()),
                    absl::StrFormat("%.4f", job.loss()),
                    absl::StrCat(job.spec().workers()),
                    StalenessText(job.spec()), job.message()});
  return Table(rows);
}

std::string ServersTable(const control::ListServersResponse& servers) {
  std::vector<std::vector<std::string>> rows = {
      {"SERVER", "ID", "STATE", "CONTROL", "DATA", "METRICS", "JOBS", "HOLDS"}};
  for (const control::ServerInfo& server : servers.servers())
    rows.push_back({absl::StrCat(server.index()), server.id(), server.state(),
                    server.control_address(), server.data_address(),
                    server.metrics_address(), absl::StrCat(server.jobs()),
                    BytesText(server.bytes())});
  return Table(rows);
}

std::string DescribeText(const JobStatus& job) {
  const control::JobSpec& spec = job.spec();
  std::string text = absl::StrFormat(
      "job        %s (%s)\nsolver     %s, %s, seed %d\nworkers    %d, staleness "
      "%s, %s, fresh_wait %g\nclock      %d of %d (from %d), fastest %d\nloss       "
      "%.6g\n",
      job.job_id(), StateText(job.state()), spec.solver_path(),
      spec.solver().type(), spec.seed(), spec.workers(), StalenessText(spec),
      control::SspUpdate_Name(spec.ssp_update()), spec.fresh_wait(),
      job.clock(), spec.solver().max_iter(), job.start_clock(),
      job.max_clock(), job.loss());
  if (!job.message().empty())
    absl::StrAppend(&text, "message    ", job.message(), "\n");
  if (RunSeconds(job) > 0)
    absl::StrAppend(&text, "ran        ", DurationText(RunSeconds(job)), "\n");
  if (spec.wire() != control::FP32)
    absl::StrAppend(&text, "wire       ",
                    control::GradientWire_Name(spec.wire()), "\n");
  if (spec.backup() > 0)
    absl::StrAppend(&text, "backup     ", spec.backup(),
                    ": a clock is the mean of the first ",
                    spec.workers() - spec.backup(), "\n");
  if (spec.balance()) text += BatchesLine(job);
  if (job.staleness() != spec.staleness() || spec.has_dssp())
    absl::StrAppend(&text, "now        staleness ", job.staleness(),
                    spec.has_dssp() ? absl::StrCat(", chosen within ",
                                                   spec.dssp().lower(), "..",
                                                   spec.dssp().upper())
                                    : "",
                    "\n");
  for (const auto& order : job.orders()) text += OrderLine(order);
  for (const auto& worker : job.workers()) text += WorkerLine(worker);
  for (const auto& test : job.tests()) text += TestLine(test);
  for (const auto& checkpoint : job.checkpoints())
    absl::StrAppend(&text, "  checkpoint ", checkpoint.checkpoint_id(), " (",
                    BytesText(checkpoint.bytes()), ")\n");
  for (const auto& exported : job.exports())
    absl::StrAppend(&text, "  exported ", exported.caffemodel(), " ",
                    exported.solverstate(), "\n");
  return text;
}

std::string ResultLine(const JobStatus& job) {
  return absl::StrCat("job ", job.job_id(), " ", StateText(job.state()),
                      job.message().empty() ? "" : ": ", job.message(),
                      " (clock ", job.clock(), " of ",
                      job.spec().solver().max_iter(),
                      RunSeconds(job) > 0 ? ", " : "",
                      RunSeconds(job) > 0 ? DurationText(RunSeconds(job)) : "",
                      ")");
}

void ProgressMeter::Add(const control::ClockProgress& progress) {
  recent_.push_back(progress);
  recent_.back().clear_outputs();
  while (recent_.size() > 2 && span() > kWindowSeconds) recent_.pop_front();
}

double ProgressMeter::span() const {
  if (recent_.size() < 2) return 0;
  return recent_.back().unix_seconds() - recent_.front().unix_seconds();
}

double ProgressMeter::samples_per_second() const {
  if (span() <= 0) return 0;
  double samples = 0;
  for (size_t i = 1; i < recent_.size(); ++i) samples += recent_[i].samples();
  return samples / span();
}

double ProgressMeter::clocks_per_second() const {
  if (span() <= 0) return 0;
  return static_cast<double>(recent_.back().clock() -
                             recent_.front().clock()) /
         span();
}

std::string ProgressMeter::Line(int64_t max_iter) const {
  double waited = 0;
  int staleness = 0;
  for (const control::ClockProgress& progress : recent_) {
    waited += progress.wait_share();
    staleness = std::max(staleness, progress.max_staleness());
  }
  const int64_t done = last().clock() + 1;
  const double rate = clocks_per_second();
  return absl::StrFormat(
      "clock %d/%d  loss %.4f  %.0f images/s  waiting %.0f %%  staleness %d  "
      "ETA %s",
      done, max_iter, last().loss(), samples_per_second(),
      100 * waited / static_cast<double>(recent_.size()), staleness,
      rate > 0 ? DurationText(static_cast<double>(max_iter - done) / rate)
               : "?");
}

}  // namespace cssp
