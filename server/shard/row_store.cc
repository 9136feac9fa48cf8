#include "server/shard/row_store.h"

#include <algorithm>

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
    if (it != places_.end()) return At(it->second);
    if (rows_ >= capacity_) return nullptr;
    place = rows_;
    places_.emplace(index, place);
    ++rows_;
  } else if (index >= capacity_) {
    return nullptr;
  }
  const size_t block = place / rows_per_block_;
  if (block >= blocks_.size()) blocks_.resize(block + 1);
  if (blocks_[block] == nullptr) {
    blocks_[block] = std::make_unique<float[]>(block_floats());
    ++blocks_made_;
  }
  return At(place);
}

}  // namespace cssp
