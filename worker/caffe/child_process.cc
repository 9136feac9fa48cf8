#include "worker/caffe/child_process.h"

#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/config/environment.h"

namespace cssp {
namespace {

constexpr absl::Duration kPollEvery = absl::Milliseconds(10);

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::string& program, const std::vector<std::string>& args,
    const std::vector<std::string>& environment) {
  std::vector<std::string> argv{program};
  argv.insert(argv.end(), args.begin(), args.end());
  // The first of two equal names counts: ours first.
  std::vector<std::string> env = environment;
  for (std::string& variable : EnvironmentList())
    env.push_back(std::move(variable));

  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
                                            POSIX_SPAWN_SETSIGDEF |
                                            POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  const int rc = posix_spawn(&pid, program.c_str(), nullptr, &attributes,
                             Pointers(argv).data(), Pointers(env).data());
  posix_spawnattr_destroy(&attributes);
  if (rc != 0)
    return absl::NotFoundError(
        absl::StrCat("cannot start ", program, ": ", strerror(rc)));
  return std::unique_ptr<ChildProcess>(new ChildProcess(pid));
}

ChildProcess::~ChildProcess() { Terminate(absl::Seconds(5)); }

std::optional<int> ChildProcess::ExitCode() {
  if (exit_code_.has_value()) return exit_code_;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

std::optional<int> ChildProcess::Wait(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (!ExitCode().has_value() && absl::Now() < deadline)
    absl::SleepFor(kPollEvery);
  return exit_code_;
}

void ChildProcess::Terminate(absl::Duration grace) {
  if (ExitCode().has_value()) return;
  kill(pid_, SIGTERM);
  if (Wait(grace).has_value()) return;
  kill(pid_, SIGKILL);
  Wait(absl::Seconds(5));
}

}  // namespace cssp
