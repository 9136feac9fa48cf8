#include "worker/layers/prior_box_layer.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

absl::Status Invalid(absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("prior_box_param.", message));
}

// The ratios beside 1, each once.
absl::StatusOr<std::vector<float>> Ratios(const caffe::PriorBoxParameter& p) {
  std::vector<float> ratios;
  for (const float ratio : p.aspect_ratio()) {
    if (!(ratio > 0)) return Invalid("aspect_ratio must be > 0");
    const auto near = [=](float other) {
      return std::fabs(ratio - other) < 1e-6f;
    };
    if (near(1) || std::any_of(ratios.begin(), ratios.end(), near)) continue;
    ratios.push_back(ratio);
    if (p.flip()) ratios.push_back(1 / ratio);
  }
  return ratios;
}

}  // namespace

absl::Status PriorBoxLayer::SetUp(absl::Span<const Shape> bottom) {
  RETURN_IF_ERROR(ReadSizes());
  return ReadVariances();
}

absl::Status PriorBoxLayer::ReadSizes() {
  const caffe::PriorBoxParameter& p = options();
  ASSIGN_OR_RETURN(const std::vector<float> ratios, Ratios(p));
  if (p.min_size_size() == 0) return Invalid("min_size must be given");
  if (p.max_size_size() != 0 && p.max_size_size() != p.min_size_size()) {
    return Invalid("max_size must be given once for each min_size, or never");
  }
  sizes_.clear();
  for (int i = 0; i < p.min_size_size(); ++i) {
    const float size = p.min_size(i);
    if (!(size > 0)) return Invalid("min_size must be > 0");
    sizes_.push_back({size, size});
    if (p.max_size_size() != 0) {
      if (!(p.max_size(i) > size)) {
        return Invalid("max_size must be greater than its min_size");
      }
      const float between = std::sqrt(size * p.max_size(i));
      sizes_.push_back({between, between});
    }
    for (const float ratio : ratios) {
      sizes_.push_back({size * std::sqrt(ratio), size / std::sqrt(ratio)});
    }
  }
  return absl::OkStatus();
}

absl::Status PriorBoxLayer::ReadVariances() {
  const auto& given = options().variance();
  variance_.assign(given.begin(), given.end());
  if (variance_.empty()) variance_ = {0.1f};
  if (variance_.size() == 1) variance_.resize(4, variance_[0]);
  if (variance_.size() != 4) {
    return Invalid("variance must be given once, four times or never");
  }
  for (const float v : variance_) {
    if (!(v > 0)) return Invalid("variance must be > 0");
  }
  return absl::OkStatus();
}

absl::StatusOr<PriorBoxLayer::Size> PriorBoxLayer::ImageOf(
    const Shape& image) const {
  const caffe::PriorBoxParameter& p = options();
  if (p.has_img_size() && (p.has_img_h() || p.has_img_w())) {
    return Invalid("img_size excludes img_h and img_w");
  }
  if (p.has_img_h() != p.has_img_w()) {
    return Invalid("img_h and img_w go together");
  }
  Size size = {static_cast<float>(image.dim(-1)),
               static_cast<float>(image.dim(-2))};
  if (p.has_img_size()) {
    size.width = size.height = static_cast<float>(p.img_size());
  } else if (p.has_img_h()) {
    size = {static_cast<float>(p.img_w()), static_cast<float>(p.img_h())};
  }
  if (size.width < 1 || size.height < 1) {
    return Invalid("img_size (or img_h and img_w) must be > 0");
  }
  return size;
}

absl::StatusOr<PriorBoxLayer::Size> PriorBoxLayer::StepOf(
    const Size& image, const Shape& map) const {
  const caffe::PriorBoxParameter& p = options();
  if (p.has_step() && (p.has_step_h() || p.has_step_w())) {
    return Invalid("step excludes step_h and step_w");
  }
  if (p.has_step_h() != p.has_step_w()) {
    return Invalid("step_h and step_w go together");
  }
  if ((p.has_step() && !(p.step() > 0)) ||
      (p.has_step_h() && !(p.step_h() > 0 && p.step_w() > 0))) {
    return Invalid("step must be > 0");
  }
  if (p.has_step()) return Size{p.step(), p.step()};
  if (p.has_step_h()) return Size{p.step_w(), p.step_h()};
  return Size{image.width / map.dim(-1), image.height / map.dim(-2)};
}

absl::StatusOr<std::vector<Shape>> PriorBoxLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  for (const Shape& shape : bottom) {
    if (shape.num_axes() < 2 || shape.dim(-1) < 1 || shape.dim(-2) < 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the bottoms must end in height and width, got ", shape.ToString()));
    }
  }
  ASSIGN_OR_RETURN(const Size image, ImageOf(bottom[1]));
  RETURN_IF_ERROR(StepOf(image, bottom[0]).status());
  const int64_t dims[] = {1, 2,
                          bottom[0].dim(-1) * bottom[0].dim(-2) *
                              static_cast<int64_t>(sizes_.size()) * 4};
  ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
  return std::vector<Shape>{top};
}

LayerTraits PriorBoxLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  traits.has_backward = false;
  return traits;
}

std::vector<float> PriorBoxLayer::Priors(absl::Span<const Shape> bottom) const {
  const auto image = ImageOf(bottom[1]);
  CHECK(image.ok()) << "InferShapes accepted the bottoms";
  const auto step = StepOf(*image, bottom[0]);
  CHECK(step.ok()) << "InferShapes accepted the bottoms";
  std::vector<float> values;
  for (int64_t h = 0; h < bottom[0].dim(-2); ++h) {
    for (int64_t w = 0; w < bottom[0].dim(-1); ++w) {
      const float x = (w + options().offset()) * step->width;
      const float y = (h + options().offset()) * step->height;
      for (const Size& size : sizes_) {
        values.insert(values.end(), {(x - size.width / 2) / image->width,
                                     (y - size.height / 2) / image->height,
                                     (x + size.width / 2) / image->width,
                                     (y + size.height / 2) / image->height});
      }
    }
  }
  if (options().clip()) {
    for (float& v : values) v = std::min(std::max(v, 0.0f), 1.0f);
  }
  const size_t boxes = values.size() / 4;
  for (size_t i = 0; i < boxes; ++i) {
    values.insert(values.end(), variance_.begin(), variance_.end());
  }
  return values;
}

}  // namespace cssp
