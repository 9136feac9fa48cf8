#include "server/service/job_tables.h"

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/ps/table_wire.h"
#include "server/checkpoint/table_cut.h"

namespace cssp {

absl::StatusOr<std::unique_ptr<JobTables>> JobTables::Create(
    const control::OpenShardRequest& request, Hooks hooks) {
  auto tables = absl::WrapUnique(new JobTables(std::move(hooks)));
  tables->servers_ = std::max(1, request.shard_map().servers_size());
  tables->self_ = request.server_index();
  tables->row_ = request.start_clock();
  tables->opened_ = request.start_clock() - 1;
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
    options.start_clock = request.start_clock();
    ASSIGN_OR_RETURN(ParamTable made, ParamTable::Create(options, *tables));
    tables->tables_.push_back(std::move(made));
  }
  return tables;
}

ps::Reason JobTables::Check(const ps::MessageHeader& header) const {
  if (header.chunk >= tables_.size()) return ps::Reason::kNotMine;
  if (header.type == ps::MessageType::kTableInc &&
      header.clock >= hooks_.next_cut(row_))
    return ps::Reason::kTooFarAhead;
  return header.payload_bytes >= ps::RowsBytes(0, 0) ? ps::Reason::kNone
                                                     : ps::Reason::kBadLength;
}

ps::Reason JobTables::Decode(const ps::MessageHeader& header,
                             absl::Span<const uint8_t> body,
                             ps::TableInc* inc) const {
  if (header.chunk >= tables_.size()) return ps::Reason::kNotMine;
  if (!ps::DecodeInc(body, tables_[header.chunk].width(), inc).ok()) {
    return ps::Reason::kBadLength;
  }
  inc->table = header.chunk;
  inc->rank = header.rank;
  inc->clock = header.clock;
  return ps::Reason::kNone;
}

ps::Reason JobTables::Inc(const ps::TableInc& inc) {
  const ps::Reason reason = tables_[inc.table].Inc(inc);
  if (reason == ps::Reason::kNone) opened_ = std::max(opened_, inc.clock);
  Advance();
  return reason;
}

void JobTables::Advance() {
  if (tables_.empty()) return;
  int64_t row = kClockInfinity;
  for (const ParamTable& table : tables_)
    row = std::min(row, table.min_clock());
  if (row <= row_) return;
  const int64_t before = std::exchange(row_, row);
  if (row == kClockInfinity) return;  // everybody is done
  for (int64_t cut = hooks_.next_cut(before); cut <= row;
       cut = hooks_.next_cut(cut)) {
    auto made = std::make_shared<TablesCut>();
    made->servers = servers_;
    made->self = self_;
    for (const ParamTable& table : tables_) made->tables.push_back(table.Cut());
    hooks_.on_cut(cut, std::move(made));
  }
}

absl::Status JobTables::RestoreLanes(const TablesRecord& part) {
  for (size_t i = 0; i < tables_.size(); ++i) {
    const TablesRecord::Table& from = part.tables(static_cast<int>(i));
    if (from.lanes_size() != tables_[i].workers())
      return absl::DataLossError("it has another number of workers");
    for (int rank = 0; rank < from.lanes_size(); ++rank)
      tables_[i].RestoreLane(rank, {.done = from.lanes(rank).done(),
                                    .applied = from.lanes(rank).applied(),
                                    .finished = from.lanes(rank).finished(),
                                    .removed = from.lanes(rank).removed()});
  }
  return absl::OkStatus();
}

absl::Status JobTables::Restore(const Manifest& manifest,
                                const ParamStore& store,
                                const std::string& store_directory,
                                bool goes_on) {
  for (const Manifest::Part& part : manifest.parts()) {
    const bool own = part.directory() == store_directory;
    if (goes_on && !own) continue;
    std::unique_ptr<ParamStore> other;
    if (!own) {
      ASSIGN_OR_RETURN(other, OpenRocksDbStoreReadOnly(part.directory()));
    }
    const ParamStore& from = own ? store : *other;
    ASSIGN_OR_RETURN(
        const TablesRecord record,
        ReadTables(from, manifest.job_id(), manifest.clock()));
    if (record.tables_size() != static_cast<int>(tables_.size()))
      return absl::InvalidArgumentError(
          absl::StrCat("it has ", record.tables_size(), " tables, the job ",
                       tables_.size()));
    RETURN_IF_ERROR(ReadTableRows(
        from, manifest.job_id(), record,
        [this](int table, int64_t row, absl::Span<const float> values) {
          return RestoreRow(table, row, values);
        }));
    if (goes_on) RETURN_IF_ERROR(RestoreLanes(record));
  }
  return absl::OkStatus();
}

absl::Status JobTables::RestoreRow(int table, int64_t row,
                                   absl::Span<const float> values) {
  if (row < 0 || row % servers_ != self_) return absl::OkStatus();
  if (tables_[table].RestoreRow(row, values)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("table ", table, " has no room for its row ", row, " of ",
                   values.size(), " floats"));
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
  opened_ = std::max(opened_, tick.clock());
  Advance();
  return absl::OkStatus();
}

void JobTables::Remove(int rank) {
  for (ParamTable& table : tables_) table.Remove(rank);
  Advance();
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
  hooks_.send(peer, header, ps::EncodeRows(rows));
}

}  // namespace cssp
