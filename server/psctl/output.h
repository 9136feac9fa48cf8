// What psctl prints: tables, JSON and the progress line.  Pure functions.
#ifndef CSSP_SERVER_PSCTL_OUTPUT_H_
#define CSSP_SERVER_PSCTL_OUTPUT_H_

#include <google/protobuf/message.h>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "proto/control.pb.h"

namespace cssp {

enum class JsonForm { kIndented, kOneLine };

// Field names as in control.proto; 64-bit integers are strings and fields at
// their default are left out, as protobuf's JSON has it.  Ends with a newline.
std::string ToJson(const google::protobuf::Message& message, JsonForm form);

// Columns as wide as their widest cell, the first row in capitals as it comes.
std::string Table(const std::vector<std::vector<std::string>>& rows);

std::string JobsTable(const control::ListJobsResponse& jobs);
std::string ServersTable(const control::ListServersResponse& servers);
std::string DescribeText(const control::JobStatus& job);
// "cifar10-quick-3 succeeded at clock 5000, 81 s".
std::string ResultLine(const control::JobStatus& job);
// "running" for JOB_RUNNING.
std::string StateText(control::JobState state);
// "1h02m", "3m12s", "8s".
std::string DurationText(double seconds);
std::string BytesText(int64_t bytes);

// The last few seconds of a job, for rates.  Thread-confined.
class ProgressMeter {
 public:
  void Add(const control::ClockProgress& progress);
  bool empty() const { return recent_.empty(); }
  const control::ClockProgress& last() const { return recent_.back(); }
  double samples_per_second() const;
  double clocks_per_second() const;
  // "clock 120/5000  loss 1.4137  812 images/s  waiting 12 %  staleness 1
  // ETA 3m12s", in one line.
  std::string Line(int64_t max_iter) const;

 private:
  static constexpr double kWindowSeconds = 5;
  double span() const;
  std::deque<control::ClockProgress> recent_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_PSCTL_OUTPUT_H_
