#include "server/psctl/launcher.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/config/environment.h"

namespace cssp {
namespace {

// mpirun leaves loopback out of its own channel and refuses to run where there
// is nothing else.
bool OnlyLoopback() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return false;
  bool only = true;
  for (ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next)
    if (entry->ifa_addr != nullptr && entry->ifa_addr->sa_family == AF_INET &&
        (entry->ifa_flags & IFF_UP) && !(entry->ifa_flags & IFF_LOOPBACK))
      only = false;
  freeifaddrs(list);
  return only;
}

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

// The child's side of the fork: calls that are safe there only.
[[noreturn]] void Exec(char** command, char** environment, pid_t parent,
                       int log_fd, bool detached) {
  setpgid(0, 0);
  if (detached) {
    setsid();
  } else {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(127);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGINT, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
  const int null_fd = open("/dev/null", O_RDONLY);
  if (null_fd >= 0) dup2(null_fd, STDIN_FILENO);
  if (log_fd >= 0) {
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
  }
  execvpe(command[0], command, environment);
  _exit(127);
}

}  // namespace

std::vector<std::string> MpirunCommand(const LaunchOptions& options,
                                       bool only_loopback) {
  std::vector<std::string> command = {"mpirun", "-n",
                                      absl::StrCat(options.workers)};
  if (!options.hostfile.empty()) {
    command.push_back("--hostfile");
    command.push_back(options.hostfile);
  }
  if (only_loopback)
    command.insert(command.end(),
                   {"--mca", "oob_tcp_if_include", "lo"});
  // A worker that dies takes no other along: the service sees to the rest.
  command.insert(command.end(),
                 {"--bind-to", "none", "--oversubscribe", "--enable-recovery",
                  options.worker_binary,
                  absl::StrCat("--job=", options.job_id),
                  absl::StrCat("--coordinator=", options.coordinator),
                  absl::StrCat("--token_file=", options.token_file)});
  command.insert(command.end(), options.worker_args.begin(),
                 options.worker_args.end());
  return command;
}

absl::StatusOr<std::string> FindWorkerBinary(const std::string& given) {
  std::string path = given;
  if (path.empty()) {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    path = (self.parent_path() / "caffe-worker").string();
  }
  if (access(path.c_str(), X_OK) == 0) return path;
  return absl::NotFoundError(
      absl::StrCat("no worker program at '", path,
                   "'; build caffe-worker or name it with --worker_binary"));
}

absl::StatusOr<std::string> WriteTokenFile(const std::string& folder,
                                           const std::string& token) {
  std::string path = absl::StrCat(folder, "/.cssp-token-XXXXXX");
  const int fd = mkostemp(path.data(), O_CLOEXEC);  // mode 0600
  if (fd < 0)
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot write a token file in '", folder, "': ", std::strerror(errno)));
  const bool written = write(fd, token.data(), token.size()) ==
                       static_cast<ssize_t>(token.size());
  if (close(fd) != 0 || !written) {
    unlink(path.c_str());
    return absl::InternalError(absl::StrCat("cannot write ", path));
  }
  return path;
}

namespace {

// Starts `command` with our environment, its output in the job's log.
absl::StatusOr<pid_t> Spawn(std::vector<std::string> command,
                            const LaunchOptions& options, bool append) {
  int log_fd = -1;
  if (!options.log_file.empty()) {
    log_fd = open(options.log_file.c_str(),
                  O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND |
                      (append ? 0 : O_TRUNC),
                  0644);
    if (log_fd < 0)
      return absl::InvalidArgumentError(
          absl::StrCat("cannot write the log '", options.log_file,
                       "': ", std::strerror(errno)));
  }
  std::vector<std::string> environment = EnvironmentList();
  if (geteuid() == 0) {
    environment.push_back("OMPI_ALLOW_RUN_AS_ROOT=1");
    environment.push_back("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1");
  }
  // Everything is ready before the fork: the child may not allocate.
  std::vector<char*> command_pointers = Pointers(command);
  std::vector<char*> environment_pointers = Pointers(environment);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0)
    Exec(command_pointers.data(), environment_pointers.data(), parent, log_fd,
         options.detached);
  if (log_fd >= 0) close(log_fd);
  if (pid < 0)
    return absl::InternalError(absl::StrCat(
        "cannot start ", command[0], ": ", std::strerror(errno)));
  setpgid(pid, pid);
  return pid;
}

}  // namespace

std::vector<std::string> RestartCommand(const LaunchOptions& options, int rank,
                                        const std::string& host,
                                        bool only_loopback) {
  LaunchOptions one = options;
  one.workers = 1;
  one.hostfile.clear();
  one.worker_args.push_back(absl::StrCat("--rank=", rank));
  std::vector<std::string> command = MpirunCommand(one, only_loopback);
  if (options.hostfile.empty()) {
    const auto program =
        std::find(command.begin(), command.end(), options.worker_binary);
    command.erase(command.begin(), program);
  } else {
    command.insert(command.begin() + 1, {"--host", host});
  }
  return command;
}

absl::StatusOr<std::unique_ptr<Launcher>> Launcher::Start(
    const LaunchOptions& options) {
  ASSIGN_OR_RETURN(
      const pid_t pid,
      Spawn(MpirunCommand(options, OnlyLoopback()), options, false));
  return std::unique_ptr<Launcher>(new Launcher(options, pid));
}

absl::Status Launcher::Restart(int rank, const std::string& host) {
  ASSIGN_OR_RETURN(
      again_[rank],
      Spawn(RestartCommand(options_, rank, host, OnlyLoopback()), options_,
            true));
  return absl::OkStatus();
}

bool Launcher::Restarted(int rank) {
  const auto pid = again_.find(rank);
  if (pid == again_.end()) return false;
  if (waitpid(pid->second, nullptr, WNOHANG) == 0) return true;
  again_.erase(pid);
  return false;
}

Launcher::~Launcher() {
  if (pid_ > 0) Finish(absl::ZeroDuration());
}

std::optional<std::string> Launcher::Ended() {
  if (ended_.has_value() || pid_ <= 0) return ended_;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    ended_ = "mpirun cannot be run; is openmpi-bin installed?";
  else if (WIFEXITED(status))
    ended_ = absl::StrCat("mpirun exited with ", WEXITSTATUS(status));
  else
    ended_ = absl::StrCat("mpirun was killed by signal ", WTERMSIG(status));
  return ended_;
}

bool Launcher::AwaitEnd(absl::Duration timeout) {
  const absl::Time end = absl::Now() + timeout;
  for (;;) {
    bool ended = Ended().has_value();
    const std::map<int, pid_t> again = again_;
    for (const auto& [rank, pid] : again) ended = !Restarted(rank) && ended;
    if (ended) return true;
    if (absl::Now() >= end) return false;
    absl::SleepFor(absl::Milliseconds(20));
  }
}

void Launcher::Signal(int number) {
  if (!Ended().has_value()) kill(-pid_, number);
  for (const auto& [rank, pid] : again_) kill(-pid, number);
}

void Launcher::Finish(absl::Duration grace) {
  if (pid_ <= 0 || AwaitEnd(grace)) return;
  Signal(SIGTERM);
  if (AwaitEnd(absl::Seconds(5))) return;
  Signal(SIGKILL);
  AwaitEnd(absl::Seconds(5));
}

}  // namespace cssp
