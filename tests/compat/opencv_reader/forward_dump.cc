// One TEST forward of a net, for comparison with other readers of Caffe's
// files.
//   forward_dump DEPLOY WEIGHTS IN.f32 OUT.f32 [cpu|cuda]
//     raw floats: all inputs one after another, all outputs in name order.
//   forward_dump --random DEPLOY OUT.caffemodel
//     writes the net with random parameters of any layer.
#include <cmath>
#include <fstream>
#include <iostream>
#include <random>

#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/model_file/caffemodel.h"
#include "worker/layers/builtin_layers.h"
#include "worker/net/net.h"
#include "worker/net/net_passes.h"

namespace cssp {
namespace {

absl::StatusOr<std::unique_ptr<Net>> MakeNet(const std::string& path,
                                             const LayerRegistry& registry,
                                             Device& device) {
  ASSIGN_OR_RETURN(const caffe::NetParameter deploy, ReadNet(path));
  NetOptions options;
  options.state.set_phase(caffe::TEST);
  options.source_name = path;
  options.log_creation = false;
  return Net::Create(deploy, registry, device, options);
}

absl::StatusOr<std::unique_ptr<Device>> MakeDevice(const std::string& name) {
  if (name == "cuda") return MakeCudaDevice(0);
  return MakeCpuDevice(1);
}

// Weights keep the scale of what they see (He et al.); vectors are small and
// around 1 where a layer multiplies by them; statistics are such as training
// leaves behind: sums over a factor of 2, variances positive.
void Randomize(Net& net, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  for (const NetParam& param : net.params()) {
    absl::Span<float> values =
        net.weights().subspan(param.offset, param.shape.count());
    const std::string& type = net.layer(param.layer).type();
    const bool weight = param.shape.num_axes() > 1;
    const bool factor = !weight && param.index == 0;
    const float scale =
        weight ? std::sqrt(2.0f * param.shape.dim(0) / param.shape.count())
               : 0.1f;
    for (float& v : values) {
      v = scale * normal(random) + (factor ? 1 : 0);
      if (type == "PReLU") v = 0.25f + 0.1f * normal(random);
      if (type != "BatchNorm") continue;
      if (param.index == 1) v = 2 * (0.5f + std::fabs(normal(random)));
      if (param.index == 2) v = 2;
    }
  }
  net.WeightsChanged();
}

absl::Status WriteRandom(const std::string& deploy, const std::string& model) {
  LayerRegistry registry;
  RETURN_IF_ERROR(RegisterCpuLayers(registry));
  const auto device = MakeCpuDevice(1);
  ASSIGN_OR_RETURN(const auto net, MakeNet(deploy, registry, *device));
  std::mt19937_64 random(17);
  Randomize(*net, random);
  return WriteCaffemodel(net->ToProto(/*with_gradients=*/false), model);
}

absl::Status Dump(int argc, char** argv) {
  ASSIGN_OR_RETURN(const auto device, MakeDevice(argc > 5 ? argv[5] : "cpu"));
  LOG(INFO) << "Use " << device->name() << ".";
  LayerRegistry registry;
  RETURN_IF_ERROR(RegisterCpuLayers(registry));
  RETURN_IF_ERROR(RegisterCudaLayers(registry));
  ASSIGN_OR_RETURN(const auto net, MakeNet(argv[1], registry, *device));
  ASSIGN_OR_RETURN(const caffe::NetParameter trained, ReadCaffemodel(argv[2]));
  RETURN_IF_ERROR(net->LoadWeights(trained));

  std::ifstream in(argv[3], std::ios::binary);
  for (const std::string& name : net->input_names()) {
    absl::Span<float> input = net->blob(name)->mutable_data();
    in.read(reinterpret_cast<char*>(input.data()),
            input.size() * sizeof(float));
  }
  if (!in) return absl::InvalidArgumentError("the input file is too short");
  StepState state;
  state.phase = caffe::TEST;
  RETURN_IF_ERROR(net->Forward(state, nullptr));
  std::ofstream out(argv[4], std::ios::binary);
  for (const std::string& name : net->output_names()) {
    const absl::Span<const float> output = net->blob(name)->data();
    out.write(reinterpret_cast<const char*>(output.data()),
              output.size() * sizeof(float));
  }
  return out.good() ? absl::OkStatus() : absl::UnknownError("cannot write");
}

absl::Status Main(int argc, char** argv) {
  const bool random = argc > 1 && std::string(argv[1]) == "--random";
  if (random && argc == 4) return WriteRandom(argv[2], argv[3]);
  if (random || argc < 5 || argc > 6) {
    return absl::InvalidArgumentError(
        "usage: forward_dump DEPLOY WEIGHTS IN OUT [cpu|cuda], or "
        "--random DEPLOY MODEL");
  }
  return Dump(argc, argv);
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  return cssp::ExitCodeFor("forward_dump", cssp::Main(argc, argv));
}
