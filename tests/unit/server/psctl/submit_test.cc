#include "server/psctl/submit.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "absl/strings/str_join.h"
#include "server/psctl/launcher.h"

namespace cssp {
namespace {

using testing::HasSubstr;

class SubmitTest : public testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = testing::TempDir() + "/" + name;
    std::ofstream(path) << text;
    return path;
  }
  SubmitOptions Options() {
    Write("submit_net.prototxt", "name: 'n' layer { name: 'x' type: 'Input' }");
    SubmitOptions options;
    options.solver = Write("submit_solver.prototxt",
                           "net: 'submit_net.prototxt' base_lr: 0.1 "
                           "lr_policy: 'fixed' max_iter: 3");
    return options;
  }
};

TEST_F(SubmitTest, TheNetTravelsWithTheSolver) {
  SubmitOptions options = Options();
  options.workers = 3;
  options.async = true;
  options.wire = "bf16";
  options.durability = "log";
  const auto spec = MakeJobSpec(options);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->solver().net_param().layer_size(), 1);
  EXPECT_EQ(spec->workers(), 3);
  EXPECT_EQ(spec->ssp_update(), control::PER_PUSH);
  EXPECT_EQ(spec->wire(), control::BF16);
  EXPECT_EQ(spec->durability(), control::LOG);
  EXPECT_EQ(spec->solver_path(), options.solver);
}

TEST_F(SubmitTest, MistakesAreNamed) {
  EXPECT_THAT(std::string(MakeJobSpec({}).status().message()),
              HasSubstr("--solver"));
  SubmitOptions options = Options();
  options.ssp_update = "PER_CLICK";
  EXPECT_THAT(std::string(MakeJobSpec(options).status().message()),
              HasSubstr("per_clock"));
  options = Options();
  options.wire = "FP16";
  EXPECT_EQ(MakeJobSpec(options).status().message(),
            "--wire: gradients travel as FP32 or BF16, not 'FP16'");
  options = Options();
  options.weights = "/nonexistent.caffemodel";
  EXPECT_THAT(std::string(MakeJobSpec(options).status().message()),
              HasSubstr("--weights: no file '/nonexistent.caffemodel'"));
  options = Options();
  Write("submit_net.prototxt", "name: 'n'\nlayr {}");
  EXPECT_THAT(std::string(MakeJobSpec(options).status().message()),
              HasSubstr("submit_net.prototxt:2:"));
}

TEST_F(SubmitTest, TheTokenIsReadByItsOwnerOnly) {
  const auto path = WriteTokenFile(testing::TempDir(), "secret");
  ASSERT_TRUE(path.ok()) << path.status();
  struct stat info{};
  ASSERT_EQ(stat(path->c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  std::ifstream in(*path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "secret");
  unlink(path->c_str());
  EXPECT_FALSE(WriteTokenFile("/nonexistent", "x").ok());
}

TEST_F(SubmitTest, MpirunsCommandLine) {
  LaunchOptions options;
  options.worker_binary = "/bin/caffe-worker";
  options.job_id = "j-1";
  options.coordinator = "h:1";
  options.token_file = "/t";
  options.workers = 4;
  options.hostfile = "hosts";
  EXPECT_EQ(absl::StrJoin(MpirunCommand(options, false), " "),
            "mpirun -n 4 --hostfile hosts --bind-to none --oversubscribe "
            "--enable-recovery /bin/caffe-worker --job=j-1 --coordinator=h:1 "
            "--token_file=/t");
  EXPECT_THAT(absl::StrJoin(MpirunCommand(options, true), " "),
              HasSubstr("oob_tcp_if_include lo"));
  EXPECT_TRUE(absl::IsNotFound(FindWorkerBinary("/nonexistent").status()));
}

}  // namespace
}  // namespace cssp
