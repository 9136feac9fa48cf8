// The rows of a table that one shard holds.
#ifndef CSSP_SERVER_SHARD_ROW_STORE_H_
#define CSSP_SERVER_SHARD_ROW_STORE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace cssp {

// Rows of `width` floats by index, zero until they are made.  Thread-confined.
// Invariants: memory comes in blocks, for rows that were made only; no more than
// `capacity` rows are made; what a snapshot holds is never written again.
class RowStore {
 public:
  enum class Kind {
    kDense,   // indexes 0..capacity-1
    kSparse,  // any `capacity` indexes
  };
  RowStore(Kind kind, int64_t capacity, int width);

  // The rows as they stand, without a copy: a block is copied when it is next
  // written.  Any thread may read one; it is dropped on the store's thread.
  struct Snapshot {
    int width = 0;
    int64_t rows_per_block = 0;
    std::vector<std::shared_ptr<const float[]>> blocks;  // null: never made
    bool sparse = false;
    std::vector<int64_t> indexes;  // sparse: of the rows, in order of place
    int64_t capacity = 0;          // dense: of rows
    // Indexes of a block's rows.
    std::vector<int64_t> RowsOf(size_t block) const;
  };
  Snapshot Take() const;

  // Null: never made, all zeros.
  const float* Find(int64_t index) const;
  // The row to write now, made if need be; null: beyond the capacity.
  float* Make(int64_t index);

  int64_t rows() const {  // sparse: made so far
    return static_cast<int64_t>(indexes_.size());
  }
  int64_t bytes() const { return blocks_made_ * block_floats() * 4; }

 private:
  int64_t block_floats() const { return rows_per_block_ * width_; }
  float* At(int64_t place) const;
  float* Writable(int64_t place);

  const Kind kind_;
  const int64_t capacity_;
  const int width_;
  const int64_t rows_per_block_;
  int64_t blocks_made_ = 0;
  std::vector<std::shared_ptr<float[]>> blocks_;
  std::vector<int64_t> indexes_;                   // sparse: by place
  absl::flat_hash_map<int64_t, int64_t> places_;  // sparse: by index
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_ROW_STORE_H_
