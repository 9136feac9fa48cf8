#include "server/checkpoint/table_cut.h"

#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "server/checkpoint/checkpoint_io.h"

namespace cssp {
namespace {

std::string RowsKey(const TableRecordName& name) {
  return absl::StrFormat("%st%04d/%08d", CutPrefix(name.job_id, name.clock),
                         name.table, name.number);
}

std::string TablesKey(absl::string_view job_id, int64_t clock) {
  return absl::StrCat(CutPrefix(job_id, clock), "tables");
}

absl::Status Malformed(absl::string_view key) {
  return absl::DataLossError(absl::StrCat("record '", key, "' is malformed"));
}

absl::Status ReadRecord(const ParamStore& store, const TableRecordName& name,
                        size_t width, const VisitRow& visit) {
  const std::string key = RowsKey(name);
  const absl::StatusOr<std::string> bytes = store.Get(key);
  if (absl::IsNotFound(bytes.status()))
    return absl::DataLossError(absl::StrCat("record '", key, "' is missing"));
  if (!bytes.ok()) return bytes.status();
  TableRowsRecord record;
  if (!record.ParseFromString(*bytes) || record.clock() != name.clock ||
      record.table() != name.table ||
      record.values().size() != record.rows_size() * width * sizeof(float))
    return Malformed(key);
  std::vector<float> values(width);
  const char* from = record.values().data();
  for (const int64_t row : record.rows()) {
    std::memcpy(values.data(), from, width * sizeof(float));
    from += width * sizeof(float);
    RETURN_IF_ERROR(visit(name.table, row, values));
  }
  return absl::OkStatus();
}

}  // namespace

StoreEntry EncodeTableRows(const TableRecordName& name,
                           absl::Span<const int64_t> rows,
                           absl::Span<const float> values) {
  TableRowsRecord record;
  record.set_clock(name.clock);
  record.set_table(name.table);
  record.mutable_rows()->Add(rows.begin(), rows.end());
  record.set_values(values.data(), values.size() * sizeof(float));
  return {RowsKey(name), record.SerializeAsString()};
}

StoreEntry EncodeTables(absl::string_view job_id, const TablesRecord& record) {
  return {TablesKey(job_id, record.clock()), record.SerializeAsString()};
}

absl::StatusOr<TablesRecord> ReadTables(const ParamStore& store,
                                        absl::string_view job_id,
                                        int64_t clock) {
  const std::string key = TablesKey(job_id, clock);
  ASSIGN_OR_RETURN(const std::string bytes, store.Get(key));
  TablesRecord record;
  if (!record.ParseFromString(bytes) || record.clock() != clock)
    return Malformed(key);
  return record;
}

absl::Status ReadTableRows(const ParamStore& store, absl::string_view job_id,
                           const TablesRecord& part, const VisitRow& visit) {
  for (int table = 0; table < part.tables_size(); ++table) {
    const TablesRecord::Table& of = part.tables(table);
    if (of.width() < 1) return Malformed(TablesKey(job_id, part.clock()));
    for (int64_t i = 0; i < of.records(); ++i)
      RETURN_IF_ERROR(
          ReadRecord(store, {job_id, part.clock(), table, i}, of.width(),
                     visit));
  }
  return absl::OkStatus();
}

}  // namespace cssp
