#include "server/daemon.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/transport/metered_transport.h"
#include "server/service/shard_controls.h"

namespace cssp {
namespace {

constexpr char kVersion[] = "0.1.0";

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || absl::StartsWith(host, "127.");
}

// `address` with the host that others are told.
std::string Advertise(const ServerConfig& config, const std::string& address) {
  if (config.advertise_host().empty()) return address;
  return absl::StrCat(config.advertise_host(),
                      address.substr(address.rfind(':')));
}

TransportOptions TransportOptionsOf(const ServerConfig& config) {
  TransportOptions options;
  options.transports = config.transport().transports();
  options.devices = config.transport().devices();
  if (options.devices.empty() && IsLoopback(config.bind_host()))
    options.devices = "lo";
  return options;
}

}  // namespace

std::string Daemon::store_directory() const {
  return std::filesystem::absolute(
             std::filesystem::path(config_.state_dir()) / "store")
      .lexically_normal()
      .string();
}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(
    const ServerConfig& config) {
  std::unique_ptr<Daemon> daemon(new Daemon(config));
  RETURN_IF_ERROR(daemon->OpenParts());
  return daemon;
}

absl::Status Daemon::OpenParts() {
  if (config_.metrics_port() >= 0) {
    ASSIGN_OR_RETURN(exposer_,
                     MetricsExposer::Create(config_.bind_host(),
                                            config_.metrics_port(), registry_));
  }
  std::error_code error;
  std::filesystem::create_directories(config_.state_dir(), error);
  if (error)
    return absl::InvalidArgumentError(
        absl::StrCat("state_dir '", config_.state_dir(),
                     "' cannot be made: ", error.message()));
  RocksDbOptions store;
  store.directory = store_directory();
  store.max_bytes = config_.max_state_bytes();
  ASSIGN_OR_RETURN(store_, OpenRocksDbStore(store));

  // A daemon that is told its own address as the coordinator's is it.
  const bool coordinator =
      config_.coordinator().empty() ||
      config_.coordinator() ==
          absl::StrCat(config_.bind_host(), ":", config_.control_port());
  if (coordinator) {
    RETURN_IF_ERROR(StartCoordinator());
  } else {
    RETURN_IF_ERROR(StartRegistration());
  }
  shard_metrics_ = std::make_unique<ShardHostMetrics>(registry_);
  transport_metrics_ = std::make_unique<TransportMetrics>(registry_);
  ShardHostOptions host;
  host.data_host = config_.bind_host();
  host.data_port = config_.data_port();
  host.transport = TransportOptionsOf(config_);
  host.store = store_.get();
  host.store_directory = store_directory();
  host.log_directory =
      (std::filesystem::path(store_directory()).parent_path() / "log").string();
  host.metrics = shard_metrics_.get();
  host.make_transport = [this](const TransportOptions& options,
                               TransportHandler& handler) {
    return MakeMeteredTransport(
        [&options](TransportHandler& inner) {
          return MakeUcxTransport(options, inner);
        },
        *transport_metrics_, handler);
  };
  host.on_checkpoint = [this](const control::ShardCheckpoint& part) {
    OnCheckpoint(part);
  };
  ASSIGN_OR_RETURN(shard_host_, ShardHost::Start(std::move(host)));

  ControlPlaneOptions plane;
  plane.host = config_.bind_host();
  plane.port = config_.control_port();
  plane.coordinator = coordinator_.get();
  plane.shard_host = shard_host_.get();
  plane.store = store_.get();
  ASSIGN_OR_RETURN(control_plane_, ControlPlane::Start(plane));
  if (registration_ != nullptr) {
    registration_->Start();
    return absl::OkStatus();
  }
  if (!config_.hold_shards()) {
    coordinator_->Start();
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(coordinator_->AddLocalServer(
      Info(), MakeLocalShardControl(*shard_host_, *store_),
      [host = shard_host_.get()](control::ServerInfo* info) {
        info->set_bytes(host->bytes());
        info->set_jobs(host->jobs());
      }));
  coordinator_->Start();
  return absl::OkStatus();
}

absl::Status Daemon::StartCoordinator() {
  coordinator_metrics_ = std::make_unique<CoordinatorMetrics>(registry_);
  CoordinatorOptions options;
  options.lease = config_.lease();
  options.keep_checkpoints = config_.keep_checkpoints();
  options.max_model_bytes = config_.max_model_bytes();
  options.time = &TimeSource::Real();
  options.unix_seconds = [] {
    return absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  };
  options.store = store_.get();
  options.recovery = config_.recovery();
  options.leaves_for_good = config_.exit_with_parent();
  options.connect = MakeRemoteShardControl;
  options.metrics = coordinator_metrics_.get();
  ASSIGN_OR_RETURN(coordinator_, Coordinator::Create(std::move(options)));
  return absl::OkStatus();
}

absl::Status Daemon::StartRegistration() {
  RegistrationOptions options;
  options.coordinator = config_.coordinator();
  options.lease = config_.lease();
  options.info = [this] { return Info(); };
  options.on_lost = [this] { control_plane_->CloseShards(); };
  options.patience =
      absl::Milliseconds(config_.recovery().coordinator_wait_ms());
  ASSIGN_OR_RETURN(registration_, Registration::Create(std::move(options)));
  return absl::OkStatus();
}

void Daemon::OnCheckpoint(const control::ShardCheckpoint& part) {
  if (coordinator_ != nullptr) coordinator_->OnShardCheckpoint(config_.id(), part);
  if (registration_ != nullptr) registration_->Report(part);
}

control::ServerInfo Daemon::Info() const {
  control::ServerInfo info;
  info.set_id(config_.id());
  info.set_control_address(Advertise(
      config_, absl::StrCat(config_.bind_host(), ":", control_plane_->port())));
  info.set_data_address(Advertise(config_, shard_host_->data_address()));
  if (exposer_ != nullptr)
    info.set_metrics_address(Advertise(config_, exposer_->address()));
  info.set_store_directory(store_directory());
  info.set_version(kVersion);
  info.set_bytes(shard_host_->bytes());
  info.set_jobs(shard_host_->jobs());
  for (control::HeldShard& held : shard_host_->held())
    *info.add_held() = std::move(held);
  return info;
}

absl::Status Daemon::AwaitRegistered(absl::Duration timeout) {
  if (registration_ == nullptr) return absl::OkStatus();
  return registration_->AwaitRegistered(timeout);
}

std::string Daemon::Addresses() const {
  const control::ServerInfo info = Info();
  return absl::StrCat("control=", info.control_address(),
                      " data=", info.data_address(),
                      " metrics=", info.metrics_address(), "\n");
}

std::string Daemon::StatusLine() const {
  return absl::StrCat(is_coordinator() ? "coordinator, " : "",
                      shard_host_->jobs(), " jobs, ",
                      shard_host_->bytes() >> 10, " KiB of parameters");
}

void Daemon::Drain(absl::Duration bound) {
  if (coordinator_ != nullptr) coordinator_->Drain(bound);
  if (registration_ != nullptr) registration_->Drain(bound);
}

void Daemon::Stop() {
  if (coordinator_ != nullptr) coordinator_->Stop();
  if (registration_ != nullptr) registration_->Stop();
  if (control_plane_ != nullptr) control_plane_->Shutdown(absl::Seconds(1));
  if (shard_host_ != nullptr) shard_host_->Stop();
}

}  // namespace cssp
