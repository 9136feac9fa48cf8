#include "worker/caffe/embedded_server.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/config/environment.h"

namespace cssp {
namespace {

constexpr absl::Duration kStartTimeout = absl::Seconds(30);
constexpr absl::Duration kStopGrace = absl::Seconds(10);

absl::StatusOr<std::string> FindProgram(const EmbeddedServerOptions& options) {
  if (!options.program.empty()) return options.program;
  const std::string& folder = options.folder;
  for (const char* place : {"/ps-server", "/../bin/ps-server"}) {
    const std::string program = folder + place;
    if (access(program.c_str(), X_OK) == 0) return program;
  }
  return absl::NotFoundError(absl::StrCat(
      "ps-server is neither in ", folder, " nor in ", folder,
      "/../bin: build it, or name it with --server_program"));
}

absl::StatusOr<std::string> MakeFolder() {
  std::string pattern = absl::StrCat(
      EnvironmentVariable("TMPDIR").value_or("/tmp"), "/caffe-ssp-XXXXXX");
  if (mkdtemp(pattern.data()) == nullptr)
    return absl::InvalidArgumentError(
        absl::StrCat("cannot make a folder like ", pattern));
  return pattern;
}

// "control=127.0.0.1:4711 data=... metrics=..."
std::string ControlOf(const std::string& ready_file) {
  std::ifstream in(ready_file);
  std::stringstream text;
  text << in.rdbuf();
  for (absl::string_view field :
       absl::StrSplit(text.str(), absl::ByAnyChar(" \n"), absl::SkipEmpty()))
    if (absl::ConsumePrefix(&field, "control=")) return std::string(field);
  return "";
}

}  // namespace

absl::StatusOr<std::unique_ptr<EmbeddedServer>> EmbeddedServer::Start(
    const EmbeddedServerOptions& options) {
  auto server = std::unique_ptr<EmbeddedServer>(new EmbeddedServer);
  ASSIGN_OR_RETURN(const std::string program, FindProgram(options));
  ASSIGN_OR_RETURN(server->folder_, MakeFolder());
  const std::string ready = server->folder_ + "/ready";
  ASSIGN_OR_RETURN(
      server->child_,
      ChildProcess::Start(
          program,
          {"--set=id=embedded", absl::StrCat("--set=bind_host=", options.bind_host),
           absl::StrCat("--set=state_dir=", server->folder_, "/state"),
           absl::StrCat("--set=ready_file=", ready),
           "--set=exit_with_parent=true"},
          {"GLOG_minloglevel=1"}));
  const absl::Time deadline = absl::Now() + kStartTimeout;
  while (true) {
    server->control_ = ControlOf(ready);
    if (!server->control_.empty()) return server;
    RETURN_IF_ERROR(server->Check());
    if (absl::Now() > deadline)
      return absl::DeadlineExceededError(absl::StrCat(
          program, " was not ready within ", absl::FormatDuration(kStartTimeout)));
    absl::SleepFor(absl::Milliseconds(20));
  }
}

EmbeddedServer::~EmbeddedServer() {
  if (child_ != nullptr) child_->Terminate(kStopGrace);
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

absl::Status EmbeddedServer::Check() {
  const std::optional<int> code = child_->ExitCode();
  if (!code.has_value()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the embedded ps-server ended with code ", *code));
}

std::string RoutableAddress() {
  std::string address = "127.0.0.1";
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return address;
  for (const ifaddrs* it = list; it != nullptr; it = it->ifa_next) {
    if (it->ifa_addr == nullptr || it->ifa_addr->sa_family != AF_INET ||
        (it->ifa_flags & IFF_LOOPBACK) || !(it->ifa_flags & IFF_UP))
      continue;
    char text[INET_ADDRSTRLEN];
    const auto* in = reinterpret_cast<const sockaddr_in*>(it->ifa_addr);
    inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
    address = text;
    break;
  }
  freeifaddrs(list);
  return address;
}

}  // namespace cssp
