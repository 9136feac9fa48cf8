#include "worker/data/prefetcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "proto/caffe.pb.h"
#include "worker/data/memory_source.h"

namespace cssp {
namespace {

// Records which batches were read; a batch's one item has its position as label.
class FakeReader {
 public:
  Prefetcher::ReadBatch Function() {
    return [this](const BatchKey& key, Batch* batch) { Read(key, batch); };
  }
  void Read(const BatchKey& key, Batch* batch) {
    batch->key = key;
    batch->status = absl::OkStatus();
    batch->items.resize(1);
    batch->items[0].label = static_cast<int>(key.first);
    if (key.first == fail_at)
      batch->status = absl::DataLossError("record is damaged");
    absl::MutexLock lock(&mu_);
    read_.push_back(key.first);
  }
  std::vector<int64_t> read() {
    absl::MutexLock lock(&mu_);
    return read_;
  }
  // Blocks until `count` batches have been read.
  void AwaitReads(size_t count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [this, count]() {
      mu_.AssertHeld();
      return read_.size() >= count;
    };
    mu_.Await(absl::Condition(&enough));
  }

  int64_t fail_at = -1;

 private:
  absl::Mutex mu_;
  std::vector<int64_t> read_ ABSL_GUARDED_BY(mu_);
};

int64_t TakeLabel(Prefetcher& prefetcher, int64_t first, uint64_t seed = 1) {
  const auto lease = prefetcher.Take({first, seed});
  EXPECT_TRUE(lease.ok()) << lease.status();
  return lease.ok() ? (*lease)->items[0].label : -1;
}

TEST(Prefetcher, ReadsNothingBeforeTheFirstTake) {
  FakeReader reader;
  Prefetcher prefetcher(reader.Function(), {});
  prefetcher.Start();
  prefetcher.Stop();
  EXPECT_TRUE(reader.read().empty());
}

TEST(Prefetcher, ReadsAheadAtTheStrideItLearns) {
  FakeReader reader;
  Prefetcher prefetcher(reader.Function(), {.depth = 3, .stride = 10});
  prefetcher.Start();
  // Worker 1 of 4: strides of 40, guessed as 10 at first.
  EXPECT_EQ(TakeLabel(prefetcher, 10), 10);
  EXPECT_EQ(TakeLabel(prefetcher, 50), 50);
  for (int64_t first = 90; first <= 890; first += 40)
    EXPECT_EQ(TakeLabel(prefetcher, first), first);
  prefetcher.Stop();
  std::set<int64_t> once;
  for (const int64_t first : reader.read()) {
    if (first <= 50 || (first - 50) % 40 != 0) continue;
    EXPECT_TRUE(once.insert(first).second) << first << " was read twice";
  }
  EXPECT_GE(once.size(), 21u);
  // Only the first guesses were wrong.
  EXPECT_LE(prefetcher.wasted(), 3);
}

TEST(Prefetcher, NeverReadsFurtherThanItsDepth) {
  FakeReader reader;
  Prefetcher prefetcher(reader.Function(), {.depth = 4, .stride = 1});
  prefetcher.Start();
  EXPECT_EQ(TakeLabel(prefetcher, 0), 0);
  reader.AwaitReads(5);
  prefetcher.Stop();
  EXPECT_THAT(reader.read(), testing::ElementsAre(0, 1, 2, 3, 4));
}

TEST(Prefetcher, CorrectsAWrongGuess) {
  FakeReader reader;
  Prefetcher prefetcher(reader.Function(),
                        {.depth = 4, .threads = 2, .stride = 5});
  prefetcher.Start();
  for (const int64_t first : {0, 5, 10, 1000, 1005, 0, 5, 7, 7, 20, 40, 25})
    EXPECT_EQ(TakeLabel(prefetcher, first), first);
  // Another seed means another batch at the same place.
  EXPECT_EQ(TakeLabel(prefetcher, 25, 2), 25);
  const auto lease = prefetcher.Take({30, 3});
  ASSERT_TRUE(lease.ok());
  EXPECT_EQ((*lease)->key.seed, 3u);
}

TEST(Prefetcher, SkippedBatchesMakeRoom) {
  FakeReader reader;
  Prefetcher prefetcher(reader.Function(), {.depth = 4, .stride = 1});
  prefetcher.Start();
  // Each take skips what was read ahead before it.
  for (int64_t first = 0; first < 300; first += 3)
    EXPECT_EQ(TakeLabel(prefetcher, first), first);
}

TEST(Prefetcher, GivesTheErrorOfABatchAndGoesOn) {
  FakeReader reader;
  reader.fail_at = 2;
  Prefetcher prefetcher(reader.Function(), {.depth = 2, .stride = 1});
  prefetcher.Start();
  EXPECT_EQ(TakeLabel(prefetcher, 0), 0);
  EXPECT_EQ(TakeLabel(prefetcher, 1), 1);
  EXPECT_EQ(prefetcher.Take({2, 1}).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(TakeLabel(prefetcher, 3), 3);
}

TEST(Prefetcher, StopFreesAWaitingTake) {
  absl::Notification go;
  Prefetcher prefetcher(
      [&go](const BatchKey& key, Batch* batch) {
        go.WaitForNotification();
        batch->key = key;
      },
      {});
  prefetcher.Start();
  absl::Status status;
  std::thread taker([&] { status = prefetcher.Take({0, 1}).status(); });
  std::thread stopper([&] { prefetcher.Stop(); });
  taker.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  go.Notify();
  stopper.join();
  prefetcher.Stop();  // once more does nothing
}

TEST(Prefetcher, MeasuresTheWait) {
  class SteppingTime final : public TimeSource {
   public:
    absl::Time Now() override {
      return absl::UnixEpoch() + absl::Seconds(3 * calls_++);
    }

   private:
    std::atomic<int> calls_{0};
  };
  SteppingTime time;
  FakeReader reader;
  Prefetcher prefetcher(reader.Function(), {.depth = 1, .stride = 1}, time);
  prefetcher.Start();
  EXPECT_EQ(prefetcher.waited(), absl::ZeroDuration());
  EXPECT_EQ(TakeLabel(prefetcher, 0), 0);  // nothing was ahead: it waits
  EXPECT_EQ(prefetcher.waited(), absl::Seconds(3));
}

TEST(Prefetcher, ManyThreadsGiveTheSameBatches) {
  MemorySource source;
  for (int i = 0; i < 50; ++i)
    source.Add({1, 1, 2, {static_cast<char>(i), static_cast<char>(2 * i)}, {},
                i});
  const auto transformer =
      DataTransformer::Create(caffe::TransformationParameter(), caffe::TRAIN);
  ASSERT_TRUE(transformer.ok());
  const BatchReader reader(source, *transformer,
                           {.shuffle = true});
  const RecordOrder order(50, true, 9);
  Prefetcher prefetcher(
      [&reader](const BatchKey& key, Batch* batch) { reader.Read(key, batch); },
      {.depth = 8, .threads = 4, .stride = 7});
  prefetcher.Start();
  // A deal changes how many.
  int64_t records = 7;
  for (int64_t first = 0; first < 7 * 400; first += records) {
    if (first >= 7 * 100) records = first < 7 * 300 ? 11 : 2;
    const auto lease = prefetcher.Take({first, 9, records});
    ASSERT_TRUE(lease.ok()) << lease.status();
    ASSERT_EQ((*lease)->items.size(), static_cast<size_t>(records));
    for (int64_t j = 0; j < records; ++j) {
      const BatchItem& item = (*lease)->items[j];
      const RecordId id = order.At(first + j);
      ASSERT_EQ(item.id.index, id.index);
      ASSERT_EQ(item.id.epoch, id.epoch);
      ASSERT_EQ(item.label, id.index);
      const RecordView view = (*lease)->View(item);
      ASSERT_EQ(view.bytes, (std::string{static_cast<char>(id.index),
                                         static_cast<char>(2 * id.index)}));
    }
  }
}

TEST(BatchReader, NamesTheRecordThatDoesNotFit) {
  MemorySource source;
  source.Add({1, 2, 2, "abcd", {}, 0});
  source.Add({1, 1, 1, "a", {}, 0});
  caffe::TransformationParameter param;
  param.set_crop_size(2);
  const auto transformer = DataTransformer::Create(param, caffe::TRAIN);
  ASSERT_TRUE(transformer.ok());
  const BatchReader reader(source, *transformer, {});
  Batch batch;
  reader.Read({0, 1, 2}, &batch);
  EXPECT_EQ(batch.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(batch.status.message()),
              testing::HasSubstr("record 1"));
}

}  // namespace
}  // namespace cssp
