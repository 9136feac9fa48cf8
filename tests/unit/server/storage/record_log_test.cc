#include "server/storage/record_log.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class RecordLogTest : public testing::Test {
 protected:
  RecordLogTest() {
    std::string pattern = "/tmp/cssp-log-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    options_.directory = folder_ + "/log";
    options_.min_free_bytes = 0;
  }
  ~RecordLogTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string File(int segment) const {
    return absl::StrCat(options_.directory, "/00000000000", segment, ".log");
  }
  static std::string Bytes(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  static void Write(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
  std::unique_ptr<RecordLog> Open(uint64_t first) {
    auto log = RecordLog::Create(options_, first);
    EXPECT_TRUE(log.ok()) << log.status();
    return *std::move(log);
  }
  static absl::Status Append(RecordLog& log,
                             const std::vector<std::string>& texts) {
    std::vector<LogRecord> group;
    for (const std::string& text : texts) {
      LogRecord record{.type = 3, .head = text.substr(0, 1)};
      record.body = absl::Span<const uint8_t>(
          reinterpret_cast<const uint8_t*>(text.data()) + 1, text.size() - 1);
      group.push_back(std::move(record));
    }
    return log.Append(group);
  }
  // What comes back; `next_` is where writing goes on.
  absl::Status Replay(std::vector<std::string>* texts) {
    texts->clear();
    return RecordLog::Replay(
        options_.directory,
        [&](uint64_t, uint8_t type, absl::Span<const uint8_t> payload) {
          EXPECT_EQ(type, 3);
          texts->emplace_back(payload.begin(), payload.end());
          return absl::OkStatus();
        },
        &next_);
  }

  std::string folder_;
  RecordLogOptions options_;
  uint64_t next_ = 0;
};

TEST_F(RecordLogTest, GivesBackWhatWasAppendedOverSegments) {
  auto log = Open(1);
  ASSERT_TRUE(Append(*log, {"one", "two"}).ok());
  ASSERT_TRUE(log->Roll().ok());
  ASSERT_TRUE(Append(*log, {"three"}).ok());
  std::vector<std::string> texts;
  ASSERT_TRUE(Replay(&texts).ok());
  EXPECT_THAT(texts, ElementsAre("one", "two", "three"));
  EXPECT_EQ(next_, 3u);
  ASSERT_TRUE(log->DropBefore(2).ok());
  ASSERT_TRUE(Replay(&texts).ok());
  EXPECT_THAT(texts, ElementsAre("three"));
}

TEST_F(RecordLogTest, ATornEndLosesOnlyWhatWasNotFinished) {
  {
    auto log = Open(1);
    ASSERT_TRUE(Append(*log, {"first", "second"}).ok());
    ASSERT_TRUE(Append(*log, {"third record"}).ok());
  }
  const std::string whole = Bytes(File(1));
  size_t before = 0;
  for (size_t size = 0; size <= whole.size(); ++size) {
    Write(File(1), whole.substr(0, size));
    std::vector<std::string> texts;
    const absl::Status replayed = Replay(&texts);
    ASSERT_TRUE(replayed.ok()) << size << " " << replayed;
    EXPECT_GE(texts.size(), before);
    before = texts.size();
    // The log goes on behind it.
    auto log = Open(next_);
    ASSERT_TRUE(Append(*log, {"later"}).ok());
    texts.clear();
    ASSERT_TRUE(Replay(&texts).ok()) << size;
    EXPECT_EQ(texts.size(), before + 1);
    EXPECT_EQ(texts.back(), "later");
    std::filesystem::remove_all(options_.directory);
    std::filesystem::create_directories(options_.directory);
  }
  EXPECT_EQ(before, 3u);
}

TEST_F(RecordLogTest, AFlippedBitIsNamedOrHarmless) {
  {
    auto log = Open(1);
    ASSERT_TRUE(Append(*log, {"first", "second"}).ok());
    ASSERT_TRUE(Append(*log, {"third record"}).ok());
  }
  const std::string whole = Bytes(File(1));
  constexpr size_t kLastCommit = 12 + 4;  // the log's own record: holds nothing
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      Write(File(1), damaged);
      std::vector<std::string> texts;
      const absl::Status replayed = Replay(&texts);
      if (at >= whole.size() - kLastCommit) {
        EXPECT_TRUE(replayed.ok()) << at << " " << replayed;
        EXPECT_THAT(texts, ElementsAre("first", "second", "third record"));
      } else {
        EXPECT_TRUE(absl::IsDataLoss(replayed)) << at << "." << bit;
        EXPECT_THAT(std::string(replayed.message()), HasSubstr(File(1)));
        EXPECT_THAT(std::string(replayed.message()), HasSubstr("offset"));
      }
    }
  }
}

TEST_F(RecordLogTest, OnlyTheLastSegmentMayBeTorn) {
  auto log = Open(1);
  ASSERT_TRUE(Append(*log, {"first"}).ok());
  ASSERT_TRUE(log->Roll().ok());
  ASSERT_TRUE(Append(*log, {"second"}).ok());
  const std::string whole = Bytes(File(1));
  Write(File(1), whole.substr(0, whole.size() - 20));
  std::vector<std::string> texts;
  EXPECT_TRUE(absl::IsDataLoss(Replay(&texts)));
  Write(File(1), whole);
  std::filesystem::rename(File(2), File(3));
  EXPECT_TRUE(absl::IsDataLoss(Replay(&texts))) << "a segment is missing";
}

TEST_F(RecordLogTest, AFullDiskRefusesAndNothingStays) {
  auto log = Open(1);
  ASSERT_TRUE(Append(*log, {"first"}).ok());
  log.reset();
  options_.min_free_bytes = uint64_t{1} << 60;
  EXPECT_TRUE(absl::IsResourceExhausted(
      RecordLog::Create(options_, 2).status()));
  std::vector<std::string> texts;
  ASSERT_TRUE(Replay(&texts).ok());
  EXPECT_THAT(texts, ElementsAre("first"));
}

TEST_F(RecordLogTest, NoLogIsNotFound) {
  std::vector<std::string> texts;
  EXPECT_TRUE(absl::IsNotFound(Replay(&texts)));
}

// The bytes of proto/README.md.
TEST_F(RecordLogTest, BytesAreAsDocumented) {
  auto log = Open(1);
  ASSERT_TRUE(Append(*log, {"ab"}).ok());
  std::ifstream golden(CSSP_GOLDEN_DIR "/record_log.hex");
  std::string hex, line;
  while (std::getline(golden, line)) hex += line;
  EXPECT_EQ(absl::BytesToHexString(Bytes(File(1))), hex);
}

}  // namespace
}  // namespace cssp
