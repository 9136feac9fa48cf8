// What a daemon owes to its host: systemd's notifications, limits, its parent,
// the file that says it is ready.
#ifndef CSSP_SERVER_HOST_PROCESS_H_
#define CSSP_SERVER_HOST_PROCESS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace cssp {

// "READY=1", "STATUS=...", "STOPPING=1"; nothing where systemd does not listen.
void NotifySystemd(const std::string& state);
// How often systemd wants WATCHDOG=1; zero: it does not.
absl::Duration WatchdogInterval();

// Feeds the watchdog while `heartbeat` advances between calls, so that a hung
// progress loop is not hidden by a live timer.  Thread-confined: main.
class WatchdogFeeder {
 public:
  // True when the watchdog was fed.
  bool Feed(uint64_t heartbeat);

 private:
  uint64_t last_ = 0;
};

// Logs limits on open files, locked memory, and processors; warns where they
// are too low for a server.
void LogEffectiveLimits();

// The kernel sends SIGTERM when the parent dies.  FailedPrecondition when it is
// dead already (`parent`: its pid when we began).
absl::Status ExitWithParent(int parent);

// Writes `text` to a temporary file beside `path` and renames it, so a reader
// sees all of it or nothing.
absl::Status WriteFileAtomically(const std::string& path,
                                 const std::string& text);

}  // namespace cssp

#endif  // CSSP_SERVER_HOST_PROCESS_H_
