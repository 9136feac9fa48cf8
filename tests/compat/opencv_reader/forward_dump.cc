// forward_dump DEPLOY.prototxt WEIGHTS.caffemodel IN.f32 OUT.f32: one TEST
// forward of a net with one input and one output, raw floats in and out.
#include <fstream>
#include <iostream>
#include <iterator>

#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/model_file/caffemodel.h"
#include "worker/layers/builtin_layers.h"
#include "worker/net/net.h"
#include "worker/net/net_passes.h"

namespace cssp {
namespace {

absl::Status Run(char** argv) {
  ASSIGN_OR_RETURN(const caffe::NetParameter deploy, ReadNet(argv[1]));
  ASSIGN_OR_RETURN(const caffe::NetParameter trained, ReadCaffemodel(argv[2]));
  LayerRegistry registry;
  RETURN_IF_ERROR(RegisterCpuLayers(registry));
  const auto device = MakeCpuDevice(1);
  NetOptions options;
  options.state.set_phase(caffe::TEST);
  options.source_name = argv[1];
  ASSIGN_OR_RETURN(const auto net,
                   Net::Create(deploy, registry, *device, options));
  RETURN_IF_ERROR(net->LoadWeights(trained));

  absl::Span<float> input =
      net->blob(net->input_names()[0])->mutable_data();
  std::ifstream in(argv[3], std::ios::binary);
  in.read(reinterpret_cast<char*>(input.data()), input.size() * sizeof(float));
  if (!in) return absl::InvalidArgumentError("the input file is too short");
  StepState state;
  state.phase = caffe::TEST;
  RETURN_IF_ERROR(net->Forward(state, nullptr));
  const absl::Span<const float> output =
      net->blob(net->output_names()[0])->data();
  std::ofstream out(argv[4], std::ios::binary);
  out.write(reinterpret_cast<const char*>(output.data()),
            output.size() * sizeof(float));
  return out.good() ? absl::OkStatus() : absl::UnknownError("cannot write");
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  if (argc != 5) {
    std::cerr << "usage: forward_dump DEPLOY WEIGHTS IN OUT\n";
    return 2;
  }
  return cssp::ExitCodeFor("forward_dump", cssp::Run(argv));
}
