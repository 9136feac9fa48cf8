// A LayerParameter's text, and bottom shapes before it: set up and shaped, as a
// net does it before anything is allocated.  The input: a byte that counts the
// bottoms, for each a byte that counts its axes and a byte each axis, text.
#include <string>
#include <vector>

#include "common/device/device.h"
#include "common/model_file/prototxt.h"
#include "glog/logging.h"
#include "tests/fuzz/fuzz_input.h"
#include "worker/layers/builtin_layers.h"

namespace cssp {
namespace {

struct Surroundings {
  LayerRegistry registry;
  std::unique_ptr<Device> device = MakeCpuDevice(1);
  Surroundings() { CHECK(RegisterCpuLayers(registry).ok()); }
};

// Layers that open files or run code that the text names.
bool ReachesOut(const caffe::LayerParameter& layer) {
  for (const char* type : {"Data", "HDF5Data", "HDF5Output", "ImageData",
                           "InfogainLoss", "Python", "WindowData"}) {
    if (layer.type() == type) return true;
  }
  return false;
}

// At least 1 and at most 8 an axis: what shapes lead to stays small.
std::vector<Shape> TakeShapes(absl::string_view& input) {
  const auto next = [&input] {
    if (input.empty()) return 0;
    const uint8_t byte = input[0];
    input.remove_prefix(1);
    return static_cast<int>(byte);
  };
  std::vector<Shape> shapes(next() % 5);
  for (Shape& shape : shapes) {
    for (int axes = next() % 7; axes > 0; --axes) shape.Append(1 + next() % 8);
  }
  return shapes;
}

void FuzzLayer(absl::string_view input) {
  static Surroundings& around = *new Surroundings;
  const std::vector<Shape> bottom = TakeShapes(input);
  caffe::LayerParameter param;
  if (!ParseText(input, "fuzz", &param).ok() || ReachesOut(param)) return;
  const auto made =
      around.registry.Create(param, {.device = around.device.get()});
  if (!made.ok()) return;
  Layer& layer = **made;
  const int bottoms = static_cast<int>(bottom.size());
  const int tops = param.top_size();
  if (bottoms != param.bottom_size() || bottoms < layer.min_bottoms() ||
      (layer.max_bottoms() >= 0 && bottoms > layer.max_bottoms()) ||
      tops < layer.min_tops() ||
      (layer.max_tops() >= 0 && tops > layer.max_tops())) {
    return;  // the net refuses these
  }
  if (!layer.SetUp(bottom).ok()) return;
  layer.InferShapes(bottom).IgnoreError();
}

}  // namespace
}  // namespace cssp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  cssp::FuzzLayer(cssp::testing::AsText(data, size));
  return 0;
}
