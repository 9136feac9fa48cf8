// LMDB and LevelDB bases: making, opening, sharing, and what is said when they
// are not right.
#include <lmdb.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "tests/unit/worker/data/data_testing.h"
#include "worker/data/data_source.h"
#include "worker/data/datum_writer.h"

namespace cssp {
namespace {

using testing::HasSubstr;

constexpr BaseFormat kFormats[] = {BaseFormat::kLmdb, BaseFormat::kLevelDb};

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

TEST(Base, MissingOneIsNamedWithItsRemedy) {
  for (const BaseFormat format : kFormats) {
    const auto source = OpenBase(format, "examples/cifar10/none_lmdb");
    ASSERT_EQ(source.status().code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(Message(source.status()),
                testing::AllOf(HasSubstr("examples/cifar10/none_lmdb"),
                               HasSubstr("create_cifar10.sh")));
  }
  EXPECT_THAT(Message(OpenLevelDb("mnist_siamese_train_leveldb").status()),
              HasSubstr("create_mnist_siamese.sh"));
}

TEST(Base, OfTheOtherKindIsNamed) {
  TempFolder folder;
  ASSERT_TRUE(WriteBase(BaseFormat::kLmdb, folder / "a", 1).ok());
  ASSERT_TRUE(WriteBase(BaseFormat::kLevelDb, folder / "b", 1).ok());
  EXPECT_THAT(Message(OpenLevelDb(folder / "a").status()),
              HasSubstr("set backend: LMDB"));
  EXPECT_THAT(Message(OpenLmdb(folder / "b").status()),
              HasSubstr("set backend: LEVELDB"));
}

TEST(Base, EmptyOneIsRefused) {
  TempFolder folder;
  for (const BaseFormat format : kFormats) {
    const std::string path = folder / (format == BaseFormat::kLmdb ? "a" : "b");
    ASSERT_TRUE(WriteBase(format, path, 0).ok());
    EXPECT_THAT(Message(OpenBase(format, path).status()),
                HasSubstr("no records"));
  }
}

TEST(Base, TruncatedLmdbIsRefusedAtOpen) {
  TempFolder folder;
  const std::string path = folder / "base";
  ASSERT_TRUE(WriteBase(BaseFormat::kLmdb, path, 2000).ok());
  const std::string file = path + "/data.mdb";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  const auto source = OpenLmdb(path);
  EXPECT_EQ(source.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(source.status()), HasSubstr("truncated"));
  WriteFile(file, "not a base at all");
  EXPECT_FALSE(OpenLmdb(path).ok());
}

TEST(Base, DamagedRecordIsNamedByIndexAndKey) {
  TempFolder folder;
  for (const BaseFormat format : kFormats) {
    const std::string path = folder / (format == BaseFormat::kLmdb ? "a" : "b");
    auto writer = CreateBase(format, path);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE((*writer)->Put("k1", ByteDatum(1).SerializeAsString()).ok());
    ASSERT_TRUE((*writer)->Put("k2", "\xff\xff garbage").ok());
    ASSERT_TRUE((*writer)->Commit().ok());
    const auto source = OpenBase(format, path);
    ASSERT_TRUE(source.ok()) << source.status();
    std::string storage;
    EXPECT_TRUE((*source)->Read(0, &storage).ok());
    const auto record = (*source)->Read(1, &storage);
    EXPECT_EQ(record.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(Message(record.status()),
                testing::AllOf(HasSubstr(path), HasSubstr("record 1"),
                               HasSubstr("'k2'")));
  }
}

TEST(BaseWriter, LeavesNothingWithoutCommit) {
  for (const BaseFormat format : kFormats) {
    TempFolder folder;
    {
      auto writer = CreateBase(format, folder / "base");
      ASSERT_TRUE(writer.ok()) << writer.status();
      for (int i = 0; i < 1500; ++i) {
        ASSERT_TRUE((*writer)
                        ->Put(absl::StrFormat("%08d", i),
                              ByteDatum(i).SerializeAsString())
                        .ok());
      }
      EXPECT_FALSE(std::filesystem::exists(folder / "base"));
    }
    EXPECT_EQ(folder.entries(), 0);
  }
}

TEST(BaseWriter, DoesNotTouchWhatStandsThere) {
  TempFolder folder;
  WriteFile(folder / "base", "precious");
  for (const BaseFormat format : kFormats) {
    EXPECT_EQ(CreateBase(format, folder / "base").status().code(),
              absl::StatusCode::kAlreadyExists);
  }
  EXPECT_EQ(folder.entries(), 1);
  EXPECT_EQ(CreateBase(BaseFormat::kLmdb, folder / "no/such").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(BaseWriter, LmdbGrowsBeyondItsFirstMap) {
  TempFolder folder;
  const std::string path = folder / "base";
  auto writer = CreateBase(BaseFormat::kLmdb, path);
  ASSERT_TRUE(writer.ok());
  caffe::Datum datum;
  datum.set_channels(1);
  datum.set_height(100);
  datum.set_width(1000);
  constexpr int kRecords = 400;  // 40 MB
  for (int i = 0; i < kRecords; ++i) {
    datum.set_data(std::string(100000, static_cast<char>(i)));
    ASSERT_TRUE((*writer)
                    ->Put(absl::StrFormat("%08d", i),
                          datum.SerializeAsString())
                    .ok());
  }
  ASSERT_TRUE((*writer)->Commit().ok());
  const auto source = OpenLmdb(path);
  ASSERT_TRUE(source.ok()) << source.status();
  ASSERT_EQ((*source)->size(), kRecords);
  std::string storage;
  EXPECT_EQ((*source)->Read(399, &storage)->bytes,
            std::string(100000, static_cast<char>(399)));
}

TEST(BaseWriter, LmdbRefusesAKeyTwice) {
  TempFolder folder;
  auto writer = CreateBase(BaseFormat::kLmdb, folder / "base");
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Put("k", "1").ok());
  ASSERT_TRUE((*writer)->Put("k", "2").ok());
  EXPECT_EQ((*writer)->Commit().code(), absl::StatusCode::kAlreadyExists);
}

// Reads all of `path` in another process while `hold` holds it in this one;
// 0 when every record was right.
int ReadInChild(const std::string& path, int records) {
  const pid_t child = fork();
  if (child == 0) {
    const auto source = OpenLmdb(path);
    if (!source.ok() || (*source)->size() != records) _exit(1);
    std::string storage;
    for (int i = 0; i < records; ++i) {
      const auto record = (*source)->Read(i, &storage);
      if (!record.ok() || record->bytes != ByteDatum(i).data()) _exit(2);
    }
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

TEST(Sharing, ProcessesShareAnLmdbThatNoneMayWrite) {
  TempFolder folder;
  const std::string path = folder / "base";
  ASSERT_TRUE(WriteBase(BaseFormat::kLmdb, path, 300).ok());
  std::filesystem::remove(path + "/lock.mdb");
  std::filesystem::permissions(path + "/data.mdb",
                               std::filesystem::perms::owner_read);
  const auto first = OpenLmdb(path);
  const auto second = OpenLmdb(path);  // train and test nets of one process
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(ReadInChild(path, 300), 0);
  EXPECT_EQ(ReadInChild(path, 300), 0);
  std::string storage;
  EXPECT_EQ((*first)->Read(299, &storage)->bytes, ByteDatum(299).data());
  EXPECT_EQ((*second)->Read(0, &storage)->bytes, ByteDatum(0).data());
  EXPECT_FALSE(std::filesystem::exists(path + "/lock.mdb"));
}

TEST(Sharing, LevelDbTellsItsSecondOpenerWhatToDo) {
  TempFolder folder;
  const std::string path = folder / "base";
  ASSERT_TRUE(WriteBase(BaseFormat::kLevelDb, path, 3).ok());
  const auto first = OpenLevelDb(path);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = OpenLevelDb(path);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(second.status()),
              testing::AllOf(HasSubstr(path), HasSubstr("use an LMDB base")));
  // Another process is told the same.
  const pid_t child = fork();
  if (child == 0) {
    const auto third = OpenLevelDb(path);
    _exit(third.status().code() == absl::StatusCode::kFailedPrecondition ? 0
                                                                         : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace cssp
