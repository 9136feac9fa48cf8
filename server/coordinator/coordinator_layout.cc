// Coordinator: the model's layout, its placement and the opening of shards.
#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"
#include "common/ps/layout_proto.h"
#include "server/checkpoint/checkpoint_io.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/job_spec.h"

namespace cssp {
namespace {


absl::Status CheckDeclaration(const control::DeclareLayoutRequest& request) {
  if (request.blobs_size() > ps::SlabLayout::kMaxBlobs)
    return absl::InvalidArgumentError(
        absl::StrCat("the net has ", request.blobs_size(),
                     " parameters; at most ", ps::SlabLayout::kMaxBlobs,
                     " are taken"));
  for (const control::BlobSpec& blob : request.blobs())
    if (blob.key().size() > 1024 || blob.shape_size() > 32)
      return absl::InvalidArgumentError(
          absl::StrCat("parameter '", blob.key().substr(0, 64),
                       "': its key or shape is too long"));
  if (request.start_clock() < 0 || request.samples_per_clock() < 0)
    return absl::InvalidArgumentError(
        "start_clock and samples_per_clock must not be negative");
  return absl::OkStatus();
}

// Of the job's tables, over all servers; what overflows is too much.
uint64_t TableBytes(const control::JobSpec& spec, size_t servers) {
  double bytes = 0;
  for (const control::TableSpec& table : spec.tables())
    bytes += (table.sparse_rows() > 0
                  ? static_cast<double>(table.sparse_rows()) * servers
                  : static_cast<double>(table.rows())) *
             table.width() * sizeof(float);
  return bytes < 1e18 ? static_cast<uint64_t>(bytes) : ~uint64_t{0};
}

int64_t ModelBytes(const control::DeclareLayoutRequest& request) {
  int64_t floats = 0;
  for (const control::BlobSpec& blob : request.blobs())
    floats += std::clamp<int64_t>(blob.count(), 0, ps::SlabLayout::kMaxFloats);
  return floats * static_cast<int64_t>(sizeof(float));
}

}  // namespace

absl::StatusOr<ps::SlabLayout> Coordinator::LayoutLocked(
    const Job& job, const control::DeclareLayoutRequest& request) {
  if (job.spec.tables_size() > 0) {
    if (request.blobs_size() > 0)
      return absl::InvalidArgumentError(
          absl::StrCat("job ", job.id, " has tables, not a net"));
    return ps::SlabLayout();
  }
  int64_t chunk_bytes = job.spec.chunk_bytes();
  if (job.model.has_value()) {
    chunk_bytes = job.model->layout.chunk_bytes();
  } else if (chunk_bytes == 0) {
    const int64_t live = std::count_if(
        servers_.begin(), servers_.end(),
        [](const Server& server) { return server.info.state() == "live"; });
    chunk_bytes =
        DefaultChunkBytes(ModelBytes(request), static_cast<int>(live));
  }
  return ps::SlabLayout::Create(ps::BlobsFromProto(request.blobs()),
                                chunk_bytes);
}

absl::StatusOr<PlacedModel> Coordinator::PlaceLocked(
    const Job& job, const control::DeclareLayoutRequest& request,
    ps::SlabLayout layout) {
  const bool tables = job.spec.tables_size() > 0;
  const uint64_t bytes =
      tables ? TableBytes(job.spec, servers_.size())
             : static_cast<uint64_t>(layout.size()) * sizeof(float);
  if (bytes > options_.max_model_bytes)
    return absl::InvalidArgumentError(
        absl::StrCat(tables ? "the tables have " : "the model has ", bytes, " bytes; max_model_bytes is ",
                     options_.max_model_bytes));
  return PlaceOnLiveLocked(job, std::move(layout));
}

absl::StatusOr<PlacedModel> Coordinator::PlaceOnLiveLocked(
    const Job& job, ps::SlabLayout layout) {
  const bool tables = job.spec.tables_size() > 0;
  PlacedModel model{.layout = std::move(layout)};
  const size_t chunks = model.layout.chunks().size();
  for (const Server& server : servers_) {
    if (server.info.state() != "live") continue;
    // A server without a chunk would only be waited for.
    if (!tables && model.shards.size() == chunks) continue;
    control::ServerEntry* entry = model.map.add_servers();
    entry->set_index(model.map.servers_size() - 1);
    entry->set_data_address(server.info.data_address());
    entry->set_control_address(server.info.control_address());
    model.server_ids.push_back(server.info.id());
    model.directories.push_back(server.info.store_directory());
    model.shards.push_back(server.shard);
    model.registrations.push_back(server.registration);
  }
  if (model.shards.empty())
    return absl::FailedPreconditionError("no ps-server is live");
  model.map.set_map_epoch(1);
  model.map.set_chunk_bytes(static_cast<int32_t>(model.layout.chunk_bytes()));
  for (const int server : ps::PlaceChunks(
           model.layout, static_cast<int>(model.shards.size())))
    model.map.add_chunk_server(server);
  return model;
}

control::OpenShardRequest Coordinator::OpenRequestLocked(
    const Job& job, const PlacedModel& model) const {
  control::OpenShardRequest open;
  open.set_job_id(job.id);
  open.set_job_number(job.number);
  open.set_job_epoch(job.status.job_epoch());
  open.set_token(job.token);
  *open.mutable_spec() = WithoutNets(job.spec);
  open.mutable_spec()->set_staleness(job.status.staleness());
  for (const ps::BlobSpec& blob : model.layout.blobs())
    *open.add_blobs() = ps::ToProto(blob);
  *open.mutable_shard_map() = model.map;
  open.set_start_clock(job.status.start_clock());
  for (int rank = 0; rank < MaxWorkers(job.spec); ++rank) {
    const auto incarnation = job.incarnations.find(rank);
    open.add_incarnations(
        incarnation == job.incarnations.end() ? 0 : incarnation->second);
    const bool first = rank < job.spec.workers();
    if (first && (job.spec.wait_for_dead() ||
                  job.status.state() == control::JOB_PENDING))
      open.add_members(rank);
  }
  if (open.members().empty())
    *open.mutable_members() = MembersLocked(job).ranks();
  return open;
}

absl::Status Coordinator::OpenShards(const control::OpenShardRequest& base,
                                     const PlacedModel& model,
                                     const std::vector<int>& which) {
  std::vector<absl::Status> opened(which.size());
  {
    std::vector<Thread> threads;
    for (size_t i = 0; i < which.size(); ++i)
      threads.emplace_back("open-shard", [&, i] {
        control::OpenShardRequest request = base;
        request.set_server_index(which[i]);
        opened[i] = model.shards[which[i]]->Open(request).status();
      });
  }
  for (size_t i = 0; i < opened.size(); ++i)
    if (!opened[i].ok())
      return Annotate(opened[i],
                      absl::StrCat("ps-server ", model.server_ids[which[i]],
                                   " cannot open its shard"));
  return absl::OkStatus();
}

absl::Status Coordinator::HoldLocked(const Job& job, const PlacedModel& model,
                                     uint32_t epoch) {
  absl::Status whole;
  for (size_t i = 0; i < model.server_ids.size(); ++i) {
    Server* const server = LiveServerLocked(model.server_ids[i]);
    if (server != nullptr && server->registration == model.registrations[i])
      server->held[job.id] = epoch;
    else
      whole = absl::UnavailableError(absl::StrCat(
          "ps-server ", model.server_ids[i], " was lost while shards opened"));
  }
  return whole;
}

// The first declaration: places the model and opens its shards.
absl::Status Coordinator::OpenModel(
    const JobPtr& job, const control::DeclareLayoutRequest& request) {
  control::OpenShardRequest open;
  PlacedModel model;
  {
    absl::MutexLock lock(&mu_);
    // Another worker's call may have come first.
    if (job->opening != Job::Opening::kNo ||
        IsTerminal(job->status.state()))
      return absl::OkStatus();
    ASSIGN_OR_RETURN(ps::SlabLayout layout, LayoutLocked(*job, request));
    ASSIGN_OR_RETURN(model, PlaceLocked(*job, request, std::move(layout)));
    if (!job->spec.snapshot_file().empty()) {
      if (request.start_clock() >= job->spec.solver().max_iter())
        return absl::InvalidArgumentError(absl::StrCat(
            "the snapshot is at iteration ", request.start_clock(),
            ", and max_iter is ", job->spec.solver().max_iter(),
            ": nothing is left to train"));
      job->status.set_start_clock(request.start_clock());
      job->status.set_clock(request.start_clock());
    }
    job->first_clock = job->status.start_clock();
    int64_t first_record = -1;
    open = OpenRequestLocked(*job, model);
    job->first_plateau = request.plateau();
    *open.mutable_plateau() = request.plateau();
    if (const std::string& id = job->spec.resume_checkpoint(); !id.empty()) {
      // Only this server's store has it.
      ASSIGN_OR_RETURN(const Manifest manifest,
                       ReadManifest(*options_.store, id));
      open.set_restore_checkpoint(id);
      open.set_manifest(manifest.SerializeAsString());
      *open.mutable_plateau() = manifest.plateau();
      if (manifest.has_records()) first_record = manifest.records();
    }
    BeginDealsLocked(*job, request.samples_per_clock(), first_record);
    job->opening = Job::Opening::kUnderWay;
  }
  std::vector<int> all(model.shards.size());
  std::iota(all.begin(), all.end(), 0);
  const absl::Status opened = OpenShards(open, model, all);

  absl::MutexLock lock(&mu_);
  const absl::Status whole =
      HoldLocked(*job, model, job->status.job_epoch());
  job->model = std::move(model);
  job->opening = Job::Opening::kOpen;
  job->progress.emplace(job->spec.workers(), job->status.start_clock());
  if (job->plateau) job->plateau->Restore(FromRecord(open.plateau()));
  job->last_cut = Now();
  if (!opened.ok()) {
    EndLocked(job, control::JOB_FAILED, std::string(opened.message()));
    return opened;
  }
  StoreRunLocked(*job);
  if (IsTerminal(job->status.state())) {  // cancelled meanwhile
    LaterLocked([this, job] { CloseShards(job); });
    return absl::OkStatus();
  }
  if (!whole.ok()) BeginRecoveryLocked(job, std::string(whole.message()));
  return absl::OkStatus();
}

absl::Status Coordinator::RejoinShards(
    const std::vector<std::shared_ptr<ShardControl>>& shards,
    control::RejoinWorkerRequest request,
    control::DeclareLayoutResponse* response) {
  // Two rounds: after the first no older incarnation sends any more, so what
  // is lacking can only become less.
  int64_t next = -1;
  bool initialised = true;
  request.set_clock(-1);
  for (const auto& shard : shards) {
    ASSIGN_OR_RETURN(const control::RejoinWorkerResponse answer,
                     shard->RejoinWorker(request));
    initialised = initialised && answer.initialised();
    if (next < 0 || answer.next_clock() < next) next = answer.next_clock();
  }
  response->set_initialised(initialised);
  if (!initialised) return absl::OkStatus();
  response->set_start_clock(next);
  request.set_clock(next);
  for (const auto& shard : shards)
    RETURN_IF_ERROR(shard->RejoinWorker(request).status());
  return absl::OkStatus();
}

absl::StatusOr<control::DeclareLayoutResponse> Coordinator::DeclareLayout(
    const control::DeclareLayoutRequest& request, absl::Duration wait) {
  ASSIGN_OR_RETURN(control::DeclareLayoutResponse response,
                   Declare(request, wait));
  RETURN_IF_ERROR(AdmitNewcomer(request, &response));
  return response;
}

absl::StatusOr<control::DeclareLayoutResponse> Coordinator::Declare(
    const control::DeclareLayoutRequest& request, absl::Duration wait) {
  RETURN_IF_ERROR(CheckDeclaration(request));
  JobPtr job;
  // The members' clock may be a fake one; an RPC's budget is real.
  const absl::Time deadline = absl::Now() + wait;
  for (;;) {
    std::vector<std::shared_ptr<ShardControl>> shards;
    absl::StatusOr<control::DeclareLayoutResponse> response =
        absl::InternalError("no answer yet");
    {
      absl::MutexLock lock(&mu_);
      ASSIGN_OR_RETURN(job, FindLocked(request.job_id()));
      RETURN_IF_ERROR(
          MemberLocked(*job, request.rank(), request.incarnation()).status());
      // With a snapshot file only rank 0 knows the clock at which all begin.
      const bool opener =
          job->spec.snapshot_file().empty() || request.rank() == 0;
      const auto ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
        return stopping_ || IsTerminal(job->status.state()) ||
               job->opening == Job::Opening::kOpen ||
               (opener && job->opening == Job::Opening::kNo);
      };
      if (!mu_.AwaitWithDeadline(absl::Condition(&ready), deadline))
        return absl::DeadlineExceededError(absl::StrCat(
            "job ", job->id, ": its shards were not opened within ",
            absl::FormatDuration(wait)));
      if (stopping_)
        return absl::UnavailableError("the coordinator is stopping");
      if (job->opening != Job::Opening::kNo ||
          IsTerminal(job->status.state())) {
        // A worker that comes again, or in another's place, goes on where its
        // parts end.
        const auto member = job->members.find(request.rank());
        const bool again = request.rank() != kEvaluatorRank &&
                           job->spec.tables_size() == 0 &&
                           (member->second.declared ||
                            job->status.state() != control::JOB_PENDING) &&
                           !(member->second.state == Member::State::kJoining &&
                             MayJoinLater(job->spec));
        response = DeclaredLocked(job, request);
        if (!response.ok() || !again) return response;
        shards = job->model->shards;
      }
    }
    if (!response.ok()) {
      RETURN_IF_ERROR(OpenModel(job, request));
      continue;
    }
    control::RejoinWorkerRequest rejoin;
    rejoin.set_job_id(job->id);
    rejoin.set_rank(request.rank());
    rejoin.set_incarnation(request.incarnation());
    const absl::Status rejoined =
        RejoinShards(shards, std::move(rejoin), &*response);
    if (rejoined.ok()) return response;
    if (!absl::IsUnavailable(rejoined) && !absl::IsNotFound(rejoined) &&
        !absl::IsDeadlineExceeded(rejoined))
      return rejoined;
    // A shard is gone: the recovery begins as soon as that is noticed.
    absl::MutexLock lock(&mu_);
    const auto changed = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return stopping_ || job->recovery.has_value();
    };
    mu_.AwaitWithTimeout(absl::Condition(&changed), absl::Milliseconds(200));
    if (absl::Now() > deadline) return rejoined;
  }
}

absl::StatusOr<control::DeclareLayoutResponse> Coordinator::DeclaredLocked(
    const JobPtr& job, const control::DeclareLayoutRequest& request) {
  if (IsTerminal(job->status.state()))
    return absl::FailedPreconditionError(
        absl::StrCat("job ", job->id, " is ", StateName(job->status.state()),
                     job->status.message().empty() ? "" : ": ",
                     job->status.message()));
  ASSIGN_OR_RETURN(
      Member* const member,
      MemberLocked(*job, request.rank(), request.incarnation()));
  ASSIGN_OR_RETURN(const ps::SlabLayout layout, LayoutLocked(*job, request));
  if (layout.Fingerprint() != job->model->layout.Fingerprint()) {
    const std::string why = absl::StrCat(
        "the workers' nets differ: ",
        DescribeDifference(job->model->layout, layout, "the first worker",
                           absl::StrCat("worker ", request.rank())));
    EndLocked(job, control::JOB_FAILED, why);
    return absl::InvalidArgumentError(why);
  }
  control::DeclareLayoutResponse response;
  *response.mutable_shard_map() = job->model->map;
  response.set_start_clock(job->status.start_clock());
  response.set_initialised(!job->spec.resume_checkpoint().empty());
  response.set_job_epoch(job->status.job_epoch());
  response.set_recoveries(job->recoveries);
  response.set_staleness(job->status.staleness());
  if (request.rank() == kEvaluatorRank) return response;

  member->last_seen = Now();
  member->last_clock = Now();
  AddDealsLocked(*job, &response);
  if (!member->declared) {
    member->declared = true;
    member->samples_per_clock = request.samples_per_clock();
    member->status.set_batch(static_cast<int32_t>(
        request.samples_per_clock() / job->spec.solver().iter_size()));
    ShowDealLocked(*job);
    member->status.set_clock(job->status.start_clock());
    // A newcomer runs when the others know of it.
    if (job->status.state() == control::JOB_PENDING ||
        !MayJoinLater(job->spec))
      member->SetState(Member::State::kRunning);
    StoreRunLocked(*job);
  }
  int declared = 0;
  for (const auto& [rank, other] : job->members)
    declared += rank != kEvaluatorRank && other.declared;
  if (declared == job->spec.workers() &&
      job->status.state() == control::JOB_PENDING)
    SetStateLocked(*job, control::JOB_RUNNING, "");
  return response;
}

}  // namespace cssp
