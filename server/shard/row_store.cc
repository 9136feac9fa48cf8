#include "server/shard/row_store.h"

#include <algorithm>
#include <utility>

namespace cssp {
namespace {

constexpr int64_t kBlockFloats = 16384;

}  // namespace

RowStore::RowStore(Kind kind, int64_t capacity, int width)
    : kind_(kind),
      capacity_(capacity),
      width_(width),
      rows_per_block_(std::max<int64_t>(1, kBlockFloats / width)) {}

float* RowStore::At(int64_t place) const {
  const size_t block = place / rows_per_block_;
  if (block >= blocks_.size() || blocks_[block] == nullptr) return nullptr;
  return blocks_[block].get() + place % rows_per_block_ * width_;
}

const float* RowStore::Find(int64_t index) const {
  if (kind_ == Kind::kDense) return At(index);
  const auto it = places_.find(index);
  return it == places_.end() ? nullptr : At(it->second);
}

float* RowStore::Make(int64_t index) {
  int64_t place = index;
  if (kind_ == Kind::kSparse) {
    const auto it = places_.find(index);
    if (it != places_.end()) return Writable(it->second);
    if (rows() >= capacity_) return nullptr;
    place = rows();
    places_.emplace(index, place);
    indexes_.push_back(index);
  } else if (index >= capacity_) {
    return nullptr;
  }
  return Writable(place);
}

float* RowStore::Writable(int64_t place) {
  const size_t block = place / rows_per_block_;
  if (block >= blocks_.size()) blocks_.resize(block + 1);
  if (blocks_[block] == nullptr) {
    blocks_[block] = std::make_shared<float[]>(block_floats());
    ++blocks_made_;
  } else if (blocks_[block].use_count() > 1) {  // a snapshot holds it
    auto copy = std::make_shared<float[]>(block_floats());
    std::copy_n(blocks_[block].get(), block_floats(), copy.get());
    blocks_[block] = std::move(copy);
  }
  return At(place);
}

RowStore::Snapshot RowStore::Take() const {
  return {.width = width_,
          .rows_per_block = rows_per_block_,
          .blocks = {blocks_.begin(), blocks_.end()},
          .sparse = kind_ == Kind::kSparse,
          .indexes = indexes_,
          .capacity = capacity_};
}

std::vector<int64_t> RowStore::Snapshot::RowsOf(size_t block) const {
  const int64_t first = static_cast<int64_t>(block) * rows_per_block;
  const int64_t end =
      std::min(first + rows_per_block,
               sparse ? static_cast<int64_t>(indexes.size()) : capacity);
  std::vector<int64_t> rows;
  for (int64_t place = first; place < end; ++place)
    rows.push_back(sparse ? indexes[place] : place);
  return rows;
}

}  // namespace cssp
