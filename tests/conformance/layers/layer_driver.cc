// layer_driver --list [cpu|cuda]: the layer types of a device, one a line.
// layer_driver CASES ANSWERS [cpu|cuda]: runs a case file (see case_file.h).  A
// case that cannot be run answers with its error; the others go on.
#include <iostream>
#include <string>

#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "tests/conformance/layers/run_case.h"
#include "worker/layers/builtin_layers.h"

namespace cssp::testing {
namespace {

absl::StatusOr<std::unique_ptr<Device>> MakeDevice(const std::string& name) {
  if (name == "cuda") return MakeCudaDevice(0, {.deterministic = true});
  if (name == "cpu") return MakeCpuDevice(2);
  return absl::InvalidArgumentError("the device is cpu or cuda");
}

absl::StatusOr<Answer> RunCase(const Case& c, const LayerRegistry& registry,
                               Device& device) {
  if (c.steps.empty()) return absl::InvalidArgumentError("no steps");
  switch (c.kind) {
    case CaseKind::kLayer:
      return RunLayer(c, device);
    case CaseKind::kNet:
      return RunInNet(c, registry, device);
    case CaseKind::kWhole:
      return RunWholeNet(c, registry, device);
  }
  return absl::InvalidArgumentError("unknown kind of case");
}

absl::Status Main(int argc, char** argv) {
  if (argc < 2) return absl::InvalidArgumentError("usage: see the source");
  const bool list = std::string(argv[1]) == "--list";
  const int device_at = list ? 2 : 3;
  ASSIGN_OR_RETURN(const auto device,
                   MakeDevice(argc > device_at ? argv[device_at] : "cpu"));
  LayerRegistry registry;
  RETURN_IF_ERROR(RegisterCpuLayers(registry));
  RETURN_IF_ERROR(RegisterCudaLayers(registry));
  if (list) {
    for (const std::string& type : registry.Types(device->type())) {
      std::cout << type << "\n";
    }
    return absl::OkStatus();
  }
  if (argc < 3) return absl::InvalidArgumentError("usage: see the source");
  ASSIGN_OR_RETURN(const std::vector<Case> cases, ReadCases(argv[1]));
  std::vector<Answer> answers;
  for (const Case& c : cases) {
    auto answer = RunCase(c, registry, *device);
    if (!answer.ok()) {
      answer = Answer{.error = std::string(answer.status().message())};
    }
    answer->name = c.name;
    answers.push_back(*std::move(answer));
  }
  return WriteAnswers(answers, argv[2]);
}

}  // namespace
}  // namespace cssp::testing

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  return cssp::ExitCodeFor("layer_driver", cssp::testing::Main(argc, argv));
}
