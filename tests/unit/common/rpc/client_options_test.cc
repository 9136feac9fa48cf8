#include "common/rpc/client_options.h"

#include <gmock/gmock.h>

namespace cssp {
namespace {

TEST(RetryPolicy, BacksOffUpToItsMaximum) {
  const RetryPolicy retry;
  EXPECT_EQ(retry.Backoff(0), absl::Milliseconds(50));
  EXPECT_EQ(retry.Backoff(1), absl::Milliseconds(100));
  EXPECT_EQ(retry.Backoff(4), absl::Milliseconds(800));
  EXPECT_EQ(retry.Backoff(5), absl::Seconds(1));
  EXPECT_EQ(retry.Backoff(1000000), absl::Seconds(1));
}

TEST(RetryPolicy, RetriesOnlyWhatMayPass) {
  EXPECT_TRUE(RetryPolicy::Retryable(absl::UnavailableError("")));
  EXPECT_TRUE(RetryPolicy::Retryable(absl::ResourceExhaustedError("")));
  EXPECT_FALSE(RetryPolicy::Retryable(absl::InvalidArgumentError("")));
  EXPECT_FALSE(RetryPolicy::Retryable(absl::DeadlineExceededError("")));
  EXPECT_FALSE(RetryPolicy::Retryable(absl::OkStatus()));
}

TEST(CheckAddress, WantsHostAndPort) {
  EXPECT_TRUE(CheckAddress("x", "127.0.0.1:1").ok());
  EXPECT_TRUE(CheckAddress("x", "[::1]:65535").ok());
  for (const char* bad : {"", "host", ":1", "host:", "host:0", "host:65536",
                          "host:1x", "host:-1"}) {
    const absl::Status status = CheckAddress("coordinator", bad);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bad;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("coordinator"));
  }
}

}  // namespace
}  // namespace cssp
