#include "common/config/flag_set.h"

#include <gmock/gmock.h>

namespace cssp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Flags {
  bool verbose = false, color = true;
  int32_t workers = 1;
  double wait = 0.25;
  std::string name;
  std::vector<std::string> set;
  FlagSet flags{"usage: prog"};
  Flags() {
    flags.Add("verbose", &verbose, "talk");
    flags.Add("color", &color, "paint");
    flags.Add("workers", &workers, "how many");
    flags.Add("wait", &wait, "share");
    flags.Add("name", &name, "a name");
    flags.Add("set", &set, "path=value");
  }
};

TEST(FlagSet, TakesAllForms) {
  Flags f;
  auto rest = f.flags.Parse({"sub", "--workers", "4", "-wait=0", "--verbose",
                             "--nocolor", "-set", "a=1", "--set=b=2", "--name",
                             "-", "--", "--verbose"});
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_THAT(*rest, ElementsAre("sub", "--verbose"));
  EXPECT_EQ(f.workers, 4);
  EXPECT_EQ(f.wait, 0);
  EXPECT_TRUE(f.verbose);
  EXPECT_FALSE(f.color);
  EXPECT_EQ(f.name, "-");
  EXPECT_THAT(f.set, ElementsAre("a=1", "b=2"));
  EXPECT_TRUE(f.flags.given("wait"));
}

TEST(FlagSet, MistakesAreOneLine) {
  Flags f;
  const absl::Status unknown = f.flags.Parse({"--worker", "3"}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(unknown));
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("--workers?"));
  EXPECT_FALSE(f.flags.Parse({"--workers"}).ok());
  EXPECT_FALSE(f.flags.Parse({"--workers=many"}).ok());
  EXPECT_FALSE(f.flags.Parse({"--workers=99999999999"}).ok());
  EXPECT_FALSE(f.flags.Parse({"--verbose=perhaps"}).ok());
  EXPECT_FALSE(f.flags.Parse({"--noworkers"}).ok());
  EXPECT_FALSE(f.flags.given("name"));
  EXPECT_THAT(f.flags.Help(), HasSubstr("how many [1]"));
}

}  // namespace
}  // namespace cssp
