#include "worker/tools/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace cssp {
namespace {

absl::StatusOr<Arguments> Parse(std::vector<const char*> words) {
  words.insert(words.begin(), "tool");
  return ParseArguments(static_cast<int>(words.size()), words.data(),
                        {{"backend", "lmdb"}});
}

TEST(Arguments, TakesFlagsAnywhereInAnyForm) {
  for (const std::vector<const char*>& words :
       std::vector<std::vector<const char*>>{
           {"-backend=leveldb", "a", "b"},
           {"a", "--backend=leveldb", "b"},
           {"a", "b", "--backend", "leveldb"},
           {"--backend=leveldb", "-logtostderr=1", "--", "a", "b"}}) {
    const auto arguments = Parse(words);
    ASSERT_TRUE(arguments.ok()) << arguments.status();
    EXPECT_THAT(arguments->positional, testing::ElementsAre("a", "b"));
    EXPECT_EQ(arguments->flags.at("backend"), "leveldb");
  }
}

TEST(Arguments, GivesDefaultsAndHelp) {
  const auto arguments = Parse({"--help", "-"});
  ASSERT_TRUE(arguments.ok());
  EXPECT_TRUE(arguments->help);
  EXPECT_EQ(arguments->flags.at("backend"), "lmdb");
  EXPECT_THAT(arguments->positional, testing::ElementsAre("-"));
}

TEST(Arguments, SwitchesWantNoValue) {
  const auto parse = [](std::vector<const char*> words) {
    words.insert(words.begin(), "tool");
    return ParseArguments(static_cast<int>(words.size()), words.data(),
                          {{"gray", "false"}, {"check", "true"}});
  };
  for (const char* word : {"-gray", "--gray", "--gray=true", "-gray=1"}) {
    const auto arguments = parse({word, "a", "--nocheck"});
    ASSERT_TRUE(arguments.ok()) << arguments.status();
    EXPECT_TRUE(arguments->given("gray"));
    EXPECT_FALSE(arguments->given("check"));
    EXPECT_THAT(arguments->positional, testing::ElementsAre("a"));
  }
  EXPECT_FALSE(parse({"--gray=false"})->given("gray"));
  EXPECT_TRUE(parse({})->given("check"));
  EXPECT_FALSE(parse({"--gray=perhaps"}).ok());
  EXPECT_FALSE(parse({"--nogray=true"}).ok());
  EXPECT_FALSE(parse({"--nothing"}).ok());
}

TEST(Arguments, NamesUnknownFlagsAndMissingValues) {
  EXPECT_THAT(std::string(Parse({"--backnd=x"}).status().message()),
              testing::AllOf(testing::HasSubstr("--backnd"),
                             testing::HasSubstr("--backend")));
  EXPECT_FALSE(Parse({"--backend"}).ok());
}

}  // namespace
}  // namespace cssp
