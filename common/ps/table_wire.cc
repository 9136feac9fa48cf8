#include "common/ps/table_wire.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp::ps {
namespace {

// Both ends run on little-endian machines (the build checks), so arrays are
// copied as they are.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

constexpr size_t kFixedBytes = 8 + 8 + 4;

std::string Encode(uint64_t first, uint64_t second,
                   const std::vector<int64_t>& rows,
                   const std::vector<float>& floats) {
  const uint32_t count = static_cast<uint32_t>(rows.size());
  std::string out;
  out.reserve(kFixedBytes + 8 * rows.size() + 4 * floats.size());
  out.append(reinterpret_cast<const char*>(&first), 8);
  out.append(reinterpret_cast<const char*>(&second), 8);
  out.append(reinterpret_cast<const char*>(&count), 4);
  out.append(reinterpret_cast<const char*>(rows.data()), 8 * rows.size());
  out.append(reinterpret_cast<const char*>(floats.data()), 4 * floats.size());
  return out;
}

}  // namespace

size_t RowsBytes(size_t rows, int width) {
  return kFixedBytes + rows * (8 + 4 * static_cast<size_t>(width));
}

namespace {

struct Body {
  uint64_t first = 0;
  uint64_t second = 0;
  std::vector<int64_t> rows;
  std::vector<float> floats;
};

absl::StatusOr<Body> Decode(absl::Span<const uint8_t> bytes, int width) {
  uint32_t count = 0;
  if (bytes.size() >= kFixedBytes) std::memcpy(&count, bytes.data() + 16, 4);
  const uint64_t wanted = RowsBytes(count, width);
  if (bytes.size() < kFixedBytes || bytes.size() != wanted) {
    return absl::InvalidArgumentError(
        absl::StrCat("table message of ", bytes.size(), " bytes with ", count,
                     " rows of ", width, " floats"));
  }
  Body body;
  std::memcpy(&body.first, bytes.data(), 8);
  std::memcpy(&body.second, bytes.data() + 8, 8);
  body.rows.resize(count);
  body.floats.resize(size_t{count} * width);
  const uint8_t* rows = bytes.data() + kFixedBytes;
  if (count > 0) {
    std::memcpy(body.rows.data(), rows, 8 * body.rows.size());
    if (width > 0) {
      std::memcpy(body.floats.data(), rows + 8 * body.rows.size(),
                  4 * body.floats.size());
    }
  }
  return body;
}

}  // namespace

std::string EncodeInc(const TableInc& inc) {
  return Encode(inc.sequence, 0, inc.rows, inc.deltas);
}

std::string EncodeGet(const TableGet& get) {
  return Encode(get.request, 0, get.rows, {});
}

std::string EncodeRows(const TableRows& rows) {
  return Encode(rows.request, rows.applied, rows.rows, rows.values);
}

absl::Status DecodeInc(absl::Span<const uint8_t> bytes, int width,
                       TableInc* inc) {
  ASSIGN_OR_RETURN(Body body, Decode(bytes, width));
  inc->sequence = body.first;
  inc->rows = std::move(body.rows);
  inc->deltas = std::move(body.floats);
  return absl::OkStatus();
}

absl::Status DecodeGet(absl::Span<const uint8_t> bytes, TableGet* get) {
  ASSIGN_OR_RETURN(Body body, Decode(bytes, 0));
  get->request = body.first;
  get->rows = std::move(body.rows);
  return absl::OkStatus();
}

absl::Status DecodeRows(absl::Span<const uint8_t> bytes, int width,
                        TableRows* rows) {
  ASSIGN_OR_RETURN(Body body, Decode(bytes, width));
  rows->request = body.first;
  rows->applied = body.second;
  rows->rows = std::move(body.rows);
  rows->values = std::move(body.floats);
  return absl::OkStatus();
}

}  // namespace cssp::ps
