// ps-server: the parameter server daemon.  Wiring only.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"
#include "common/config/environment.h"
#include "common/config/flag_set.h"
#include "server/daemon.h"
#include "server/host_process.h"

namespace cssp {
namespace {

constexpr absl::Duration kDrainBound = absl::Seconds(20);

struct Options {
  ConfigSources sources;
  bool print_config = false, version = false, help = false;
};

absl::Status ParseFlags(int argc, char** argv, Options* options) {
  FlagSet flags(
      "ps-server: one shard of every job's parameters; with no coordinator set,\n"
      "also the coordinator.\n"
      "usage: ps-server --config=FILE [--set=field=value ...]");
  flags.Add("config", &options->sources.file, "ServerConfig as text");
  flags.Add("set", &options->sources.overrides,
            "one field, as lease.lease_ms=3000; may be repeated");
  flags.Add("print_config", &options->print_config,
            "print the effective configuration and where it is from");
  flags.Add("version", &options->version, "print the version");
  flags.Add("help", &options->help, "print this");
  ASSIGN_OR_RETURN(
      const std::vector<std::string> rest,
      flags.Parse(std::vector<std::string>(argv + 1, argv + argc)));
  if (!rest.empty())
    return absl::InvalidArgumentError(absl::StrCat(
        "unexpected argument '", rest[0], "'; ps-server --help"));
  if (options->help) std::fputs(flags.Help().c_str(), stdout);
  if (options->version) std::puts("ps-server (Caffe-SSP) 0.1.0");
  return absl::OkStatus();
}

// A signal of `set` within `timeout`, or 0.
int WaitSignal(const sigset_t& set, absl::Duration timeout) {
  const timespec wait = absl::ToTimespec(timeout);
  const int signal_number = sigtimedwait(&set, nullptr, &wait);
  return signal_number > 0 ? signal_number : 0;
}

// Until a signal; gives the reason where the daemon cannot go on.
absl::Status Serve(Daemon& daemon, const ServerConfig& config,
                   const sigset_t& signals) {
  for (;;) {
    const absl::Status registered = daemon.AwaitRegistered(absl::Seconds(1));
    if (registered.ok()) break;
    if (!absl::IsUnavailable(registered)) return registered;
    NotifySystemd(absl::StrCat("STATUS=waiting for ", config.coordinator()));
    if (WaitSignal(signals, absl::ZeroDuration()) != 0)
      return absl::OkStatus();
  }
  LOG(INFO) << "ps-server " << config.id() << " is ready, "
            << daemon.Addresses().substr(0, daemon.Addresses().size() - 1);
  if (!config.ready_file().empty())
    RETURN_IF_ERROR(
        WriteFileAtomically(config.ready_file(), daemon.Addresses()));
  NotifySystemd(absl::StrCat("READY=1\nSTATUS=", daemon.StatusLine()));

  const absl::Duration watchdog = WatchdogInterval();
  const absl::Duration turn = watchdog > absl::ZeroDuration()
                                  ? std::min(watchdog / 3, absl::Seconds(2))
                                  : absl::Seconds(2);
  WatchdogFeeder feeder;
  int signal_number = 0;
  while ((signal_number = WaitSignal(signals, turn)) == 0) {
    if (watchdog > absl::ZeroDuration()) feeder.Feed(daemon.heartbeat());
    NotifySystemd(absl::StrCat("STATUS=", daemon.StatusLine()));
  }
  LOG(INFO) << "signal " << signal_number << ": draining";
  return absl::OkStatus();
}

absl::Status Run(int argc, char** argv) {
  const int parent = getppid();
  Options options;
  RETURN_IF_ERROR(ParseFlags(argc, argv, &options));
  if (options.help || options.version) return absl::OkStatus();
  options.sources.environment = EnvironmentList();
  ServerConfig config;
  ASSIGN_OR_RETURN(const ConfigOrigins origins,
                   LoadConfig(options.sources, &config));
  RETURN_IF_ERROR(Validate(config));
  if (options.print_config) {
    std::fputs(PrintConfig(config, origins).c_str(), stdout);
    return absl::OkStatus();
  }
  for (const std::string& warning : origins.warnings) LOG(WARNING) << warning;

  // Threads inherit the mask: only this one takes signals, in Serve.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  if (config.exit_with_parent()) RETURN_IF_ERROR(ExitWithParent(parent));
  LogEffectiveLimits();

  ASSIGN_OR_RETURN(const std::unique_ptr<Daemon> daemon, Daemon::Start(config));
  const absl::Status served = Serve(*daemon, config, signals);
  // A second signal ends the process at once.
  signal(SIGTERM, SIG_DFL);
  signal(SIGINT, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  NotifySystemd("STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=60000000");
  if (served.ok()) daemon->Drain(kDrainBound);
  daemon->Stop();
  if (!config.ready_file().empty()) unlink(config.ready_file().c_str());
  return served;
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  return cssp::ExitCodeFor("ps-server", cssp::Run(argc, argv));
}
