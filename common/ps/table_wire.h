// Bodies of the SSP table messages (kTableInc, kTableGet, kTableRows).
#ifndef CSSP_COMMON_PS_TABLE_WIRE_H_
#define CSSP_COMMON_PS_TABLE_WIRE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace cssp::ps {

inline constexpr int kMaxTableWidth = 1 << 18;  // floats a row

// One worker's increments to rows of one shard.
struct TableInc {
  uint32_t table = 0;
  int32_t rank = 0;
  int64_t clock = 0;
  uint64_t sequence = 0;  // 1, 2, ... per (worker, shard, table)
  std::vector<int64_t> rows;
  std::vector<float> deltas;  // rows.size() * width
};

struct TableGet {
  uint32_t table = 0;
  int32_t rank = 0;
  int64_t clock = 0;      // the clock that the reader is in
  uint64_t request = 0;   // echoed
  uint32_t sequence = 0;  // of the message, echoed
  std::vector<int64_t> rows;
};

struct TableRows {
  uint32_t table = 0;
  int32_t server = 0;
  uint64_t request = 0;
  uint32_t sequence = 0;
  int64_t row_clock = 0;  // contains every update of clocks < row_clock
  uint64_t applied = 0;   // and the reader's increments 1..applied
  std::vector<int64_t> rows;
  std::vector<float> values;
};

// Bodies begin with two 64-bit numbers (sequence or request; applied), the
// number of rows (32 bits), the rows (64 bits each), then floats; all
// little-endian.  table, rank, clock and sequence travel in the header.
std::string EncodeInc(const TableInc& inc);
std::string EncodeGet(const TableGet& get);
std::string EncodeRows(const TableRows& rows);
// Bytes of an increment of, or an answer with, that many rows.
size_t RowsBytes(size_t rows, int width);
// InvalidArgument: the length does not agree with the counts.
absl::Status DecodeInc(absl::Span<const uint8_t> bytes, int width,
                       TableInc* inc);
absl::Status DecodeGet(absl::Span<const uint8_t> bytes, TableGet* get);
absl::Status DecodeRows(absl::Span<const uint8_t> bytes, int width,
                        TableRows* rows);

}  // namespace cssp::ps

#endif  // CSSP_COMMON_PS_TABLE_WIRE_H_
