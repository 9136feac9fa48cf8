// Reference-counted float arrays of one size, reused: what values, gradients
// and retained cuts live in.
#ifndef CSSP_SERVER_SHARD_BUFFER_POOL_H_
#define CSSP_SERVER_SHARD_BUFFER_POOL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/types/span.h"

namespace cssp {

struct PooledBuffer;
struct BufferPoolCore;

// Where arrays come from: 64-byte aligned.  Empty: the heap.
using FloatMemory = std::function<std::shared_ptr<float>(int64_t floats)>;

// A counted reference to a buffer.  Thread-confined: copying and dropping
// belong to the pool's thread (another thread may read the floats meanwhile).
// May outlive the pool.
class BufferRef {
 public:
  BufferRef() = default;
  BufferRef(const BufferRef& other);
  BufferRef(BufferRef&& other) noexcept
      : buffer_(std::exchange(other.buffer_, nullptr)) {}
  BufferRef& operator=(BufferRef other) noexcept {
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~BufferRef() { Reset(); }

  explicit operator bool() const { return buffer_ != nullptr; }
  void Reset();
  // REQUIRES: holds a buffer.
  absl::Span<float> floats() const;
  absl::Span<uint8_t> bytes() const;
  // Which Take() of its pool gave it: other contents, another number.
  uint64_t taking() const;

 private:
  friend class BufferPool;
  explicit BufferRef(PooledBuffer* buffer) : buffer_(buffer) {}

  PooledBuffer* buffer_ = nullptr;
};

// Thread-confined.  A buffer returns to the free list with its last reference,
// so a steady state allocates nothing.  Buffers are 64-byte aligned and zero
// when they are first made, not when they are reused.
class BufferPool {
 public:
  explicit BufferPool(int64_t floats, FloatMemory memory = {});
  BufferPool(BufferPool&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)) {}
  BufferPool& operator=(BufferPool&&) = delete;
  ~BufferPool();

  BufferRef Take();
  // For contents that replace those of `current`, one of this pool's: the same
  // buffer (with a new number) where nobody else holds it, else another.
  BufferRef TakeAfter(const BufferRef& current);
  // Buffers ever made and not yet freed, in use or not.
  int64_t made() const;

 private:
  BufferPoolCore* core_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_BUFFER_POOL_H_
