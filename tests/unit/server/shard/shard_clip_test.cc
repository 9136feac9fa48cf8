// clip_gradients and LARS over several shards: the same bits for any number of servers
// and any chunk size, whatever order messages come in.
#include <algorithm>
#include <cmath>
#include <random>

#include "gtest/gtest.h"
#include "server/shard/shard.h"
#include "tests/testing/shard_rig.h"

namespace cssp {
namespace {

std::vector<ps::BlobSpec> Blobs() {
  std::vector<ps::BlobSpec> blobs = {TestBlob("a", 700), TestBlob("b", 20000),
                                     TestBlob("c", 33), TestBlob("d", 9000)};
  blobs[2].statistic = true;
  blobs[2].moving_average_fraction = 0.9;
  blobs[3].decay_mult = 0;
  return blobs;
}

float Gradient(int rank, int64_t clock, int64_t index) {
  std::minstd_rand rng(1 + rank + 31 * clock + 1009 * index);
  rng.discard(2);
  return static_cast<float>(rng() % 2001) / 1000 - 1;
}

// Trains `clocks` clocks over `servers` shards and gives the slab.
std::vector<float> Train(int servers, int64_t chunk_bytes, uint64_t seed,
                         int clocks, float lars_eta = 0) {
  constexpr int kWorkers = 3;
  const auto layout = *ps::SlabLayout::Create(Blobs(), chunk_bytes);
  const std::vector<int> owner = ps::PlaceChunks(layout, servers);
  ShardOptions options;
  options.solver = PlainSgd(0.1);
  options.solver.set_momentum(0.9);
  options.solver.set_weight_decay(0.01);
  options.solver.set_clip_gradients(0.5);
  options.solver.set_iter_size(2);
  options.solver.set_lars_eta(lars_eta);
  options.workers = kWorkers;
  options.servers = servers;
  options.chunk_server = owner;
  std::vector<std::unique_ptr<ShardRig>> rigs;
  for (int s = 0; s < servers; ++s) {
    options.self = s;
    rigs.push_back(std::make_unique<ShardRig>(Blobs(), options, chunk_bytes));
    rigs.back()->InitAll(1);
  }
  std::mt19937 rng(seed);
  for (int64_t clock = 0; clock < clocks; ++clock) {
    std::vector<std::pair<int, int>> pushes;
    for (int rank = 0; rank < kWorkers; ++rank) {
      for (size_t c = 0; c < owner.size(); ++c) pushes.push_back({rank, c});
    }
    std::shuffle(pushes.begin(), pushes.end(), rng);
    for (const auto& [rank, c] : pushes) {
      ShardRig& rig = *rigs[owner[c]];
      BufferRef part = rig.shard->NewPart(c);
      const ps::Chunk& chunk = layout.chunks()[c];
      for (int64_t i = 0; i < chunk.count; ++i) {
        part.floats()[i] = Gradient(rank, clock, chunk.offset + i);
      }
      rig.shard->OnPush(rank + 1,
                        rig.Header(ps::MessageType::kPush, rank, c, clock),
                        std::move(part));
      EXPECT_EQ(rig.output.last_reason(), ps::Reason::kNone);
      // Norms travel late, twice or both.
      for (int s = 0; s < servers; ++s) {
        for (const auto& norms : std::exchange(rigs[s]->output.norms, {})) {
          for (uint32_t i = 0; i <= rng() % 2; ++i) {
            EXPECT_TRUE(rigs[norms.server]->shard->OnNorms(s, norms.clock,
                                                           norms.partials));
          }
        }
      }
    }
  }
  std::vector<float> slab(layout.size());
  for (const auto& rig : rigs) {
    for (const ChunkState& state : rig->shard->chunks()) {
      EXPECT_EQ(state.version, clocks);
      const auto from = state.values.floats();
      std::copy(from.begin(), from.end(),
                slab.begin() + layout.chunks()[state.id].offset);
    }
  }
  return slab;
}

TEST(ShardClipTest, BitIdenticalForAnyServersAndChunks) {
  const std::vector<float> reference = Train(1, 4 << 20, 1, 5);
  EXPECT_FALSE(std::isnan(reference[0]));
  EXPECT_NE(reference[0], 1);
  for (int servers : {1, 2, 3}) {
    for (int64_t chunk_bytes : {16384, 40000, 1 << 20}) {
      EXPECT_EQ(Train(servers, chunk_bytes, servers, 5), reference)
          << servers << " servers, chunks of " << chunk_bytes;
    }
  }
}

TEST(ShardClipTest, LarsToo) {
  const std::vector<float> reference = Train(1, 4 << 20, 1, 5, 0.01f);
  EXPECT_NE(reference, Train(1, 4 << 20, 1, 5));
  for (int servers : {2, 3}) {
    for (int64_t chunk_bytes : {16384, 40000}) {
      EXPECT_EQ(Train(servers, chunk_bytes, servers, 5, 0.01f), reference)
          << servers << " servers, chunks of " << chunk_bytes;
    }
  }
}

// Without clip_gradients as well: w 3, gradient 4, rate 1 * eta * 3 / 4.
TEST(ShardClipTest, LarsScalesTheRate) {
  ShardOptions options;
  options.solver = PlainSgd(1);
  options.solver.set_lars_eta(0.5);
  ShardRig rig({TestBlob("w", 1)}, options);
  rig.InitAll(3);
  rig.Push(0, 0, 0, 4);
  EXPECT_FLOAT_EQ(rig.value(0), 3 - 4 * 0.5f * 3 / 4);
}

// Two shards; the ticks of a worker that dies reach only the second.  Both
// follow what the first decides, and step at the same clock.
TEST(ShardClipTest, PlateauFollowsOneServersLosses) {
  ShardOptions options;
  options.solver = PlainSgd(1);
  options.solver.set_lr_policy("plateau");
  options.solver.set_gamma(0.5);
  options.solver.add_plateau_winsize(2);
  options.workers = 2;
  options.servers = 2;
  const std::vector<ps::BlobSpec> blobs = {TestBlob("a", 3000),
                                           TestBlob("b", 3000)};
  options.chunk_server = {0, 1};
  std::vector<std::unique_ptr<ShardRig>> rigs;
  for (options.self = 0; options.self < 2; ++options.self) {
    rigs.push_back(std::make_unique<ShardRig>(blobs, options, 16384));
    rigs.back()->InitAll(0);
  }
  const auto exchange = [&] {
    for (int s : {0, 1, 0, 1})
      for (const auto& norms : std::exchange(rigs[s]->output.norms, {}))
        EXPECT_TRUE(rigs[norms.server]->shard->OnNorms(s, norms.clock,
                                                       norms.partials));
  };
  const auto tick = [&](int server, int rank, int64_t clock, double loss) {
    control::Tick tick = rigs[server]->TickOf(rank, clock, 1);
    tick.set_loss(loss);
    EXPECT_TRUE(rigs[server]->shard->Tick(tick).ok());
  };
  float expected = 0;
  // Clock 0 improves; 1 and 2 do not: the rate halves for clock 2.
  for (int64_t clock = 0; clock < 3; ++clock) {
    for (uint32_t s : {1u, 0u})
      for (int rank : {1, 0}) rigs[s]->Push(rank, s, clock, 1);
    exchange();
    EXPECT_EQ(rigs[0]->value(0), expected) << "the losses are not in";
    tick(1, 0, clock, 7);
    tick(1, 1, clock, clock == 2 ? -100 : 7);  // of the dying one
    tick(0, 0, clock, 7);
    exchange();
    EXPECT_EQ(rigs[1]->value(1), expected) << "worker 1 may still tick";
    if (clock < 2) {
      tick(0, 1, clock, 7);
    } else {
      for (const auto& rig : rigs) rig->shard->WorkerGone(1, 1);
    }
    exchange();
    expected -= clock < 2 ? 1 : 0.5f;
    EXPECT_EQ(rigs[0]->value(0), expected);
    EXPECT_EQ(rigs[1]->value(1), expected);
  }
}

TEST(ShardClipTest, ClipsOnTheSumOfIterSize) {
  // One float, gradient 10 (sum of 2 passes), clip 4: factor 0.4, then / 2.
  ShardOptions options;
  options.solver = PlainSgd(1);
  options.solver.set_clip_gradients(4);
  options.solver.set_iter_size(2);
  ShardRig rig({TestBlob("w", 1)}, options);
  rig.InitAll(0);
  rig.Push(0, 0, 0, 10);
  EXPECT_FLOAT_EQ(rig.value(0), -2);
}

TEST(ShardClipTest, ALateServerGetsTheNormsAgain) {
  ShardOptions options;
  options.solver = PlainSgd(1);
  options.solver.set_clip_gradients(1);
  options.servers = 2;
  options.chunk_server = {0, 1};
  const std::vector<ps::BlobSpec> blobs = {TestBlob("a", 4096),
                                           TestBlob("b", 4096)};
  ShardRig first(blobs, options);
  options.self = 1;
  ShardRig second(blobs, options);
  first.InitAll(0);
  second.InitAll(0);
  first.Push(0, 0, 0, 1);
  ASSERT_EQ(first.output.norms.size(), 1u);                   // lost
  EXPECT_EQ(first.Push(0, 0, 0, 1), ps::Reason::kDuplicate);  // it is summed
  second.Push(0, 1, 0, 1);
  EXPECT_TRUE(first.shard->OnNorms(1, 0, second.output.norms[0].partials));
  EXPECT_NE(first.value(0), 0);
  EXPECT_EQ(second.value(1), 0);
  first.shard->OnServerConnected(1);
  ASSERT_EQ(first.output.norms.size(), 2u);
  EXPECT_TRUE(second.shard->OnNorms(0, first.output.norms[1].clock,
                                    first.output.norms[1].partials));
  EXPECT_EQ(second.value(1), first.value(0));
  EXPECT_FALSE(second.shard->OnNorms(0, 1, {1.0, 2.0, 3.0}));
  EXPECT_FALSE(second.shard->OnNorms(7, 1, {1.0}));
}

}  // namespace
}  // namespace cssp
