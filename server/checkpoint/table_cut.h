// Tables in a checkpoint: records of rows, and one that says how many there are
// and how far each worker had come.  Byte-level layout: proto/README.md.
#ifndef CSSP_SERVER_CHECKPOINT_TABLE_CUT_H_
#define CSSP_SERVER_CHECKPOINT_TABLE_CUT_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/checkpoint.pb.h"
#include "server/storage/param_store.h"

namespace cssp {

// Names a record: the `number`th of a table in a cut.
struct TableRecordName {
  absl::string_view job_id;
  int64_t clock = 0;
  int table = 0;
  int64_t number = 0;
};

// `values`: one row after another.
StoreEntry EncodeTableRows(const TableRecordName& name,
                           absl::Span<const int64_t> rows,
                           absl::Span<const float> values);
StoreEntry EncodeTables(absl::string_view job_id, const TablesRecord& record);

// NotFound; DataLoss: damaged, or not this cut's.
absl::StatusOr<TablesRecord> ReadTables(const ParamStore& store,
                                        absl::string_view job_id,
                                        int64_t clock);
// Every row of every table of the part, records in order.  DataLoss names the
// record that is missing or damaged.
using VisitRow = std::function<absl::Status(int table, int64_t row,
                                            absl::Span<const float> values)>;
absl::Status ReadTableRows(const ParamStore& store, absl::string_view job_id,
                           const TablesRecord& part, const VisitRow& visit);

}  // namespace cssp

#endif  // CSSP_SERVER_CHECKPOINT_TABLE_CUT_H_
