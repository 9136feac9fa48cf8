#include "common/metrics/process_stats.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

absl::StatusOr<std::string> ReadFile(const char* path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  return text.str();
}

absl::StatusOr<double> BootSeconds() {
  ASSIGN_OR_RETURN(const std::string text, ReadFile("/proc/stat"));
  double seconds = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::ConsumePrefix(&line, "btime ") &&
        absl::SimpleAtod(line, &seconds)) {
      return seconds;
    }
  }
  return absl::NotFoundError("/proc/stat has no btime");
}

double CountOpenFds() {
  DIR* dir = opendir("/proc/self/fd");
  if (dir == nullptr) return 0;
  double count = 0;
  while (const dirent* entry = readdir(dir)) count += entry->d_name[0] != '.';
  closedir(dir);
  return count - 1;  // the directory itself was open
}

}  // namespace

absl::StatusOr<ProcessStats> ParseProcStat(absl::string_view stat,
                                           double boot_seconds,
                                           double ticks_per_second,
                                           double page_bytes) {
  // Field 2 is "(name)": fields are counted after its last bracket.
  const size_t bracket = stat.rfind(')');
  if (bracket == absl::string_view::npos) {
    return absl::InvalidArgumentError("/proc/self/stat: no process name");
  }
  const std::vector<absl::string_view> field = absl::StrSplit(
      stat.substr(bracket + 1), absl::ByAnyChar(" \n"), absl::SkipEmpty());
  const auto number = [&field](size_t number_in_manual, double* value) {
    const size_t i = number_in_manual - 3;
    return i < field.size() && absl::SimpleAtod(field[i], value);
  };
  double user, system, start, virtual_bytes, pages;
  if (!number(14, &user) || !number(15, &system) || !number(22, &start) ||
      !number(23, &virtual_bytes) || !number(24, &pages)) {
    return absl::InvalidArgumentError("/proc/self/stat: fields missing");
  }
  ProcessStats stats;
  stats.cpu_seconds = (user + system) / ticks_per_second;
  stats.start_time_seconds = boot_seconds + start / ticks_per_second;
  stats.virtual_memory_bytes = virtual_bytes;
  stats.resident_memory_bytes = pages * page_bytes;
  return stats;
}

absl::StatusOr<ProcessStats> ReadProcessStats() {
  ASSIGN_OR_RETURN(const std::string stat, ReadFile("/proc/self/stat"));
  ASSIGN_OR_RETURN(const double boot, BootSeconds());
  ASSIGN_OR_RETURN(
      ProcessStats stats,
      ParseProcStat(stat, boot, sysconf(_SC_CLK_TCK), sysconf(_SC_PAGESIZE)));
  stats.open_fds = CountOpenFds();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_fds = limit.rlim_cur;
  return stats;
}

}  // namespace cssp
