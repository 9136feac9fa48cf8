#include "common/ps/messages.h"

#include <array>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace cssp::ps {
namespace {

using Frame = std::array<uint8_t, kHeaderBytes>;

// The worked example of proto/README.md.
MessageHeader Example() {
  MessageHeader header;
  header.type = MessageType::kPush;
  header.job = 7;
  header.job_epoch = 2;
  header.map_epoch = 1;
  header.rank = 3;
  header.incarnation = 5;
  header.clock = 1000;
  header.based_on = 998;
  header.chunk = 4;
  header.samples = 100;
  header.sequence = 42;
  header.payload_bytes = 8;
  header.payload_crc = 0x89abcdef;
  header.flags = kFlagHasCrc;
  return header;
}

Frame Encode(const MessageHeader& header) {
  Frame frame;
  EncodeHeader(header, absl::MakeSpan(frame));
  return frame;
}

TEST(MessagesTest, GoldenFrame) {
  const Frame frame = Encode(Example());
  const std::string hex = absl::BytesToHexString(absl::string_view(
      reinterpret_cast<const char*>(frame.data()), frame.size()));
  std::ifstream in(CSSP_GOLDEN_DIR "/push_header.hex");
  std::string golden;
  in >> golden;
  EXPECT_EQ(hex, golden);
}

TEST(MessagesTest, EveryFieldSurvives) {
  MessageHeader header = Example();
  header.type = MessageType::kRefused;
  header.reason = Reason::kBadMessage;
  header.slot = 0xfffe;
  header.rank = -3;
  header.clock = -(int64_t{1} << 40);
  header.based_on = int64_t{1} << 50;
  const auto back = DecodeHeader(Encode(header));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(ToString(*back), ToString(header));
  EXPECT_EQ(back->flags, header.flags);
  EXPECT_EQ(back->map_epoch, header.map_epoch);
  EXPECT_EQ(back->samples, header.samples);
  EXPECT_EQ(back->payload_crc, header.payload_crc);
  EXPECT_EQ(back->rank, -3);
}

TEST(MessagesTest, EveryBitIsGuarded) {
  const Frame good = Encode(Example());
  for (int bit = 0; bit < kHeaderBytes * 8; ++bit) {
    Frame bad = good;
    bad[bit / 8] ^= 1 << (bit % 8);
    EXPECT_FALSE(DecodeHeader(bad).ok()) << "bit " << bit;
  }
}

TEST(MessagesTest, RefusalsSayWhy) {
  Frame frame = Encode(Example());
  EXPECT_EQ(DecodeHeader(absl::MakeConstSpan(frame).first(71)).status().code(),
            absl::StatusCode::kDataLoss);
  frame[4] = 2;
  EXPECT_EQ(DecodeHeader(frame).status().code(),
            absl::StatusCode::kFailedPrecondition);
  MessageHeader header = Example();
  header.payload_bytes = kMaxPayloadBytes + 1;
  EXPECT_EQ(DecodeHeader(Encode(header)).status().code(),
            absl::StatusCode::kInvalidArgument);
  header = Example();
  header.type = static_cast<MessageType>(200);
  EXPECT_EQ(DecodeHeader(Encode(header)).status().code(),
            absl::StatusCode::kInvalidArgument);
  header.type = static_cast<MessageType>(0);
  EXPECT_FALSE(DecodeHeader(Encode(header)).ok());
}

TEST(MessagesTest, NoiseIsRefused) {
  std::mt19937 rng(3);
  for (int round = 0; round < 2000; ++round) {
    std::vector<uint8_t> noise(rng() % 200);
    for (uint8_t& byte : noise) byte = rng();
    EXPECT_FALSE(DecodeHeader(noise).ok());
  }
}

}  // namespace
}  // namespace cssp::ps
