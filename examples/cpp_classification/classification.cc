// Classifies images with a trained net, by Caffe-SSP's C++ interface: load a
// net and its weights, fill the input blob, run, read the output blob.
//
//   classification DEPLOY.prototxt NET.caffemodel MEAN.binaryproto LABELS.txt
//     IMAGE...
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/device/device.h"
#include "common/model_file/caffemodel.h"
#include "worker/data/image_codec.h"
#include "worker/data/mean_file.h"
#include "worker/layers/builtin_layers.h"
#include "worker/net/net.h"
#include "worker/net/net_passes.h"

namespace cssp {
namespace {

using Prediction = std::pair<std::string, float>;

// Thread-confined: its owner.
class Classifier {
 public:
  static absl::StatusOr<std::unique_ptr<Classifier>> Create(
      const std::string& deploy, const std::string& weights,
      const std::string& mean, const std::string& labels);

  // The `n` best classes of an image, best first.
  absl::StatusOr<std::vector<Prediction>> Classify(const std::string& image,
                                                   int n);

 private:
  absl::Status LoadNet(const std::string& deploy, const std::string& weights);
  absl::Status LoadMean(const std::string& path);
  absl::Status LoadLabels(const std::string& path);
  absl::Status FillInput(const std::string& image);

  LayerRegistry layers_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Net> net_;
  Blob* input_ = nullptr;
  Blob* output_ = nullptr;
  std::vector<float> mean_;  // one value a channel, as Caffe's example has it
  std::vector<std::string> labels_;
};

absl::StatusOr<std::unique_ptr<Classifier>> Classifier::Create(
    const std::string& deploy, const std::string& weights,
    const std::string& mean, const std::string& labels) {
  auto classifier = std::make_unique<Classifier>();
  RETURN_IF_ERROR(classifier->LoadNet(deploy, weights));
  RETURN_IF_ERROR(classifier->LoadMean(mean));
  RETURN_IF_ERROR(classifier->LoadLabels(labels));
  return classifier;
}

absl::Status Classifier::LoadNet(const std::string& deploy,
                                 const std::string& weights) {
  RETURN_IF_ERROR(RegisterCpuLayers(layers_));
  device_ = MakeCpuDevice(0);
  ASSIGN_OR_RETURN(const caffe::NetParameter param, ReadNet(deploy));
  NetOptions options;
  options.state.set_phase(caffe::TEST);
  options.source_name = deploy;
  options.log_creation = false;
  ASSIGN_OR_RETURN(net_, Net::Create(param, layers_, *device_, options));
  ASSIGN_OR_RETURN(const caffe::NetParameter trained, ReadCaffemodel(weights));
  RETURN_IF_ERROR(net_->LoadWeights(trained));
  if (net_->input_names().size() != 1 || net_->output_names().size() != 1)
    return absl::InvalidArgumentError(absl::StrCat(
        deploy, ": a net with one input and one output is wanted"));
  input_ = net_->blob(net_->input_names()[0]);
  output_ = net_->blob(net_->output_names()[0]);
  Shape shape = input_->shape();
  if (shape.num_axes() != 4 || (shape.dim(1) != 1 && shape.dim(1) != 3))
    return absl::InvalidArgumentError(
        absl::StrCat(deploy, ": the input is no batch of images"));
  shape.set_dim(0, 1);
  RETURN_IF_ERROR(input_->Reshape(shape));
  return net_->Reshape();
}

absl::Status Classifier::LoadMean(const std::string& path) {
  ASSIGN_OR_RETURN(const MeanImage mean, ReadMeanFile(path));
  if (mean.channels != input_->shape().dim(1))
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": has ", mean.channels,
                     " channels, the net's input ", input_->shape().dim(1)));
  const int64_t plane = int64_t{1} * mean.height * mean.width;
  for (int c = 0; c < mean.channels; ++c) {
    const auto begin = mean.values.begin() + c * plane;
    mean_.push_back(
        static_cast<float>(std::accumulate(begin, begin + plane, 0.0) / plane));
  }
  return absl::OkStatus();
}

absl::Status Classifier::LoadLabels(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": no such file"));
  for (std::string line; std::getline(file, line);) labels_.push_back(line);
  const int64_t classes = output_->shape().count_from(1);
  if (static_cast<int64_t>(labels_.size()) == classes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path, ": has ", labels_.size(),
                                                 " labels, the net ", classes,
                                                 " outputs"));
}

absl::Status Classifier::FillInput(const std::string& path) {
  const Shape& shape = input_->shape();
  Image image, resized;
  RETURN_IF_ERROR(ReadImage(
      path, shape.dim(1) == 1 ? ColorMode::kGray : ColorMode::kColor, &image));
  ResizeBilinear(image, static_cast<int>(shape.dim(2)),
                 static_cast<int>(shape.dim(3)), &resized);
  std::string planes;
  ToPlanes(resized, &planes);
  const absl::Span<float> data = input_->mutable_data();
  const int64_t plane = shape.count_from(2);
  for (int64_t i = 0; i < shape.count(); ++i)
    data[i] = static_cast<float>(static_cast<unsigned char>(planes[i])) -
              mean_[i / plane];
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Prediction>> Classifier::Classify(
    const std::string& image, int n) {
  RETURN_IF_ERROR(FillInput(image));
  StepState state;
  state.phase = caffe::TEST;
  RETURN_IF_ERROR(net_->Forward(state, nullptr));
  const absl::Span<const float> scores = output_->data();
  std::vector<int> order(labels_.size());
  std::iota(order.begin(), order.end(), 0);
  n = std::min(n, static_cast<int>(order.size()));
  std::partial_sort(order.begin(), order.begin() + n, order.end(),
                    [&](int a, int b) { return scores[a] > scores[b]; });
  std::vector<Prediction> best;
  for (int i = 0; i < n; ++i)
    best.emplace_back(labels_[order[i]], scores[order[i]]);
  return best;
}

absl::Status Run(const std::vector<std::string>& args) {
  if (args.size() < 5)
    return absl::InvalidArgumentError(
        "usage: classification DEPLOY.prototxt NET.caffemodel MEAN.binaryproto "
        "LABELS.txt IMAGE...");
  ASSIGN_OR_RETURN(const std::unique_ptr<Classifier> classifier,
                   Classifier::Create(args[0], args[1], args[2], args[3]));
  for (size_t i = 4; i < args.size(); ++i) {
    ASSIGN_OR_RETURN(const std::vector<Prediction> best,
                     classifier->Classify(args[i], 5));
    std::printf("---------- Prediction for %s ----------\n", args[i].c_str());
    for (const Prediction& prediction : best)
      std::printf("%.4f - \"%s\"\n", static_cast<double>(prediction.second),
                  prediction.first.c_str());
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  return cssp::ExitCodeFor("classification", cssp::Run(std::vector<std::string>(
                                                 argv + 1, argv + argc)));
}
