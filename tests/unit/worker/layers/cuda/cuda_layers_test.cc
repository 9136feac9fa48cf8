// Every layer that runs on a GPU against the same layer on the CPU.
//
// Each type is tried in a process of its own: a kernel's fault ends that
// process's use of the GPU and spares the other types.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/unit/worker/layers/cuda/agreement.h"
#include "tests/unit/worker/layers/cuda/layer_case.h"
#include "worker/layers/builtin_layers.h"

namespace cssp::testing {
namespace {

constexpr char kNoGpu[] = "no GPU: ";
constexpr char kTrying[] = "trying ";

LayerCases AllCases() {
  LayerCases all;
  for (const LayerCases& family :
       {NeuronCases(), VisionCases(), NormCases(), ShapeCases(),
        RearrangeCases(), RecurrentCases(), LossCases()}) {
    all.insert(all.end(), family.begin(), family.end());
  }
  return all;
}

std::vector<std::string> TypesWithCases() {
  std::set<std::string> types;
  for (const LayerCase& c : AllCases()) types.insert(c.type);
  return {types.begin(), types.end()};
}

// In the child: what differs, and what is being tried before it is.
void TryType(const std::string& type, int out) {
  const auto say = [out](const std::string& line) {
    const std::string text = line + "\n";
    if (write(out, text.data(), text.size()) < 0) _exit(2);
  };
  CudaOptions options;
  options.deterministic = true;
  auto gpu = MakeCudaDevice(0, options);
  if (!gpu.ok()) return say(kNoGpu + gpu.status().ToString());
  for (const LayerCase& c : AllCases()) {
    if (c.type != type) continue;
    say(absl::StrCat(kTrying, c.type, " {", c.param, "}"));
    for (const std::string& line : Disagreements(c, **gpu)) say(line);
  }
}

// What the child said.
std::vector<std::string> LinesOf(int in) {
  std::string text;
  char piece[4096];
  for (ssize_t n; (n = read(in, piece, sizeof(piece))) > 0;) {
    text.append(piece, n);
  }
  return absl::StrSplit(text, '\n', absl::SkipEmpty());
}

class CudaLayerTest : public ::testing::TestWithParam<std::string> {};

TEST_P(CudaLayerTest, AgreesWithTheCpu) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    close(ends[0]);
    TryType(GetParam(), ends[1]);
    _exit(0);
  }
  close(ends[1]);
  const std::vector<std::string> lines = LinesOf(ends[0]);
  close(ends[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  std::string trying = "the device";
  for (const std::string& line : lines) {
    if (line.rfind(kNoGpu, 0) == 0) GTEST_SKIP() << line;
    if (line.rfind(kTrying, 0) == 0) {
      trying = line.substr(std::strlen(kTrying));
    } else {
      ADD_FAILURE() << line;
    }
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
      << trying << ": the process ended with status " << status;
}

INSTANTIATE_TEST_SUITE_P(Types, CudaLayerTest,
                         ::testing::ValuesIn(TypesWithCases()),
                         [](const auto& info) { return info.param; });

// Views alias their bottom and never run; sources have tests of their own.
const std::set<std::string>& WithoutKernels() {
  static const auto* types = new std::set<std::string>{
      "Flatten",   "Reshape",    "Silence",    "Data",
      "DummyData", "HDF5Data",   "HDF5Output", "ImageData",
      "Input",     "MemoryData", "Python",     "WindowData"};
  return *types;
}

TEST(CudaLayers, EveryTypeHasCases) {
  LayerRegistry registry;
  ASSERT_TRUE(RegisterCudaLayers(registry).ok());
  const std::vector<std::string> tried = TypesWithCases();
  for (const std::string& type : registry.Types(DeviceType::kCuda)) {
    if (WithoutKernels().count(type) > 0) continue;
    EXPECT_TRUE(std::binary_search(tried.begin(), tried.end(), type))
        << type << " runs on a GPU, but the table of cases has no row for it";
  }
}

TEST(CudaLayers, EveryCaseHasItsType) {
  LayerRegistry registry;
  ASSERT_TRUE(RegisterCudaLayers(registry).ok());
  const std::vector<std::string> types = registry.Types(DeviceType::kCuda);
  for (const std::string& type : TypesWithCases()) {
    EXPECT_TRUE(std::binary_search(types.begin(), types.end(), type))
        << type << " has cases, but does not run on a GPU";
  }
}

}  // namespace
}  // namespace cssp::testing
