// The definition of convolution, in double, for any number of spatial axes.
#ifndef CSSP_TESTS_UNIT_WORKER_LAYERS_CONVOLUTION_TESTING_H_
#define CSSP_TESTS_UNIT_WORKER_LAYERS_CONVOLUTION_TESTING_H_

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

inline Values ToFloat(const std::vector<double>& values) {
  return Values(values.begin(), values.end());
}

// An empty string, or what is wrong with a layer's forward in some format.
// `reference`: (bottom, weight, bias) -> top.
template <class Reference>
std::string CheckForward(const ConvolutionCase& c, const std::string& text,
                         Reference reference) {
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
    const absl::Status status = r.Forward();
    if (!status.ok()) return status.ToString();
    const Values expected =
        reference(r.bottom[0], r.param[0], c.bias ? r.param[1] : Values());
    for (size_t i = 0; i < expected.size(); ++i) {
      if (!(std::fabs(r.top[0][i] - expected[i]) <= 1e-3)) {
        return absl::StrCat(OfferName(offer), ": top[", i, "] is ", r.top[0][i],
                            ", expected ", expected[i]);
      }
    }
  }
  return "";
}

}  // namespace cssp::testing

#endif  // CSSP_TESTS_UNIT_WORKER_LAYERS_CONVOLUTION_TESTING_H_
