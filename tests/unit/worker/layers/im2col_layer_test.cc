#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"
#include "tests/unit/worker/layers/index_testing.h"

namespace cssp::testing {
namespace {

struct Case {
  const char* name;
  const char* fields;  // of convolution_param
  Shape bottom;
  Shape top;
  std::vector<int64_t> kernel, stride, pad, dilation;
  int axis = 1;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

const Case kCases[] = {
    {"Plain",
     "kernel_size: 2",
     {2, 3, 3, 4},
     {2, 12, 2, 3},
     {2, 2},
     {1, 1},
     {0, 0},
     {1, 1}},
    {"StridePadDilation",
     "kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 dilation: 2 num_output: 7",
     {1, 2, 6, 5},
     {1, 12, 2, 3},
     {3, 2},
     {2, 2},
     {1, 1},
     {2, 2}},
    {"OneAxis",
     "kernel_size: 3 pad: 2",
     {2, 2, 4},
     {2, 6, 6},
     {3},
     {1},
     {2},
     {1}},
    {"ThreeAxes",
     "kernel_size: 2 stride: 1 stride: 2 stride: 1",
     {1, 2, 2, 4, 3},
     {1, 16, 1, 2, 2},
     {2, 2, 2},
     {1, 2, 1},
     {0, 0, 0},
     {1, 1, 1}},
    {"OtherAxis",
     "kernel_size: 2 axis: 2",
     {2, 3, 2, 4},
     {2, 3, 4, 3},
     {2},
     {1},
     {0},
     {1},
     2},
    {"NoSpatialAxis", "axis: -1", {2, 3}, {2, 3}, {}, {}, {}, {}},
};

std::string Text(const Case& c) {
  return absl::StrCat("type: 'Im2col' convolution_param { ", c.fields, " }");
}

// The definition, top element by top element.
Values Reference(const Case& c, const Values& x) {
  const auto spatial = [&](const Shape& s) {
    return std::vector<int64_t>(s.dims().begin() + c.axis + 1, s.dims().end());
  };
  const std::vector<int64_t> in = spatial(c.bottom), out = spatial(c.top);
  Values y;
  for (int64_t plane = 0; plane < c.bottom.count(0, c.axis + 1); ++plane)
    for (int64_t k = 0; k < Product(c.kernel); ++k)
      for (int64_t p = 0; p < Product(out); ++p) {
        const auto tap = Digits(k, c.kernel), at = Digits(p, out);
        int64_t index = 0;
        bool inside = true;
        for (size_t i = 0; i < in.size(); ++i) {
          const int64_t e =
              at[i] * c.stride[i] - c.pad[i] + tap[i] * c.dilation[i];
          inside = inside && e >= 0 && e < in[i];
          index = index * in[i] + e;
        }
        y.push_back(inside ? x[plane * Product(in) + index] : 0);
      }
  return y;
}

class Im2colLayerTest : public ::testing::TestWithParam<Case> {};

TEST_P(Im2colLayerTest, ForwardIsTheDefinition) {
  const Case& c = GetParam();
  for (Offer offer : {Offer::kCaffe, Offer::kBlocked16}) {
    auto run = LayerRunner::Create(Text(c), caffe::TRAIN, {c.bottom}, offer);
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    ASSERT_EQ(r.top_shapes()[0], c.top);
    EXPECT_TRUE(r.param.empty());
    r.bottom[0] = Normal(c.bottom.count(), 1);
    ASSERT_TRUE(r.Forward().ok());
    EXPECT_EQ(r.top[0], Reference(c, r.bottom[0]));
  }
}

TEST_P(Im2colLayerTest, Gradients) {
  const Case& c = GetParam();
  EXPECT_EQ(CheckGradients({.layer = Text(c), .bottom = {c.bottom}}), "");
}

INSTANTIATE_TEST_SUITE_P(All, Im2colLayerTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST(Im2colLayer, RefusesWhatIsWrong) {
  for (const auto& [fields, message] :
       std::vector<std::pair<std::string, std::string>>{
           {"", "kernel_size must be > 0"},
           {"kernel_size: 2 stride: 0", "stride must be > 0"},
           {"kernel_size: 4", "covers 4 elements of axis 2"}}) {
    auto run = LayerRunner::Create(
        "type: 'Im2col' convolution_param { " + fields + " }", caffe::TRAIN,
        {{1, 1, 3, 3}});
    EXPECT_THAT(run.status().ToString(), ::testing::HasSubstr(message));
  }
}

}  // namespace
}  // namespace cssp::testing
