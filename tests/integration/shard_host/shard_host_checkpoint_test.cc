// Durable cuts by two servers, restored on three with other chunks.
#include <stdlib.h>

#include <filesystem>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "server/checkpoint/checkpoint_io.h"
#include "tests/integration/shard_host/cluster.h"

namespace cssp {
namespace {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = testing::TempDir() + "/shard_host_XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Thread-safe (monitor): what on_checkpoint reported.
class Reports {
 public:
  void Add(const control::ShardCheckpoint& report) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    all_.push_back(report);
  }
  std::vector<control::ShardCheckpoint> Await(size_t count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return all_.size() >= count;
    };
    EXPECT_TRUE(
        mu_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(10)));
    return all_;
  }

 private:
  absl::Mutex mu_;
  std::vector<control::ShardCheckpoint> all_ ABSL_GUARDED_BY(mu_);
};

// Writes nothing before it is let go.
class HeldStore final : public ParamStore {
 public:
  absl::Status Write(const std::vector<StoreEntry>& entries,
                     bool sync) override {
    go.WaitForNotification();
    return store_->Write(entries, sync);
  }
  absl::StatusOr<std::string> Get(absl::string_view key) const override {
    return store_->Get(key);
  }
  absl::StatusOr<std::vector<std::string>> List(
      absl::string_view prefix) const override {
    return store_->List(prefix);
  }
  absl::Status DeletePrefix(absl::string_view prefix) override {
    return store_->DeletePrefix(prefix);
  }
  absl::Status Sync() override { return store_->Sync(); }

  absl::Notification go;

 private:
  const std::unique_ptr<ParamStore> store_ = MakeMemoryStore();
};

struct StoredServer {
  std::unique_ptr<TemporaryFolder> folder;
  std::unique_ptr<ParamStore> store;
};

StoredServer MakeStore() {
  StoredServer stored;
  stored.folder = std::make_unique<TemporaryFolder>();
  auto store = OpenRocksDbStore({.directory = stored.folder->path()});
  EXPECT_TRUE(store.ok()) << store.status();
  stored.store = *std::move(store);
  return stored;
}

void Train(std::vector<std::unique_ptr<HandWorker>>& workers, int64_t from,
           int64_t to) {
  for (int64_t clock = from; clock < to; ++clock) {
    for (int rank = 0; rank < static_cast<int>(workers.size()); ++rank) {
      workers[rank]->Push(
          clock, [&](int64_t i) { return ClusterGradient(rank, clock, i); });
    }
  }
}

TEST(ShardHostCheckpointTest, ASlowDiskCostsCutsButNeverTheLast) {
  constexpr int64_t kClocks = 20;
  caffe::SolverParameter solver = ClusterSolver();
  solver.set_max_iter(kClocks);
  solver.set_snapshot(1);
  HeldStore store;
  Reports reports;
  ShardHostOptions options;
  options.store = &store;
  options.on_checkpoint = [&reports](const control::ShardCheckpoint& part) {
    reports.Add(part);
  };
  std::vector<Server> servers;
  servers.push_back(StartServer(options));
  OpenAll(servers, OpenRequest(servers, solver, 1, 0));
  std::vector<std::unique_ptr<HandWorker>> workers;
  workers.push_back(std::make_unique<HandWorker>(servers, 0));
  workers[0]->Init(1);
  Train(workers, 0, kClocks);
  workers[0]->Pull(kClocks);  // the last cut has been made
  store.go.Notify();
  int failed = 0;
  for (const control::ShardCheckpoint& part : reports.Await(kClocks)) {
    failed += !part.error().empty();
    if (part.clock() == kClocks) EXPECT_EQ(part.error(), "");
  }
  EXPECT_GT(failed, 0) << "the disk was not slow";
  EXPECT_LT(failed, kClocks - 1);
  EXPECT_TRUE(ReadCutChunk(store, "job-1", kClocks, 0).ok());
}

TEST(ShardHostCheckpointTest, RestoresOnAnotherNumberOfServers) {
  std::vector<StoredServer> stores;
  for (int i = 0; i < 3; ++i) stores.push_back(MakeStore());
  caffe::SolverParameter solver = ClusterSolver();
  solver.set_snapshot(3);

  Manifest manifest;
  manifest.set_job_id("job-1");
  manifest.set_clock(3);
  manifest.set_chunk_bytes(kChunkBytes);
  manifest.set_num_history(1);
  for (const ps::BlobSpec& blob : ClusterBlobs()) {
    *manifest.add_blobs() = ps::ToCheckpointProto(blob);
  }
  {
    Reports reports;
    std::vector<Server> servers;
    for (int i = 0; i < 2; ++i) {
      ShardHostOptions options;
      options.store = stores[i].store.get();
      options.store_directory = stores[i].folder->path();
      options.on_checkpoint = [&reports](const control::ShardCheckpoint& part) {
        reports.Add(part);
      };
      servers.push_back(StartServer(options));
    }
    OpenAll(servers, OpenRequest(servers, solver, 2, 0));
    std::vector<std::unique_ptr<HandWorker>> workers;
    for (int rank : {0, 1}) {
      workers.push_back(std::make_unique<HandWorker>(servers, rank));
    }
    workers[0]->Init(1);
    Train(workers, 0, 4);  // one clock beyond the cut
    for (const control::ShardCheckpoint& part : reports.Await(2)) {
      EXPECT_EQ(part.error(), "");
      EXPECT_EQ(part.clock(), 3);
      EXPECT_GT(part.bytes(), 0);
      // Which server it was shows in its chunks.
      Manifest::Part& out = *manifest.add_parts();
      const auto layout = workers[0]->layout();
      const int server = ps::PlaceChunks(layout, 2)[part.chunks(0)];
      out.set_directory(stores[server].folder->path());
      for (int chunk : part.chunks()) out.add_chunks(chunk);
    }
    // An evaluator reads the same cut, history included.
    auto evaluator = MakePeer(servers[0], -1);
    ASSERT_TRUE(evaluator->Join(kToken));
    int mine = 0;
    while (ps::PlaceChunks(workers[0]->layout(), 2)[mine] != 0) ++mine;
    ps::MessageHeader header =
        evaluator->Header(ps::MessageType::kPullExact, mine, 3);
    header.slot = 1;
    const auto exact = evaluator->AwaitAnswer(evaluator->Send(header));
    EXPECT_EQ(exact.header.type, ps::MessageType::kValues);
    EXPECT_EQ(exact.header.slot, 1);
    const auto stored = ReadCutChunk(*stores[0].store, "job-1", 3, mine);
    ASSERT_TRUE(stored.ok()) << stored.status();
    EXPECT_EQ(exact.floats, stored->arrays[1]);
  }
  // The writers are gone; their directories are read by all three.
  std::vector<Server> servers;
  for (int i = 0; i < 2; ++i) stores[i].store.reset();
  for (int i = 0; i < 3; ++i) {
    ShardHostOptions options;
    options.store = stores[2].store.get();
    options.store_directory = stores[2].folder->path();
    servers.push_back(StartServer(options));
  }
  control::OpenShardRequest request = OpenRequest(servers, solver, 2, 0);
  request.set_start_clock(3);
  request.set_restore_checkpoint("job-1/3");
  request.set_manifest(manifest.SerializeAsString());
  OpenAll(servers, request);
  std::vector<std::unique_ptr<HandWorker>> workers;
  for (int rank : {0, 1}) {
    workers.push_back(std::make_unique<HandWorker>(servers, rank));
  }
  EXPECT_EQ(workers[0]->Pull(3), ReferenceSlab(solver, 2, 3));
  Train(workers, 3, 6);
  EXPECT_EQ(workers[0]->Pull(6), ReferenceSlab(solver, 2, 6));
}

TEST(ShardHostCheckpointTest, AFailingStoreIsReported) {
  Reports reports;
  ShardHostOptions options;
  options.on_checkpoint = [&](const control::ShardCheckpoint& part) {
    reports.Add(part);
  };
  std::vector<Server> servers;
  servers.push_back(StartServer(options));
  caffe::SolverParameter solver = ClusterSolver();
  solver.set_snapshot(1);
  OpenAll(servers, OpenRequest(servers, solver, 1, 0));
  HandWorker worker(servers, 0);
  worker.Init(1);
  worker.Push(0, [](int64_t) { return 1.0f; });
  EXPECT_NE(reports.Await(1)[0].error(), "");
  worker.Push(1, [](int64_t) { return 1.0f; });  // training goes on
  EXPECT_FALSE(worker.Pull(2).empty());
}

TEST(ShardHostCheckpointTest, AMissingCheckpointOpensNothing) {
  StoredServer stored = MakeStore();
  ShardHostOptions options;
  options.store = stored.store.get();
  options.store_directory = stored.folder->path();
  std::vector<Server> servers;
  servers.push_back(StartServer(options));
  control::OpenShardRequest request =
      OpenRequest(servers, ClusterSolver(), 1, 0);
  request.set_restore_checkpoint("job-1/3");
  EXPECT_TRUE(absl::IsNotFound(servers[0].host->Open(request).status()));
  EXPECT_TRUE(absl::IsNotFound(servers[0].host->Status("job-1").status()));
}

}  // namespace
}  // namespace cssp
