#include "server/service/job_tables.h"

#include <string>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/ps/table_wire.h"

namespace cssp {

absl::StatusOr<std::unique_ptr<JobTables>> JobTables::Create(
    const control::OpenShardRequest& request, Send send) {
  auto tables = absl::WrapUnique(new JobTables(std::move(send)));
  const control::JobSpec& spec = request.spec();
  tables->tables_.reserve(spec.tables_size());
  for (const control::TableSpec& table : spec.tables()) {
    TableOptions options;
    options.id = static_cast<uint32_t>(tables->tables_.size());
    options.rows = table.rows();
    options.width = table.width();
    options.workers = spec.workers();
    options.staleness =
        table.has_staleness() ? table.staleness() : spec.staleness();
    options.max_rows = table.sparse_rows();
    options.servers = request.shard_map().servers_size();
    options.self = request.server_index();
    ASSIGN_OR_RETURN(ParamTable made, ParamTable::Create(options, *tables));
    tables->tables_.push_back(std::move(made));
  }
  return tables;
}

ps::Reason JobTables::Check(const ps::MessageHeader& header) const {
  if (header.chunk >= tables_.size()) return ps::Reason::kNotMine;
  return header.payload_bytes >= ps::RowsBytes(0, 0) ? ps::Reason::kNone
                                                     : ps::Reason::kBadLength;
}

ps::Reason JobTables::OnInc(const ps::MessageHeader& header,
                            absl::Span<const uint8_t> body) {
  ParamTable& table = tables_[header.chunk];
  ps::TableInc inc;
  if (!ps::DecodeInc(body, table.width(), &inc).ok()) {
    return ps::Reason::kBadLength;
  }
  inc.table = header.chunk;
  inc.rank = header.rank;
  inc.clock = header.clock;
  return table.Inc(inc);
}

ps::Reason JobTables::OnGet(PeerId peer, const ps::MessageHeader& header,
                            absl::Span<const uint8_t> body) {
  ps::TableGet get;
  if (!ps::DecodeGet(body, &get).ok()) return ps::Reason::kBadLength;
  get.table = header.chunk;
  get.rank = header.rank;
  get.clock = header.clock;
  get.sequence = header.sequence;
  return tables_[header.chunk].Get(peer, get);
}

absl::Status JobTables::Tick(const control::Tick& tick) {
  if (tick.table_incs_size() != static_cast<int>(tables_.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", tick.rank(), " ticks ", tick.table_incs_size(),
                     " tables, the job has ", tables_.size()));
  }
  for (size_t i = 0; i < tables_.size(); ++i) {
    const uint64_t incs = tick.table_incs(static_cast<int>(i));
    if (tick.finished()) {
      tables_[i].Finish(tick.rank(), incs);
    } else {
      RETURN_IF_ERROR(tables_[i].Tick(tick.rank(), tick.clock(), incs));
    }
  }
  return absl::OkStatus();
}

void JobTables::Remove(int rank) {
  for (ParamTable& table : tables_) table.Remove(rank);
}

void JobTables::Detach(PeerId peer) {
  for (ParamTable& table : tables_) table.Detach(peer);
}

int64_t JobTables::parked() const {
  int64_t parked = 0;
  for (const ParamTable& table : tables_) parked += table.parked();
  return parked;
}

int64_t JobTables::bytes() const {
  int64_t bytes = 0;
  for (const ParamTable& table : tables_) bytes += table.bytes();
  return bytes;
}

void JobTables::SendRows(PeerId peer, const ps::TableRows& rows) {
  ps::MessageHeader header;
  header.type = ps::MessageType::kTableRows;
  header.chunk = rows.table;
  header.clock = rows.row_clock;
  header.sequence = rows.sequence;
  send_(peer, header, ps::EncodeRows(rows));
}

}  // namespace cssp
