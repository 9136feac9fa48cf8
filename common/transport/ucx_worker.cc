#include "common/transport/ucx_worker.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <ucs/debug/log_def.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/transport/listener_owner.h"

namespace cssp {
namespace {

// UCX writes to stdout by default, where Caffe's lines are parsed.  What it
// calls an error is mostly a peer that died, which OnDisconnect reports: so
// VLOG.  Fatal ones still abort by UCX's own handler, loudly.
ucs_log_func_rc_t ToOurLog(const char* file, unsigned line, const char*,
                           ucs_log_level_t level,
                           const ucs_log_component_config_t*,
                           const char* message, va_list args) {
  if (level == UCS_LOG_LEVEL_FATAL) return UCS_LOG_FUNC_RC_CONTINUE;
  char text[512];
  vsnprintf(text, sizeof(text), message, args);
  VLOG(level <= UCS_LOG_LEVEL_WARN ? 1 : 3)
      << "ucx " << ucs_log_level_names[level] << " (" << file << ":" << line
      << "): " << text;
  return UCS_LOG_FUNC_RC_STOP;
}

struct Setting {
  const char* name;
  std::string value;
};

// UCX's configuration, freed when it goes.
class Config {
 public:
  Config() = default;
  ~Config() {
    if (config_ != nullptr) ucp_config_release(config_);
  }
  absl::Status Read() {
    return FromUcs(ucp_config_read(nullptr, nullptr, &config_),
                   "cannot read UCX's configuration");
  }
  absl::Status Set(const Setting& setting) {
    return FromUcs(
        ucp_config_modify(config_, setting.name, setting.value.c_str()),
        absl::StrCat("UCX does not accept ", setting.name, "=", setting.value));
  }
  // Whether a user's environment (which UCX reads, not we) changed `name`
  // from its default, "all".
  bool SetByUser(absl::string_view name) const {
    char* text = nullptr;
    size_t size = 0;
    FILE* stream = open_memstream(&text, &size);
    if (stream == nullptr) return false;
    ucp_config_print(config_, stream, "", UCS_CONFIG_PRINT_CONFIG);
    fclose(stream);
    bool changed = false;
    const std::string start = absl::StrCat("UCX_", name, "=");
    for (absl::string_view line : absl::StrSplit(text, '\n')) {
      if (absl::ConsumePrefix(&line, start)) changed = line != "all";
    }
    free(text);
    return changed;
  }
  const ucp_config_t* get() const { return config_; }

 private:
  ucp_config_t* config_ = nullptr;
};

// Names without UCX's transport prefixes: ucp_config_modify takes the prefixed
// ones (TCP_TX_SEG_SIZE, POSIX_ERROR_HANDLING) without a word and ignores them.
std::vector<Setting> DataPlaneSettings() {
  return {
      // Else peer error handling silently drops shared memory.
      {"MM_ERROR_HANDLING", "y"},
      // 8K by default: 64K messages crawl at 0.4 GB/s instead of 3 when there
      // are fewer cores than processes.  (64K and more: UCX 1.13 hangs.)
      {"MM_SEG_SIZE", "32K"},
      // 8K by default: one system call each.  A chunk in one piece.
      {"TX_SEG_SIZE", absl::StrCat(UcxWorker::kSegmentBytes)},
      {"RX_SEG_SIZE", absl::StrCat(UcxWorker::kSegmentBytes)},
      {"RNDV_THRESH", "256K"},
      // A dead host is noticed in seconds, not in minutes.
      {"KEEPALIVE_INTERVAL", "1s"},
      {"KEEPIDLE", "2s"},
      {"KEEPINTVL", "1s"},
      // A restarted server gets its port back although old connections linger.
      {"CM_REUSEADDR", "y"},
  };
}

// All but cma, which is slower here than shared memory, needs ptrace rights,
// and cannot survive a peer's death; and no shared memory where a peer cannot
// map ours, which UCX finds out too late: its connections would fail.
std::string DefaultTransports(const TransportOptions& options) {
  for (const std::string& peer : options.peers) {
    const std::optional<uint32_t> owner = ListenerOwner(peer);
    if (!owner.has_value() || *owner == geteuid()) continue;
    LOG(INFO) << peer << " belongs to user " << *owner << ", this process to "
              << geteuid() << ": no shared memory between them, TCP instead";
    return "^shm";
  }
  return "^cma";
}

absl::Status Configure(const TransportOptions& options, Config& config) {
  RETURN_IF_ERROR(config.Read());
  for (const Setting& setting : DataPlaneSettings()) {
    RETURN_IF_ERROR(config.Set(setting));
  }
  if (!config.SetByUser("TLS")) {
    RETURN_IF_ERROR(config.Set({"TLS", options.transports.empty()
                                           ? DefaultTransports(options)
                                           : options.transports}));
  }
  if (!options.devices.empty() && !config.SetByUser("NET_DEVICES")) {
    RETURN_IF_ERROR(config.Set({"NET_DEVICES", options.devices}));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status FromUcs(ucs_status_t status, absl::string_view what) {
  if (status == UCS_OK) return absl::OkStatus();
  const std::string message =
      absl::StrCat(what, ": ", ucs_status_string(status));
  switch (status) {
    case UCS_ERR_INVALID_PARAM:
    case UCS_ERR_INVALID_ADDR:
    case UCS_ERR_NO_ELEM:
      return absl::InvalidArgumentError(message);
    case UCS_ERR_NO_MEMORY:
    case UCS_ERR_NO_RESOURCE:
    case UCS_ERR_EXCEEDS_LIMIT:
      return absl::ResourceExhaustedError(message);
    case UCS_ERR_BUSY:
    case UCS_ERR_ALREADY_EXISTS:
      return absl::AlreadyExistsError(message);
    case UCS_ERR_NO_DEVICE:
      return absl::NotFoundError(message);
    case UCS_ERR_CANCELED:
      return absl::CancelledError(message);
    case UCS_ERR_TIMED_OUT:
      return absl::DeadlineExceededError(message);
    case UCS_ERR_UNSUPPORTED:
    case UCS_ERR_NOT_IMPLEMENTED:
      return absl::UnimplementedError(message);
    // A peer that is not there, in UCX's many words.
    case UCS_ERR_UNREACHABLE:
    case UCS_ERR_REJECTED:
    case UCS_ERR_NOT_CONNECTED:
    case UCS_ERR_CONNECTION_RESET:
    case UCS_ERR_ENDPOINT_TIMEOUT:
    case UCS_ERR_IO_ERROR:
    case UCS_ERR_SHMEM_SEGMENT:
    case UCS_ERR_SOME_CONNECTS_FAILED:
      return absl::UnavailableError(message);
    default:
      return UCS_IS_ENDPOINT_ERROR(status) || UCS_IS_LINK_ERROR(status)
                 ? absl::UnavailableError(message)
                 : absl::InternalError(message);
  }
}

absl::StatusOr<std::unique_ptr<UcxWorker>> UcxWorker::Create(
    const TransportOptions& options, size_t am_header_bytes) {
  auto worker = absl::WrapUnique(new UcxWorker());
  RETURN_IF_ERROR(worker->Init(options, am_header_bytes));
  return worker;
}

absl::Status UcxWorker::Init(const TransportOptions& options,
                             size_t am_header_bytes) {
  // UCX's log is the process's, like ours.
  static std::once_flag once;
  std::call_once(once, [] { ucs_log_push_handler(ToOurLog); });

  Config config;
  RETURN_IF_ERROR(Configure(options, config));
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME |
                      UCP_PARAM_FIELD_MT_WORKERS_SHARED;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  params.name = "cssp";
  params.mt_workers_shared = 1;  // memory is allocated on other threads, too
  ucp_context_h context = nullptr;
  RETURN_IF_ERROR(
      FromUcs(ucp_init(&params, config.get(), &context),
              absl::StrCat("UCX cannot start (devices '", options.devices,
                           "', transports '", options.transports, "')")));
  context_ = std::make_shared<UcxContext>(context);

  ucp_worker_params_t worker_params{};
  worker_params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  // One thread at a time, not always the one that made it.
  worker_params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  RETURN_IF_ERROR(FromUcs(ucp_worker_create(context, &worker_params, &worker_),
                          "UCX cannot make a worker"));
  RETURN_IF_ERROR(FromUcs(ucp_worker_get_efd(worker_, &ucx_fd_),
                          "UCX has no event descriptor"));

  ucp_worker_attr_t attributes{};
  attributes.field_mask = UCP_WORKER_ATTR_FIELD_MAX_AM_HEADER;
  RETURN_IF_ERROR(FromUcs(ucp_worker_query(worker_, &attributes),
                          "UCX does not tell its limits"));
  if (attributes.max_am_header < am_header_bytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "max_header_bytes needs %d bytes of header, UCX carries %d",
        am_header_bytes, attributes.max_am_header));
  }
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd_ < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot make an eventfd: ", strerror(errno)));
  }
  return absl::OkStatus();
}

UcxWorker::~UcxWorker() {
  // UCX's order: worker before context; its descriptor goes with the worker.
  if (worker_ != nullptr) ucp_worker_destroy(worker_);
  if (wake_fd_ >= 0) close(wake_fd_);
}

void UcxWorker::Wait(absl::Duration timeout) {
  // Anything but OK: UCX already has something to do.
  if (ucp_worker_arm(worker_) != UCS_OK) return;
  pollfd fds[] = {{ucx_fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
  const bool forever = timeout > absl::Hours(24);
  const timespec limit =
      absl::ToTimespec(std::max(timeout, absl::ZeroDuration()));
  ppoll(fds, 2, forever ? nullptr : &limit, nullptr);
  if (fds[1].revents != 0) {
    woken_.store(false, std::memory_order_relaxed);
    uint64_t count;
    while (read(wake_fd_, &count, sizeof(count)) > 0) {
    }
  }
}

void UcxWorker::Wake() {
  woken_.store(true, std::memory_order_relaxed);
  const uint64_t one = 1;
  // Full means that a wake is pending: just as good.
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
}

bool OnlyTcp(absl::string_view lanes) {
  for (absl::string_view lane : absl::StrSplit(lanes, ", ")) {
    if (!absl::StartsWith(lane, "tcp/")) return false;
  }
  return true;
}

std::string DescribeLanes(ucp_ep_h endpoint) {
  char* text = nullptr;
  size_t size = 0;
  FILE* stream = open_memstream(&text, &size);
  if (stream == nullptr) return "unknown";
  ucp_ep_print_info(endpoint, stream);
  fclose(stream);
  // "#   lane[0]:  5:tcp/lo.0 md[0]  -> md[0]/tcp/sysdev[255] am am_bw#0".
  std::vector<std::string> lanes;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const size_t lane = line.find("lane[");
    if (lane == absl::string_view::npos) continue;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line.substr(lane), ' ', absl::SkipEmpty());
    if (words.size() < 2) continue;
    const std::vector<absl::string_view> parts =
        absl::StrSplit(words[1], absl::MaxSplits(':', 1));
    absl::string_view name = parts.back();
    name = name.substr(0, name.rfind('.'));
    if (name == "cm") continue;  // carries no data
    if (std::find(lanes.begin(), lanes.end(), name) == lanes.end()) {
      lanes.emplace_back(name);
    }
  }
  free(text);
  return absl::StrJoin(lanes, ", ");
}

}  // namespace cssp
