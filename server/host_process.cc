#include "server/host_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"

namespace cssp {
namespace {

std::string LimitText(int resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0) return "unknown";
  return limit.rlim_cur == RLIM_INFINITY ? "unlimited"
                                         : absl::StrCat(limit.rlim_cur);
}

}  // namespace

void NotifySystemd(const std::string& state) {
  sd_notify(/*unset_environment=*/0, state.c_str());
}

absl::Duration WatchdogInterval() {
  uint64_t microseconds = 0;
  if (sd_watchdog_enabled(/*unset_environment=*/0, &microseconds) <= 0)
    return absl::ZeroDuration();
  return absl::Microseconds(microseconds);
}

bool WatchdogFeeder::Feed(uint64_t heartbeat) {
  if (heartbeat == last_) return false;
  last_ = heartbeat;
  NotifySystemd("WATCHDOG=1");
  return true;
}

void LogEffectiveLimits() {
  LOG(INFO) << "limits: open files " << LimitText(RLIMIT_NOFILE)
            << ", locked memory " << LimitText(RLIMIT_MEMLOCK)
            << " bytes, address space " << LimitText(RLIMIT_AS)
            << ", processors " << std::thread::hardware_concurrency();
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < 4096)
    LOG(WARNING) << "only " << files.rlim_cur
                 << " open files are allowed: a few hundred workers need more";
}

absl::Status ExitWithParent(int parent) {
  if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
    return absl::InternalError(
        absl::StrCat("exit_with_parent: ", std::strerror(errno)));
  if (getppid() != parent)
    return absl::FailedPreconditionError(
        "exit_with_parent: the parent is gone already");
  return absl::OkStatus();
}

absl::Status WriteFileAtomically(const std::string& path,
                                 const std::string& text) {
  const std::string temporary = absl::StrCat(path, ".", getpid());
  const auto failed = [&](const char* what) {
    const int error = errno;
    unlink(temporary.c_str());
    return absl::InvalidArgumentError(
        absl::StrCat("cannot ", what, " '", path, "': ",
                     std::strerror(error)));
  };
  const int fd = open(temporary.c_str(),
                      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return failed("create");
  const bool written =
      write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (close(fd) != 0 || !written) return failed("write");
  if (rename(temporary.c_str(), path.c_str()) != 0) return failed("write");
  return absl::OkStatus();
}

}  // namespace cssp
