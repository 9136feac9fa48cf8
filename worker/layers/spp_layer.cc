#include "worker/layers/spp_layer.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

constexpr int kMaxHeight = 16;

}  // namespace

bool SppLayer::is_max() const {
  return layer_param().spp_param().pool() == caffe::SPPParameter::MAX;
}

bool SppLayer::is_stochastic() const {
  return layer_param().spp_param().pool() == caffe::SPPParameter::STOCHASTIC;
}

absl::Status SppLayer::SetUp(absl::Span<const Shape> bottom) {
  if (height() < 1 || height() > kMaxHeight) {
    return absl::InvalidArgumentError(absl::StrCat(
        "spp_param.pyramid_height must be between 1 and ", kMaxHeight));
  }
  return absl::OkStatus();
}

std::vector<SppLayer::Level> SppLayer::LevelsFor(const Shape& bottom) const {
  std::vector<Level> levels;
  int64_t offset = 0;
  for (int l = 0; l < height(); ++l) {
    Level level{.bins = int64_t{1} << l, .offset = offset};
    for (int i = 0; i < 2; ++i) {
      const int64_t in = bottom.dim(2 + i);
      level.kernel[i] = (in + level.bins - 1) / level.bins;
      level.pad[i] = (level.kernel[i] * level.bins - in + 1) / 2;
    }
    levels.push_back(level);
    offset += bottom.dim(1) * level.bins * level.bins;
  }
  return levels;
}

absl::StatusOr<std::vector<Shape>> SppLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  if (bottom[0].num_axes() != 4) {
    return absl::InvalidArgumentError(absl::StrCat(
        "SPP takes a bottom of 4 axes (items, channels, height, width), got ",
        bottom[0].ToString()));
  }
  int64_t bins = 0;
  for (const Level& level : LevelsFor(bottom[0])) {
    for (int i = 0; i < 2; ++i) {
      if (level.pad[i] < level.kernel[i]) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "spp_param.pyramid_height ", height(), ": maps with ",
          bottom[0].dim(2 + i), i == 0 ? " rows" : " columns",
          " cannot be cut into ", level.bins, " bins, some would be empty (",
          bottom[0].ToString(), ")"));
    }
    bins += level.bins * level.bins;
  }
  const int64_t items = bottom[0].dim(0), channels = bottom[0].dim(1);
  if (height() == 1) {
    return std::vector<Shape>{Shape({items, channels, 1, 1})};
  }
  const int64_t dims[] = {items, channels * bins};
  ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
  return std::vector<Shape>{top};
}

LayerTraits SppLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = is_stochastic() && !draws() ? 1 : 0;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
