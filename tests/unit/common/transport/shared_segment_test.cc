#include "common/transport/shared_segment.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

constexpr size_t kBytes = 100000;

TEST(SharedSegmentTest, WhatIsWrittenIsReadThroughTheKey) {
  const auto own = SharedSegment::Create(kBytes).value();
  EXPECT_EQ(own->size(), kBytes);
  for (size_t i = 0; i < kBytes; ++i) ASSERT_EQ(own->data()[i], 0);
  const auto peer = PeerSegment::Map(own->key()).value();
  std::memcpy(own->data() + 1000, "weights", 7);
  ASSERT_NE(peer->At(1000, 7), nullptr);
  EXPECT_EQ(std::memcmp(peer->At(1000, 7), "weights", 7), 0);
}

TEST(SharedSegmentTest, NothingOutsideCanBeRead) {
  const auto own = SharedSegment::Create(kBytes).value();
  const auto peer = PeerSegment::Map(own->key()).value();
  EXPECT_NE(peer->At(0, kBytes), nullptr);
  EXPECT_NE(peer->At(kBytes, 0), nullptr);
  EXPECT_EQ(peer->At(0, kBytes + 1), nullptr);
  EXPECT_EQ(peer->At(1, kBytes), nullptr);
  EXPECT_EQ(peer->At(kBytes + 1, 0), nullptr);
  EXPECT_EQ(peer->At(~uint64_t{0}, 8), nullptr);
  EXPECT_EQ(peer->At(8, ~uint64_t{0}), nullptr);
}

TEST(SharedSegmentTest, ItCannotShrinkUnderAReader) {
  const auto own = SharedSegment::Create(kBytes).value();
  EXPECT_NE(ftruncate(own->key().fd, 0), 0);
  EXPECT_NE(ftruncate(own->key().fd, 1 << 20), 0);
}

TEST(SharedSegmentTest, OnlyWhoKnowsTheSecretMayNameIt) {
  const auto own = SharedSegment::Create(kBytes).value();
  SegmentKey guessed = own->key();
  guessed.secret[1] ^= 1;
  EXPECT_TRUE(
      absl::IsFailedPrecondition(PeerSegment::Map(guessed).status()));
}

TEST(SharedSegmentTest, WhatIsNoSegmentIsRefused) {
  const auto own = SharedSegment::Create(kBytes).value();
  SegmentKey key = own->key();
  key.fd = 1 << 20;
  EXPECT_TRUE(absl::IsNotFound(PeerSegment::Map(key).status()));
  key.fd = -1;
  EXPECT_FALSE(PeerSegment::Map(key).ok());
  key.pid = -1;
  EXPECT_FALSE(PeerSegment::Map(key).ok());

  // A pipe (opening one would block), a device, an unsealed memory file.
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const int device = open("/dev/null", O_RDONLY);
  const int unsealed = memfd_create("unsealed", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(unsealed, kBytes), 0);
  for (const int fd : {pipe_ends[0], device, unsealed}) {
    key = own->key();
    key.fd = fd;
    EXPECT_TRUE(absl::IsFailedPrecondition(PeerSegment::Map(key).status()));
    close(fd);
  }
  close(pipe_ends[1]);
}

TEST(SharedSegmentTest, AMappingOutlivesItsOwner) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto own = SharedSegment::Create(kBytes).value();
    std::memset(own->data(), 7, kBytes);
    if (write(fds[1], &own->key(), sizeof(SegmentKey)) < 0) _exit(1);
    pause();
  }
  SegmentKey key;
  ASSERT_EQ(read(fds[0], &key, sizeof(key)),
            static_cast<ssize_t>(sizeof(key)));
  const auto peer = PeerSegment::Map(key).value();
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(peer->At(0, kBytes)[kBytes - 1], 7);
  EXPECT_FALSE(PeerSegment::Map(key).ok()) << "its owner is dead";
  close(fds[0]);
  close(fds[1]);
}

}  // namespace
}  // namespace cssp
