#include "worker/sync/cut_puller.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/sync/job_links.h"

namespace cssp {

absl::StatusOr<std::unique_ptr<CutPuller>> CutPuller::Create(
    JobSession& session, const control::ShardMap& map, ps::SlabLayout layout,
    const TransportOptions& transport) {
  if (map.chunk_server_size() != static_cast<int>(layout.chunks().size()))
    return absl::InternalError("the shard map does not fit the layout");
  auto puller = std::unique_ptr<CutPuller>(
      new CutPuller(session, std::move(layout)));
  PsClientOptions client = DataPlaneOptions(session, map);
  client.chunk_server.assign(map.chunk_server().begin(),
                             map.chunk_server().end());
  client.subscribe = false;
  client.transport = transport;
  puller->client_ = std::make_unique<PsClient>(
      std::move(client), static_cast<PsClientEvents&>(*puller));
  RETURN_IF_ERROR(puller->client_->Start());
  session.Watch([p = puller.get()](absl::Status s) { p->OnFatal(s); });
  return puller;
}

CutPuller::CutPuller(JobSession& session, ps::SlabLayout layout)
    : session_(session),
      layout_(std::move(layout)),
      landing_(static_cast<size_t>(layout_.size())),
      here_(layout_.chunks().size()) {}

CutPuller::~CutPuller() {
  session_.Unwatch();
  if (client_ != nullptr) client_->Stop();
}

absl::Status CutPuller::Pull(int64_t clock, int slot, absl::Span<float> slab,
                             absl::Duration timeout) {
  const int chunks = static_cast<int>(layout_.chunks().size());
  {
    absl::MutexLock lock(&mu_);
    RETURN_IF_ERROR(failure_);
    clock_ = clock;
    slot_ = slot;
    refused_ = ps::Reason::kNone;
    missing_ = chunks;
    std::fill(here_.begin(), here_.end(), false);
  }
  for (int chunk = 0; chunk < chunks; ++chunk)
    client_->SendPullExact(chunk, slot, clock);
  absl::MutexLock lock(&mu_);
  const auto over = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return missing_ == 0 || refused_ != ps::Reason::kNone || !failure_.ok();
  };
  const bool in_time = mu_.AwaitWithTimeout(absl::Condition(&over), timeout);
  clock_ = -1;
  RETURN_IF_ERROR(failure_);
  if (refused_ == ps::Reason::kGone)
    return absl::NotFoundError(
        absl::StrCat("the servers no longer keep version ", clock));
  if (refused_ != ps::Reason::kNone)
    return absl::UnavailableError(
        absl::StrCat("a server refuses version ", clock, " slot ", slot, ": ",
                     ps::ReasonName(refused_)));
  if (!in_time)
    return absl::DeadlineExceededError(
        absl::StrCat("version ", clock, " did not come within ",
                     absl::FormatDuration(timeout)));
  std::copy(landing_.begin(), landing_.end(), slab.begin());
  return absl::OkStatus();
}

bool CutPuller::Wanted(const ps::MessageHeader& header) const {
  return header.clock == clock_ && header.slot == slot_ &&
         !here_[header.chunk];
}

float* CutPuller::OnValuesBegin(const ps::MessageHeader& header) {
  const ps::Chunk& chunk = layout_.chunks()[header.chunk];
  absl::MutexLock lock(&mu_);
  if (!Wanted(header) || header.payload_bytes != chunk.count * sizeof(float))
    return nullptr;
  return landing_.data() + chunk.offset;
}

void CutPuller::OnValuesEnd(const ps::MessageHeader& header, float* memory,
                            bool ok) {
  bool again = false;
  {
    absl::MutexLock lock(&mu_);
    if (!Wanted(header)) return;
    if (ok) {
      here_[header.chunk] = true;
      --missing_;
    }
    again = !ok;
  }
  if (again)
    client_->SendPullExact(static_cast<int>(header.chunk), header.slot,
                           header.clock);
}

void CutPuller::OnPullRefused(const ps::MessageHeader& header) {
  absl::MutexLock lock(&mu_);
  if (header.clock == clock_ && header.slot == slot_) refused_ = header.reason;
}

void CutPuller::OnFatal(const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  if (failure_.ok()) failure_ = status;
}

}  // namespace cssp
