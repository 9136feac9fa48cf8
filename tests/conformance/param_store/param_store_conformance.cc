// What every ParamStore keeps, and what the RocksDB one keeps beyond it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "server/storage/param_store.h"

namespace cssp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct StoreKind {
  const char* name;
  std::function<std::unique_ptr<ParamStore>(const std::string& dir)> open;
};

class ParamStoreConformance : public testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/store-" + std::to_string(getpid()) + "-" +
           testing::UnitTest::GetInstance()->current_test_info()->name();
    for (char& c : dir_)
      if (c == '/' && &c > dir_.data() + testing::TempDir().size()) c = '_';
    std::filesystem::remove_all(dir_);
    store_ = GetParam().open(dir_);
    ASSERT_NE(store_, nullptr);
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(dir_);
  }
  std::string dir_;
  std::unique_ptr<ParamStore> store_;
};

TEST_P(ParamStoreConformance, GivesBackWhatWasWritten) {
  const std::string binary("\0\xff\n", 3);
  ASSERT_TRUE(store_->Write({{"a", "1"}, {"b", binary}, {"c", ""}}, true).ok());
  EXPECT_EQ(store_->Get("a").value(), "1");
  EXPECT_EQ(store_->Get("b").value(), binary);
  EXPECT_EQ(store_->Get("c").value(), "");
  EXPECT_EQ(store_->Get("d").status().code(), absl::StatusCode::kNotFound);
}

TEST_P(ParamStoreConformance, LastWriteWins) {
  ASSERT_TRUE(store_->Write({{"a", "1"}}, false).ok());
  ASSERT_TRUE(store_->Write({{"a", "2"}}, false).ok());
  EXPECT_EQ(store_->Get("a").value(), "2");
}

TEST_P(ParamStoreConformance, ListsAPrefixInOrder) {
  ASSERT_TRUE(
      store_->Write({{"k/2", ""}, {"k/1", ""}, {"j", ""}, {"k0", ""}}, true)
          .ok());
  EXPECT_THAT(store_->List("k/").value(), ElementsAre("k/1", "k/2"));
  EXPECT_THAT(store_->List("nothing").value(), ElementsAre());
}

TEST_P(ParamStoreConformance, DeletesAPrefixAndNothingElse) {
  ASSERT_TRUE(store_->Write({{"k/1", "x"}, {"k/2", "x"}, {"k0", "x"}}, true).ok());
  ASSERT_TRUE(store_->DeletePrefix("k/").ok());
  EXPECT_THAT(store_->List("k").value(), ElementsAre("k0"));
}

TEST_P(ParamStoreConformance, HoldsAChunkOfFourMebibytes) {
  std::string big(4 << 20, 'x');
  big[12345] = 'y';
  ASSERT_TRUE(store_->Write({{"big", big}}, true).ok());
  EXPECT_EQ(store_->Get("big").value(), big);
}

std::unique_ptr<ParamStore> OpenRocks(const std::string& dir) {
  auto store = OpenRocksDbStore({.directory = dir});
  if (!store.ok()) ADD_FAILURE() << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

INSTANTIATE_TEST_SUITE_P(
    All, ParamStoreConformance,
    testing::Values(StoreKind{"Memory",
                              [](const std::string&) { return MakeMemoryStore(); }},
                    StoreKind{"RocksDb", OpenRocks}),
    [](const auto& info) { return std::string(info.param.name); });

class RocksDbStore : public testing::Test {
 protected:
  RocksDbStore()
      : dir_(testing::TempDir() + "/rocks-" + std::to_string(getpid())) {
    std::filesystem::remove_all(dir_);
  }
  ~RocksDbStore() override { std::filesystem::remove_all(dir_); }
  const std::string dir_;
};

TEST_F(RocksDbStore, SyncedWritesSurviveAKilledProcess) {
  const pid_t child = fork();
  if (child == 0) {
    auto store = OpenRocksDbStore({.directory = dir_});
    if (!store.ok() || !(*store)->Write({{"k", "v"}}, true).ok()) _exit(1);
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  auto store = OpenRocks(dir_);
  EXPECT_EQ(store->Get("k").value(), "v");
}

TEST_F(RocksDbStore, ASecondOwnerIsRefusedAReaderIsNot) {
  auto store = OpenRocks(dir_);
  ASSERT_TRUE(store->Write({{"k", "v"}}, true).ok());
  const auto second = OpenRocksDbStore({.directory = dir_});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr("in use by another ps-server"));
  auto reader = OpenRocksDbStoreReadOnly(dir_);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->Get("k").value(), "v");
  EXPECT_EQ((*reader)->Write({{"k", "w"}}, true).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(RocksDbStore, AFullQuotaRefusesWritesAndKeepsReading) {
  auto store = OpenRocksDbStore({.directory = dir_, .max_bytes = 8u << 20});
  ASSERT_TRUE(store.ok());
  absl::Status status;
  for (int i = 0; i < 32 && status.ok(); ++i)
    status = (*store)->Write(
        {{"k" + std::to_string(i), std::string(1 << 20, 'x')}}, false);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ((*store)->Get("k0").value().size(), 1u << 20);
}

TEST_F(RocksDbStore, ALowDiskRefusesWrites) {
  auto store = OpenRocksDbStore(
      {.directory = dir_, .min_free_bytes = uint64_t{1} << 60});
  ASSERT_TRUE(store.ok());
  const absl::Status status = (*store)->Write({{"k", "v"}}, false);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("MiB free"));
}

TEST_F(RocksDbStore, NoStoreToReadIsNotFound) {
  EXPECT_EQ(OpenRocksDbStoreReadOnly(dir_).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace cssp
