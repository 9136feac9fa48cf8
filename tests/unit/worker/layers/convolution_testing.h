// The definition of convolution, in double, for any number of spatial axes.
#ifndef CSSP_TESTS_UNIT_WORKER_LAYERS_CONVOLUTION_TESTING_H_
#define CSSP_TESTS_UNIT_WORKER_LAYERS_CONVOLUTION_TESTING_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/testing/layer_runner.h"
#include "tests/unit/worker/layers/index_testing.h"

namespace cssp::testing {

// What a convolution_param says, said again.  Vectors: one entry a spatial
// axis.
struct ConvolutionCase {
  const char* name;
  const char* fields;  // of convolution_param
  Shape bottom;
  Shape top;
  std::vector<int64_t> kernel, stride, pad, dilation;
  int64_t group = 1;
  bool bias = true;
  int axis = 1;
};

inline void PrintTo(const ConvolutionCase& c, std::ostream* out) {
  *out << c.name;
}

// Calls body(index in x, index in weight, index in y) for every product that
// the convolution of x (wide) to y (narrow) sums up.
template <class Body>
void ForEachProduct(const ConvolutionCase& c, const Shape& wide,
                    const Shape& narrow, Body body) {
  const auto spatial = [&](const Shape& s) {
    return std::vector<int64_t>(s.dims().begin() + c.axis + 1, s.dims().end());
  };
  const std::vector<int64_t> in = spatial(wide), out = spatial(narrow);
  const int64_t inputs = wide.dim(c.axis), outputs = narrow.dim(c.axis);
  const int64_t per_group = inputs / c.group, taps = Product(c.kernel);
  for (int64_t p = 0; p < Product(out); ++p)
    for (int64_t tap = 0; tap < taps; ++tap) {
      const auto at = Digits(p, out), k = Digits(tap, c.kernel);
      int64_t q = 0;
      bool inside = true;
      for (size_t i = 0; i < in.size(); ++i) {
        const int64_t x = at[i] * c.stride[i] - c.pad[i] + k[i] * c.dilation[i];
        inside = inside && x >= 0 && x < in[i];
        q = q * in[i] + x;
      }
      if (!inside) continue;
      for (int64_t n = 0; n < wide.count(0, c.axis); ++n)
        for (int64_t o = 0; o < outputs; ++o)
          for (int64_t i = 0; i < per_group; ++i) {
            const int64_t channel = o / (outputs / c.group) * per_group + i;
            body((n * inputs + channel) * Product(in) + q,
                 (o * per_group + i) * taps + tap,
                 (n * outputs + o) * Product(out) + p);
          }
    }
}

// `bias` over the channels of a top, in double.
inline std::vector<double> BiasPlanes(const ConvolutionCase& c,
                                      const Values& bias) {
  std::vector<double> top(c.top.count(), 0.0);
  const int64_t plane = c.top.count_from(c.axis + 1);
  const int64_t channels = c.top.dim(c.axis);
  for (size_t i = 0; c.bias && i < top.size(); ++i) {
    top[i] = bias[i / plane % channels];
  }
  return top;
}

// Calls body(index in bottom, in weight, in top) for every product of a
// convolution, or of a deconvolution.
template <class Body>
void ForEachTerm(const ConvolutionCase& c, bool deconvolution, Body body) {
  if (deconvolution) {
    ForEachProduct(c, c.top, c.bottom,
                   [&](int64_t top, int64_t w, int64_t x) { body(x, w, top); });
  } else {
    ForEachProduct(c, c.bottom, c.top, body);
  }
}

// A sum's rounding, and Winograd's, is a share of the array's largest value.
inline std::string Compare(const std::string& what, const Values& values,
                           const std::vector<double>& expected) {
  double largest = 1;
  for (double value : expected) largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!(std::fabs(values[i] - expected[i]) <= 1e-5 * largest)) {
      return absl::StrCat(what, "[", i, "] is ", values[i], ", expected ",
                          expected[i]);
    }
  }
  return "";
}

// An empty string, or what is wrong with a layer that has run both ways.
inline std::string Check(const ConvolutionCase& c, bool deconvolution,
                         const LayerRunner& r, const Values& dy) {
  std::vector<double> y = BiasPlanes(c, c.bias ? r.param[1] : Values());
  std::vector<double> dx(c.bottom.count()), dw(r.param[0].size());
  ForEachTerm(c, deconvolution, [&](int64_t i, int64_t k, int64_t o) {
    y[o] += double{r.param[0][k]} * r.bottom[0][i];
    dx[i] += double{r.param[0][k]} * dy[o];
    dw[k] += double{r.bottom[0][i]} * dy[o];
  });
  std::string wrong = Compare("top", r.top[0], y) +
                      Compare("bottom gradient", r.bottom_gradient[0], dx) +
                      Compare("weight gradient", r.param_gradient[0], dw);
  if (!c.bias) return wrong;
  std::vector<double> db(c.top.dim(c.axis));
  const int64_t plane = c.top.count_from(c.axis + 1);
  for (size_t i = 0; i < dy.size(); ++i) db[i / plane % db.size()] += dy[i];
  return wrong + Compare("bias gradient", r.param_gradient[1], db);
}

// The same for every way of offering formats.
inline std::string CheckDefinition(const ConvolutionCase& c,
                                   const std::string& text,
                                   bool deconvolution) {
  for (Offer offer : {Offer::kForceCaffe, Offer::kCaffe, Offer::kBlocked8,
                      Offer::kBlocked16}) {
    auto run = LayerRunner::Create(text, caffe::TRAIN, {c.bottom}, offer);
    if (!run.ok()) return run.status().ToString();
    LayerRunner& r = **run;
    if (r.top_shapes()[0] != c.top) return r.top_shapes()[0].ToString();
    if (r.param.size() != (c.bias ? 2 : 1)) return "number of parameters";
    r.bottom[0] = Normal(c.bottom.count(), 1);
    for (size_t i = 0; i < r.param.size(); ++i) {
      r.param[i] = Normal(r.param[i].size(), 2 + i);
    }
    const Values dy = Normal(c.top.count(), 4);
    absl::Status status = r.Forward();
    if (status.ok()) status = r.Backward({dy}, GradientMode::kWrite);
    const std::string wrong =
        status.ok() ? Check(c, deconvolution, r, dy) : status.ToString();
    if (!wrong.empty()) return absl::StrCat(OfferName(offer), ": ", wrong);
  }
  return "";
}

}  // namespace cssp::testing

#endif  // CSSP_TESTS_UNIT_WORKER_LAYERS_CONVOLUTION_TESTING_H_
