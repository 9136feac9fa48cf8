#include "server/shard/buffer_pool.h"

#include <cstring>
#include <new>

namespace cssp {

struct PooledBuffer {
  BufferPoolCore* pool = nullptr;
  PooledBuffer* next_free = nullptr;
  int64_t references = 0;
  uint64_t taking = 0;
  std::shared_ptr<float> memory;
};

struct BufferPoolCore {
  int64_t floats = 0;
  FloatMemory memory;
  int64_t made = 0;
  uint64_t takings = 0;
  PooledBuffer* free = nullptr;
  bool orphaned = false;  // the pool is gone; goes with its last buffer
};

namespace {

constexpr std::align_val_t kAlignment{64};

std::shared_ptr<float> FromHeap(size_t bytes) {
  return {static_cast<float*>(::operator new[](bytes, kAlignment)),
          [](float* floats) { ::operator delete[](floats, kAlignment); }};
}

void Destroy(PooledBuffer* buffer) {
  BufferPoolCore* core = buffer->pool;
  delete buffer;
  --core->made;
}

}  // namespace

BufferRef::BufferRef(const BufferRef& other) : buffer_(other.buffer_) {
  if (buffer_ != nullptr) ++buffer_->references;
}

void BufferRef::Reset() {
  PooledBuffer* buffer = std::exchange(buffer_, nullptr);
  if (buffer == nullptr || --buffer->references > 0) return;
  BufferPoolCore* core = buffer->pool;
  if (!core->orphaned) {
    buffer->next_free = core->free;
    core->free = buffer;
    return;
  }
  Destroy(buffer);
  if (core->made == 0) delete core;
}

absl::Span<float> BufferRef::floats() const {
  return {buffer_->memory.get(), static_cast<size_t>(buffer_->pool->floats)};
}

absl::Span<uint8_t> BufferRef::bytes() const {
  return {reinterpret_cast<uint8_t*>(buffer_->memory.get()),
          static_cast<size_t>(buffer_->pool->floats) * sizeof(float)};
}

uint64_t BufferRef::taking() const { return buffer_->taking; }

BufferPool::BufferPool(int64_t floats, FloatMemory memory)
    : core_(new BufferPoolCore{.floats = floats,
                               .memory = std::move(memory)}) {}

BufferPool::~BufferPool() {
  if (core_ == nullptr) return;
  while (PooledBuffer* buffer = core_->free) {
    core_->free = buffer->next_free;
    Destroy(buffer);
  }
  if (core_->made == 0) {
    delete core_;
  } else {
    core_->orphaned = true;
  }
}

BufferRef BufferPool::Take() {
  PooledBuffer* buffer = core_->free;
  if (buffer != nullptr) {
    core_->free = buffer->next_free;
  } else {
    const size_t bytes = core_->floats * sizeof(float);
    buffer = new PooledBuffer{.pool = core_};
    buffer->memory =
        core_->memory ? core_->memory(core_->floats) : FromHeap(bytes);
    std::memset(buffer->memory.get(), 0, bytes);
    ++core_->made;
  }
  buffer->references = 1;
  buffer->taking = ++core_->takings;
  return BufferRef(buffer);
}

BufferRef BufferPool::TakeAfter(const BufferRef& current) {
  PooledBuffer* const buffer = current.buffer_;
  if (buffer == nullptr || buffer->pool != core_ || buffer->references > 1)
    return Take();
  buffer->taking = ++core_->takings;
  return current;
}

int64_t BufferPool::made() const { return core_->made; }

}  // namespace cssp
