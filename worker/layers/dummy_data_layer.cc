#include "worker/layers/dummy_data_layer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/philox.h"
#include "common/base/status_macros.h"
#include "worker/net/filler.h"

namespace cssp {
namespace {

constexpr uint32_t kDummyDraws = 0x64756d79;  // "dumy"

// A seed of one pass of one worker.
uint64_t PassSeed(const StepState& state, int layer) {
  const PhiloxBlock step =
      Philox(state.seed, {static_cast<uint32_t>(state.clock),
                          static_cast<uint32_t>(state.clock >> 32),
                          static_cast<uint32_t>(state.pass), kDummyDraws});
  const PhiloxBlock mixed =
      Philox(uint64_t{step[0]} << 32 | step[1],
             {static_cast<uint32_t>(state.rank), static_cast<uint32_t>(layer),
              static_cast<uint32_t>(state.phase), kDummyDraws});
  return uint64_t{mixed[0]} << 32 | mixed[1];
}

}  // namespace

absl::Status DummyDataLayer::SetUp(absl::Span<const Shape> bottom) {
  RETURN_IF_ERROR(SetUpShapes());
  RETURN_IF_ERROR(SetUpFillers());
  // A filler's mistakes show now rather than in the first step.
  for (int i = 0; i < num_tops(); ++i) {
    keys_.push_back(absl::StrCat(name(), "/", i));
    std::vector<float> probe(shapes_[i].count());
    RETURN_IF_ERROR(Fill(fillers_[i], shapes_[i], 1, keys_[i],
                         absl::MakeSpan(probe)));
  }
  return absl::OkStatus();
}

absl::Status DummyDataLayer::SetUpShapes() {
  const caffe::DummyDataParameter& param = layer_param().dummy_data_param();
  const int tops = num_tops();
  std::vector<std::vector<int64_t>> dims;
  for (const caffe::BlobShape& shape : param.shape())
    dims.emplace_back(shape.dim().begin(), shape.dim().end());
  const int num = param.num_size();
  const bool legacy = num > 0 || param.channels_size() > 0 ||
                      param.height_size() > 0 || param.width_size() > 0;
  if (legacy) {
    if (!dims.empty()) {
      return absl::InvalidArgumentError(
          "dummy_data_param: give shape, or num, channels, height and width, "
          "not both");
    }
    if (param.channels_size() != num || param.height_size() != num ||
        param.width_size() != num) {
      return absl::InvalidArgumentError(
          "dummy_data_param: num, channels, height and width must be given "
          "equally often");
    }
    for (int i = 0; i < num; ++i)
      dims.push_back({param.num(i), param.channels(i), param.height(i),
                      param.width(i)});
  }
  const int given = static_cast<int>(dims.size());
  if (given != 1 && given != tops) {
    return absl::InvalidArgumentError(
        absl::StrCat("dummy_data_param: ", given, " shapes for ", tops,
                     " tops: give one, or one each"));
  }
  for (int i = 0; i < tops; ++i) {
    ASSIGN_OR_RETURN(Shape shape, Shape::Create(dims[given == 1 ? 0 : i]));
    shapes_.push_back(std::move(shape));
  }
  return absl::OkStatus();
}

absl::Status DummyDataLayer::SetUpFillers() {
  const caffe::DummyDataParameter& param = layer_param().dummy_data_param();
  const int given = param.data_filler_size(), tops = num_tops();
  if (given > 1 && given != tops) {
    return absl::InvalidArgumentError(
        absl::StrCat("dummy_data_param: ", given, " data_fillers for ", tops,
                     " tops: give none, one, or one each"));
  }
  for (int i = 0; i < tops; ++i) {
    fillers_.push_back(given == 0 ? caffe::FillerParameter()
                                  : param.data_filler(given == 1 ? 0 : i));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> DummyDataLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  return shapes_;
}

absl::Status DummyDataLayer::Forward(StepContext& step,
                                     const ForwardArgs& args) {
  const uint64_t seed = PassSeed(step.state(), step.layer());
  for (size_t i = 0; i < args.top.size(); ++i) {
    const absl::Span<float> out = absl::MakeSpan(
        args.top[i].data(), static_cast<size_t>(args.top[i].count()));
    if (fillers_[i].type() == "constant") {
      std::fill(out.begin(), out.end(), fillers_[i].value());
    } else {
      RETURN_IF_ERROR(Fill(fillers_[i], shapes_[i], seed, keys_[i], out));
    }
  }
  return absl::OkStatus();
}

}  // namespace cssp
