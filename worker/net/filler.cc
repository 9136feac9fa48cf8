#include "worker/net/filler.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/net/philox.h"

namespace cssp {
namespace {

// The third counter word keeps a blob's values and its sparsity mask apart.
enum Purpose : uint32_t { kValues = 0, kMask = 1 };

struct FillContext {
  const caffe::FillerParameter& filler;
  const Shape& shape;
  uint64_t seed;  // of the blob's own stream
};

PhiloxBlock Draw(const FillContext& context, Purpose purpose, size_t block) {
  return Philox(context.seed,
                {static_cast<uint32_t>(block),
                 static_cast<uint32_t>(uint64_t{block} >> 32), purpose, 0});
}

void FillUniform(const FillContext& context, float low, float high,
                 absl::Span<float> out) {
  for (size_t i = 0; i < out.size(); i += 4) {
    const PhiloxBlock draw = Draw(context, kValues, i / 4);
    for (size_t k = 0; k < 4 && i + k < out.size(); ++k)
      out[i + k] = low + (high - low) * UnitFloat(draw[k]);
  }
}

void FillGaussian(const FillContext& context, float mean, float deviation,
                  absl::Span<float> out) {
  for (size_t i = 0; i < out.size(); i += 4) {
    const PhiloxBlock draw = Draw(context, kValues, i / 4);
    const auto [a, b] = NormalPair(draw[0], draw[1]);
    const auto [c, d] = NormalPair(draw[2], draw[3]);
    const float normal[4] = {a, b, c, d};
    for (size_t k = 0; k < 4 && i + k < out.size(); ++k)
      out[i + k] = mean + deviation * normal[k];
  }
}

absl::Status RejectSparse(const FillContext& context) {
  if (context.filler.sparse() == -1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "filler '", context.filler.type(),
      "' does not support sparse (only gaussian does): remove it"));
}

absl::Status RequireFinite(const char* name, float value) {
  if (std::isfinite(value)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("filler: ", name, " must be finite"));
}

absl::Status RequireAxes(const FillContext& context) {
  if (context.shape.num_axes() >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("filler '", context.filler.type(),
                   "' needs a blob of at least one axis"));
}

absl::Status Constant(const FillContext& context, absl::Span<float> out) {
  RETURN_IF_ERROR(RejectSparse(context));
  std::fill(out.begin(), out.end(), context.filler.value());
  return absl::OkStatus();
}

absl::Status Uniform(const FillContext& context, absl::Span<float> out) {
  RETURN_IF_ERROR(RejectSparse(context));
  RETURN_IF_ERROR(RequireFinite("min", context.filler.min()));
  RETURN_IF_ERROR(RequireFinite("max", context.filler.max()));
  if (context.filler.min() > context.filler.max())
    return absl::InvalidArgumentError(
        absl::StrCat("filler 'uniform': min ", context.filler.min(),
                     " is above max ", context.filler.max()));
  FillUniform(context, context.filler.min(), context.filler.max(), out);
  return absl::OkStatus();
}

// With sparse >= 0 each output (axis 0) keeps that many inputs on average.
absl::Status Gaussian(const FillContext& context, absl::Span<float> out) {
  const caffe::FillerParameter& filler = context.filler;
  RETURN_IF_ERROR(RequireFinite("mean", filler.mean()));
  if (!(filler.std() >= 0 && std::isfinite(filler.std())))
    return absl::InvalidArgumentError("filler 'gaussian': std must be >= 0");
  if (filler.sparse() < -1)
    return absl::InvalidArgumentError(
        "filler 'gaussian': sparse must be >= 0, or -1 for dense");
  if (filler.sparse() >= 0) RETURN_IF_ERROR(RequireAxes(context));
  FillGaussian(context, filler.mean(), filler.std(), out);
  if (filler.sparse() < 0 || out.empty()) return absl::OkStatus();
  const float keep = static_cast<float>(filler.sparse()) /
                     static_cast<float>(context.shape.dim(0));
  for (size_t i = 0; i < out.size(); ++i) {
    const PhiloxBlock draw = Draw(context, kMask, i / 4);
    if (UnitFloat(draw[i % 4]) >= keep) out[i] = 0;
  }
  return absl::OkStatus();
}

// Each row (axis 0) is positive and sums to 1.
absl::Status PositiveUnitball(const FillContext& context,
                              absl::Span<float> out) {
  RETURN_IF_ERROR(RejectSparse(context));
  RETURN_IF_ERROR(RequireAxes(context));
  FillUniform(context, 0, 1, out);
  const int64_t row = context.shape.count_from(1);
  if (row == 0) return absl::OkStatus();
  for (size_t start = 0; start < out.size(); start += row) {
    float sum = 0;
    for (int64_t i = 0; i < row; ++i) sum += out[start + i];
    for (int64_t i = 0; i < row; ++i)
      out[start + i] = sum > 0 ? out[start + i] / sum : 1.0f / row;
  }
  return absl::OkStatus();
}

// What xavier and msra divide by.
absl::StatusOr<float> Fan(const FillContext& context) {
  RETURN_IF_ERROR(RejectSparse(context));
  RETURN_IF_ERROR(RequireAxes(context));
  const Shape& shape = context.shape;
  const auto fan_in = static_cast<float>(shape.count_from(1));
  const auto fan_out = static_cast<float>(
      shape.num_axes() > 1 ? shape.dim(0) * shape.count_from(2)
                           : shape.count());
  switch (context.filler.variance_norm()) {
    case caffe::FillerParameter::FAN_OUT:
      return fan_out;
    case caffe::FillerParameter::AVERAGE:
      return (fan_in + fan_out) / 2.0f;
    default:
      return fan_in;
  }
}

absl::Status Xavier(const FillContext& context, absl::Span<float> out) {
  ASSIGN_OR_RETURN(const float fan, Fan(context));
  const float bound = std::sqrt(3.0f / fan);
  FillUniform(context, -bound, bound, out);
  return absl::OkStatus();
}

absl::Status Msra(const FillContext& context, absl::Span<float> out) {
  ASSIGN_OR_RETURN(const float fan, Fan(context));
  FillGaussian(context, 0, std::sqrt(2.0f / fan), out);
  return absl::OkStatus();
}

// The kernel of a Deconvolution that upsamples bilinearly.
absl::Status Bilinear(const FillContext& context, absl::Span<float> out) {
  RETURN_IF_ERROR(RejectSparse(context));
  const Shape& shape = context.shape;
  if (shape.num_axes() != 4 || shape.dim(2) != shape.dim(3))
    return absl::InvalidArgumentError(absl::StrCat(
        "filler 'bilinear' needs a 4-D blob with a square kernel, not ",
        shape.ToString()));
  const int64_t width = shape.dim(3);
  const auto f = static_cast<float>((width + 1) / 2);
  const float centre = static_cast<float>(width - 1) / (2.0f * f);
  for (size_t i = 0; i < out.size(); ++i) {
    const auto x = static_cast<float>(i % width);
    const auto y = static_cast<float>(i / width % width);
    out[i] = (1 - std::fabs(x / f - centre)) * (1 - std::fabs(y / f - centre));
  }
  return absl::OkStatus();
}

struct FillerEntry {
  const char* type;
  absl::Status (*fill)(const FillContext&, absl::Span<float>);
};

constexpr FillerEntry kFillers[] = {
    {"bilinear", Bilinear},
    {"constant", Constant},
    {"gaussian", Gaussian},
    {"msra", Msra},
    {"positive_unitball", PositiveUnitball},
    {"uniform", Uniform},
    {"xavier", Xavier},
};

}  // namespace

absl::Status Fill(const caffe::FillerParameter& filler, const Shape& shape,
                  uint64_t seed, absl::string_view blob_key,
                  absl::Span<float> out) {
  CHECK_EQ(out.size(), shape.count()) << "filler of another size";
  const FillContext context{filler, shape, StreamSeed(seed, blob_key)};
  std::string known;
  for (const FillerEntry& entry : kFillers) {
    if (filler.type() == entry.type) return entry.fill(context, out);
    absl::StrAppend(&known, known.empty() ? "" : ", ", entry.type);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown filler '", filler.type(), "' (known fillers: ", known, ")"));
}

}  // namespace cssp
