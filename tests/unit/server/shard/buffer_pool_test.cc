#include "server/shard/buffer_pool.h"

#include <memory>
#include <vector>

#include "gtest/gtest.h"

namespace cssp {
namespace {

TEST(BufferPoolTest, ASteadyStateAllocatesNothing) {
  BufferPool pool(100);
  BufferRef held = pool.Take();
  for (int i = 0; i < 50; ++i) {
    BufferRef next = pool.Take();
    held = std::move(next);
  }
  EXPECT_EQ(pool.made(), 2);
  EXPECT_EQ(held.floats().size(), 100u);
  EXPECT_EQ(held.bytes().size(), 400u);
}

TEST(BufferPoolTest, ABufferReturnsWithItsLastReference) {
  BufferPool pool(16);
  BufferRef first = pool.Take();
  float* memory = first.floats().data();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 64, 0u);
  BufferRef second = first;
  first.Reset();
  EXPECT_NE(pool.Take().floats().data(), memory);
  second = BufferRef();
  EXPECT_FALSE(second);
  std::vector<BufferRef> all = {pool.Take(), pool.Take()};
  EXPECT_TRUE(all[0].floats().data() == memory ||
              all[1].floats().data() == memory);
}

TEST(BufferPoolTest, WhatNobodyElseHoldsIsWrittenInPlace) {
  BufferPool pool(16);
  BufferRef values = pool.Take();
  const float* const memory = values.floats().data();
  const uint64_t first = values.taking();
  values = pool.TakeAfter(values);
  EXPECT_EQ(values.floats().data(), memory);
  EXPECT_NE(values.taking(), first);  // other contents will stand there
  BufferRef reader = values;
  values = pool.TakeAfter(values);
  EXPECT_NE(values.floats().data(), memory);
  EXPECT_EQ(reader.floats().data(), memory);
  BufferPool other(16);
  EXPECT_NE(other.TakeAfter(values).floats().data(), values.floats().data());
  EXPECT_TRUE(other.TakeAfter(BufferRef()));
  EXPECT_EQ(pool.made(), 2);
}

TEST(BufferPoolTest, ReferencesOutliveThePool) {
  auto pool = std::make_unique<BufferPool>(16);
  BufferRef held = pool->Take();
  BufferRef free = pool->Take();
  free.Reset();
  pool.reset();
  held.floats()[15] = 3;
  BufferRef copy = held;
  held.Reset();
  EXPECT_EQ(copy.floats()[15], 3);
}

}  // namespace
}  // namespace cssp
