#include "worker/caffe/evaluator_keeper.h"

#include <signal.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

// Children that do what `script` says; $fd is where they say that they joined.
class Children {
 public:
  explicit Children(std::string script) : script_(std::move(script)) {}

  absl::StatusOr<std::unique_ptr<EvaluatorKeeper>> Keep() {
    return EvaluatorKeeper::Create(
        [this](int fd) -> absl::StatusOr<std::unique_ptr<ChildProcess>> {
          ++started;
          auto child = ChildProcess::Start(
              "/bin/bash", {"-c", script_},
              {absl::StrCat("fd=", fd), absl::StrCat("n=", started.load())});
          if (child.ok()) pid = (*child)->pid();
          return child;
        });
  }

  std::atomic<int> started{0}, pid{0};

 private:
  const std::string script_;
};

constexpr char kJoins[] = "[ $fd -lt 0 ] || echo -n j >&$fd; ";

TEST(EvaluatorKeeperTest, StartsWhatWasKilledAgain) {
  Children children(
      absl::StrCat(kJoins, "[ $n -lt 3 ] && kill -9 $$; exit 0"));
  auto keeper = children.Keep();
  ASSERT_TRUE(keeper.ok()) << keeper.status();
  EXPECT_TRUE((*keeper)->Wait(absl::Seconds(20)));
  EXPECT_EQ(children.started, 3);
}

TEST(EvaluatorKeeperTest, NotForEver) {
  Children children(absl::StrCat(kJoins, "kill -9 $$"));
  auto keeper = children.Keep();
  ASSERT_TRUE(keeper.ok()) << keeper.status();
  EXPECT_TRUE((*keeper)->Wait(absl::Seconds(20)));
  EXPECT_EQ(children.started, EvaluatorKeeper::kMaxStarts);
}

TEST(EvaluatorKeeperTest, WhoEndsByItselfHasSaidWhy) {
  Children children(absl::StrCat(kJoins, "exit 1"));
  auto keeper = children.Keep();
  ASSERT_TRUE(keeper.ok()) << keeper.status();
  EXPECT_TRUE((*keeper)->Wait(absl::Seconds(20)));
  EXPECT_EQ(children.started, 1);
}

TEST(EvaluatorKeeperTest, TakesTheChildDownWithIt) {
  Children children(absl::StrCat(kJoins, "exec sleep 60"));
  {
    auto keeper = children.Keep();
    ASSERT_TRUE(keeper.ok()) << keeper.status();
    EXPECT_FALSE((*keeper)->Wait(absl::Milliseconds(50)));
    EXPECT_EQ(kill(children.pid, 0), 0);
  }
  EXPECT_EQ(kill(children.pid, 0), -1);
  EXPECT_EQ(children.started, 1);
}

}  // namespace
}  // namespace cssp
