#include "common/config/config_loader.h"

#include <gmock/gmock.h>

#include <fstream>

namespace cssp {
namespace {

using testing::HasSubstr;

std::string WriteFile(const std::string& text) {
  const std::string path = testing::TempDir() + "/config_loader_test.conf";
  std::ofstream(path) << text;
  return path;
}

TEST(ConfigLoader, EachLayerOverridesTheOneBefore) {
  ConfigSources sources;
  sources.file = WriteFile("id: 'from-file'\ncontrol_port: 1\n"
                           "lease { lease_ms: 5000 heartbeat_ms: 100 }\n");
  sources.environment = {"CSSP_CONTROL_PORT=2", "CSSP_DATA_PORT=22",
                         "CSSP_LEASE__LEASE_MS=6000", "PATH=/bin"};
  sources.overrides = {"control_port=3", "lease.lease_ms=7000"};
  ServerConfig config;
  auto origins = LoadConfig(sources, &config);
  ASSERT_TRUE(origins.ok()) << origins.status();
  EXPECT_EQ(config.id(), "from-file");
  EXPECT_EQ(config.control_port(), 3);
  EXPECT_EQ(config.data_port(), 22);
  EXPECT_EQ(config.lease().lease_ms(), 7000);
  EXPECT_EQ(config.lease().heartbeat_ms(), 100);
  EXPECT_TRUE(origins->warnings.empty());
  const std::string text = PrintConfig(config, *origins);
  EXPECT_THAT(text, HasSubstr("id: \"from-file\"  # " + sources.file + ":1\n"));
  EXPECT_THAT(text, HasSubstr("control_port: 3  # --set\n"));
  EXPECT_THAT(text, HasSubstr("data_port: 22  # env CSSP_DATA_PORT\n"));
  EXPECT_THAT(text, HasSubstr("metrics_port: 0  # default\n"));
  EXPECT_THAT(text, HasSubstr("lease.heartbeat_ms: 100  # " + sources.file +
                              ":3\n"));
  EXPECT_THAT(text, HasSubstr("transport.devices: \"\"  # default\n"));
}

TEST(ConfigLoader, ErrorsNameFileAndLine) {
  ConfigSources sources;
  sources.file = WriteFile("id: 'a'\ncontrol_prot: 1\n");
  ServerConfig config;
  const absl::Status status = LoadConfig(sources, &config).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(status.message(), HasSubstr(".conf:2:"));
  EXPECT_THAT(status.message(), HasSubstr("control_prot"));
  sources.file = "/nonexistent/x.conf";
  EXPECT_TRUE(absl::IsNotFound(LoadConfig(sources, &config).status()));
}

TEST(ConfigLoader, MisspeltOverridesAreRefused) {
  ServerConfig config;
  for (const std::string text :
       {"contorl_port=1", "lease.lease=1", "lease=1", "id.x=1", "id",
        "control_port=abc", "control_port=1 data_port: 5",
        "exit_with_parent=maybe"}) {
    ConfigSources sources;
    sources.overrides = {text};
    EXPECT_TRUE(absl::IsInvalidArgument(LoadConfig(sources, &config).status()))
        << text;
  }
}

TEST(ConfigLoader, EnvironmentOfOthersIsLeftAlone) {
  ConfigSources sources;
  sources.environment = {"CSSP_SPAWN_EVALUATOR=0", "CSSP_TEST_DATA=/x",
                         "CSSP_BUILD_DIR=/y",
                         "CSSP_CONTORL_PORT=9"};
  ServerConfig config;
  auto origins = LoadConfig(sources, &config);
  ASSERT_TRUE(origins.ok());
  ASSERT_EQ(origins->warnings.size(), 1u);
  EXPECT_THAT(origins->warnings[0], HasSubstr("CSSP_CONTORL_PORT"));
  EXPECT_THAT(origins->warnings[0], HasSubstr("CSSP_CONTROL_PORT?"));
  sources.environment = {"CSSP_LEASE__LEESE=9"};
  EXPECT_TRUE(absl::IsInvalidArgument(LoadConfig(sources, &config).status()));
}

TEST(ConfigLoader, StringsAreTakenAsTheyStand) {
  ServerConfig config;
  ASSERT_TRUE(SetByPath("state_dir", "/a \"b\" {c", &config).ok());
  EXPECT_EQ(config.state_dir(), "/a \"b\" {c");
}

TEST(Validate, NamesTheField) {
  ServerConfig good;
  EXPECT_TRUE(Validate(good).ok());
  struct Case {
    const char* path;
    const char* value;
  };
  for (const Case& c : {Case{"id", "Bad_Id"}, Case{"control_port", "70000"},
                        Case{"coordinator", "nowhere"},
                        Case{"lease.lease_ms", "1"},
                        Case{"lease.heartbeat_ms", "9000"},
                        Case{"keep_checkpoints", "0"}, Case{"state_dir", ""},
                        Case{"max_model_bytes", "0"}, Case{"bind_host", ""}}) {
    ServerConfig config;
    ASSERT_TRUE(SetByPath(c.path, c.value, &config).ok()) << c.path;
    EXPECT_THAT(std::string(Validate(config).message()), HasSubstr(c.path));
  }
  WorkerConfig worker;
  EXPECT_THAT(std::string(Validate(worker).message()),
              HasSubstr("coordinator"));
  worker.set_coordinator("h:1");
  EXPECT_THAT(std::string(Validate(worker).message()), HasSubstr("job"));
  worker.set_job("j");
  EXPECT_TRUE(Validate(worker).ok());
}

}  // namespace
}  // namespace cssp
