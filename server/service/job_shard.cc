#include "server/service/job_shard.h"

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/crc.h"
#include "common/base/status_macros.h"
#include "common/ps/consistency.h"
#include "common/ps/layout_proto.h"
#include "proto/checkpoint.pb.h"
#include "server/service/float_arena.h"
#include "server/service/metrics.h"

namespace cssp {
namespace {

// What a worker of a job of tables may have under way to this server.
constexpr int64_t kTableCredit = int64_t{32} << 20;

ShardOptions OptionsFrom(const control::OpenShardRequest& request) {
  ShardOptions options;
  const control::JobSpec& spec = request.spec();
  options.solver = spec.solver();
  // Nobody waits for clocks or cuts of a shard that holds tables only.
  if (spec.tables_size() > 0) options.solver.set_max_iter(0);
  options.workers = std::max(spec.workers(), spec.max_workers());
  const ps::Bounds bounds = ps::BoundsOf(spec);
  options.staleness = bounds.staleness;
  options.max_staleness =
      std::max<int>(bounds.max_ahead, spec.dssp().upper());
  options.update = spec.ssp_update();
  options.staleness_lr = ps::StalenessLrOf(spec);
  options.lookahead = spec.lookahead();
  options.wait_for_dead = spec.wait_for_dead();
  options.backup = spec.backup();
  options.decisions_logged = spec.durability() == control::LOG;
  options.keep_previous =
      spec.wait_for_dead() || spec.durability() == control::LOG;
  options.members.assign(request.members().begin(), request.members().end());
  for (int rank = 0; request.members().empty() && rank < spec.workers(); ++rank) {
    options.members.push_back(rank);
  }
  options.start_clock = request.start_clock();
  options.restored = !request.restore_checkpoint().empty();
  options.checkpoint_clocks = spec.checkpoint_clocks();
  options.job = request.job_number();
  options.job_epoch = request.job_epoch();
  options.map_epoch = request.shard_map().map_epoch();
  options.chunk_server.assign(request.shard_map().chunk_server().begin(),
                              request.shard_map().chunk_server().end());
  options.servers = request.shard_map().servers_size();
  options.self = request.server_index();
  options.plateau = FromRecord(request.plateau());
  return options;
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobShard>> JobShard::Create(
    const control::OpenShardRequest& request, const ParamStore* store,
    const Folders& folders, JobSender& sender) {
  if (request.job_id().empty() || request.token().empty()) {
    return absl::InvalidArgumentError("a shard needs a job id and a token");
  }
  auto job = absl::WrapUnique(new JobShard(sender));
  job->id_ = request.job_id();
  job->token_ = request.token();
  job->takes_bf16_ = request.spec().wire() == control::BF16;
  ps::SlabLayout layout;  // of a job of tables: empty
  if (request.spec().tables_size() == 0) {
    ASSIGN_OR_RETURN(layout,
                     ps::SlabLayout::Create(ps::BlobsFromProto(request.blobs()),
                                            request.shard_map().chunk_bytes()));
  }
  job->crcs_.resize(layout.chunks().size());
  for (const control::ServerEntry& server : request.shard_map().servers()) {
    job->peer_servers_.push_back({.address = server.data_address()});
  }
  ShardOptions options = OptionsFrom(request);
  auto arena = std::make_shared<FloatArena>(
      [&sender](size_t bytes) { return sender.AllocateJobMemory(bytes); });
  options.value_memory = [arena](int64_t floats) { return arena->Take(floats); };
  ASSIGN_OR_RETURN(job->shard_, Shard::Create(std::move(layout),
                                              std::move(options), *job));
  RETURN_IF_ERROR(job->MakeTables(request));
  int64_t held = 0;
  for (const ChunkState& chunk : job->shard_->chunks()) held += chunk.count * 4;
  job->credit_ =
      held * (1 + job->shard_->options().max_staleness) + ps::kMaxPayloadBytes;
  if (!job->tables_->empty()) job->credit_ = kTableCredit;
  if (!request.restore_checkpoint().empty()) {
    RETURN_IF_ERROR(Annotate(
        job->Restore(request, store, folders.store),
        absl::StrCat("checkpoint '", request.restore_checkpoint(), "'")));
  }
  if (request.spec().durability() == control::LOG) {
    RETURN_IF_ERROR(job->StartLog(request, folders.logs));
  }
  // Older ones than the coordinator knows of have nothing to say any more.
  for (int rank = 0; rank < request.incarnations_size(); ++rank)
    job->shard_->Attach(rank, request.incarnations(rank), /*peer=*/0);
  return job;
}

absl::Status JobShard::MakeTables(const control::OpenShardRequest& request) {
  JobTables::Hooks hooks;
  hooks.send = [this](PeerId peer, const ps::MessageHeader& h,
                      std::string body) {
    if (replaying_) return;
    ps::MessageHeader header = Header(h.type);
    header.chunk = h.chunk;
    header.clock = h.clock;
    header.sequence = h.sequence;
    sender_.SendJobBody(*this, peer, header, std::move(body));
  };
  hooks.next_cut = [this](int64_t clock) { return shard_->NextCut(clock); };
  hooks.on_cut = [this](int64_t clock,
                        std::shared_ptr<const TablesCut> tables) {
    CutReady({.clock = clock,
              .kind = {.durable = true},
              .tables = std::move(tables)});
  };
  ASSIGN_OR_RETURN(tables_, JobTables::Create(request, std::move(hooks)));
  return absl::OkStatus();
}

// Reads what this server's chunks need, blob by blob, whatever chunks and
// servers wrote it.
absl::Status JobShard::Restore(const control::OpenShardRequest& request,
                               const ParamStore* store,
                               const std::string& store_directory) {
  if (store == nullptr) {
    return absl::FailedPreconditionError("this server has no store");
  }
  Manifest manifest;
  if (!request.manifest().empty()) {
    if (!manifest.ParseFromString(request.manifest())) {
      return absl::InvalidArgumentError("the manifest is unreadable");
    }
  } else {
    ASSIGN_OR_RETURN(manifest,
                     ReadManifest(*store, request.restore_checkpoint()));
  }
  if (manifest.clock() != request.start_clock()) {
    return absl::InvalidArgumentError(
        absl::StrCat("it is of clock ", manifest.clock(),
                     ", the job starts at clock ", request.start_clock()));
  }
  if (!tables_->empty())
    return tables_->Restore(manifest, *store, store_directory,
                            manifest.job_id() == id_);
  ASSIGN_OR_RETURN(std::unique_ptr<CutReader> reader,
                   CutReader::Open(manifest, *store, store_directory));
  const int last = shard_->num_history();
  if (reader->num_history() != last) {
    return absl::InvalidArgumentError(
        absl::StrCat("it has ", reader->num_history(),
                     " history arrays, this solver needs ", last));
  }
  // As many workers as then: each gets its own momentum back.  Else the sum
  // over workers, slot 1, goes on.
  const int each = shard_->worker_histories();
  const bool own = each > 0 && reader->num_worker_histories() == each;
  std::vector<float> floats;
  for (const ChunkState& chunk : shard_->chunks()) {
    for (int rank = 0; own && rank < each; ++rank) {
      RETURN_IF_ERROR(ReadCut(*reader, chunk.id, 1 + last + rank, &floats));
      shard_->RestoreWorkerHistory(chunk.id, rank, floats);
    }
    for (int slot = own ? 0 : last; slot >= 0; --slot) {
      RETURN_IF_ERROR(ReadCut(*reader, chunk.id, slot, &floats));
      shard_->Restore(chunk.id, slot, floats, slot == (own ? 0 : last));
    }
  }
  return absl::OkStatus();
}

absl::Status JobShard::ReadCut(CutReader& reader, int chunk, int array,
                               std::vector<float>* floats) const {
  const ps::SlabLayout& layout = shard_->layout();
  floats->assign(layout.chunks()[chunk].count, 0);
  for (const ps::Segment& segment : layout.chunks()[chunk].segments) {
    const ps::BlobSpec& blob = layout.blobs()[segment.blob];
    const int from = reader.FindBlob(blob.key);
    if (from < 0 || reader.layout().blobs()[from].count != blob.count) {
      return absl::InvalidArgumentError(
          absl::StrCat("it has no parameter '", blob.key, "' of ", blob.count,
                       " floats"));
    }
    RETURN_IF_ERROR(reader.Read(from, array, segment.blob_offset,
                                absl::MakeSpan(*floats).subspan(
                                    segment.chunk_offset, segment.count)));
  }
  return absl::OkStatus();
}

ps::MessageHeader JobShard::Header(ps::MessageType type) const {
  const ShardOptions& options = shard_->options();
  ps::MessageHeader header;
  header.type = type;
  header.job = options.job;
  header.job_epoch = options.job_epoch;
  header.map_epoch = options.map_epoch;
  header.rank = -2 - options.self;
  return header;
}

void JobShard::Detach(PeerId peer) {
  shard_->Detach(peer);
  tables_->Detach(peer);
}

bool JobShard::TokenMatches(absl::string_view token) const {
  // Time must not tell how much of a guess was right.
  if (token.size() != token_.size()) return false;
  uint8_t difference = 0;
  for (size_t i = 0; i < token.size(); ++i) difference |= token[i] ^ token_[i];
  return difference == 0;
}

uint32_t JobShard::ValuesCrc(const ps::MessageHeader& header,
                             const BufferRef& values) {
  const absl::Span<const uint8_t> bytes = values.bytes();
  if (header.slot != 0) return Crc32c(bytes.data(), bytes.size());
  CachedCrc& cached = crcs_[header.chunk];
  if (cached.taking != values.taking()) {
    cached = {values.taking(), Crc32c(bytes.data(), bytes.size())};
  }
  return cached.crc;
}

void JobShard::ReportMetrics(ShardHostMetrics& metrics) {
  metrics.Add(shard_->counters(), reported_);
  reported_ = shard_->counters();
}

}  // namespace cssp
