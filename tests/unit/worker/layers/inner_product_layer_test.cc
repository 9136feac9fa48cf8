#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

std::string Text(absl::string_view fields) {
  return absl::StrCat("type: 'InnerProduct' inner_product_param { ", fields,
                      " }");
}

TEST(InnerProductLayer, ForwardIsTheDefinition) {
  for (bool transpose : {false, true}) {
    auto run = LayerRunner::Create(
        Text(absl::StrCat("num_output: 4 transpose: ",
                          transpose ? "true" : "false")),
        caffe::TRAIN, {{3, 2, 2, 2}}, Offer::kBlocked8);
    ASSERT_TRUE(run.ok()) << run.status();
    LayerRunner& r = **run;
    EXPECT_EQ(r.formats().bottom[0], Format::kCaffe);
    EXPECT_EQ(r.top_shapes()[0], Shape({3, 4}));
    EXPECT_EQ(r.layer().param_declarations()[0].shape,
              transpose ? Shape({8, 4}) : Shape({4, 8}));
    r.bottom[0] = Normal(24, 1);
    r.param[0] = Normal(32, 2);
    r.param[1] = Normal(4, 3);
    ASSERT_TRUE(r.Forward().ok());
    for (int m = 0; m < 3; ++m) {
      for (int n = 0; n < 4; ++n) {
        double sum = r.param[1][n];
        for (int k = 0; k < 8; ++k) {
          sum += double{r.bottom[0][m * 8 + k]} *
                 r.param[0][transpose ? k * 4 + n : n * 8 + k];
        }
        EXPECT_NEAR(r.top[0][m * 4 + n], sum, 1e-4);
      }
    }
  }
}

TEST(InnerProductLayer, Gradients) {
  for (const char* fields :
       {"num_output: 5", "num_output: 5 transpose: true",
        "num_output: 3 bias_term: false", "num_output: 3 axis: 2",
        "num_output: 3 axis: -1 transpose: true"}) {
    EXPECT_EQ(CheckGradients({.layer = Text(fields),
                              .bottom = {{3, 2, 2, 3}}}),
              "")
        << fields;
  }
}

TEST(InnerProductLayer, AxisKeepsTheLeadingOnes) {
  auto run = LayerRunner::Create(Text("num_output: 7 axis: 2"), caffe::TRAIN,
                                 {{2, 3, 4, 5}});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ((*run)->top_shapes()[0], Shape({2, 3, 7}));
}

TEST(InnerProductLayer, RefusesWhatIsWrong) {
  EXPECT_FALSE(LayerRunner::Create(Text(""), caffe::TRAIN, {{2, 3}}).ok());
  EXPECT_FALSE(LayerRunner::Create(Text("num_output: 2 axis: 4"), caffe::TRAIN,
                                   {{2, 3}})
                   .ok());
}

}  // namespace
}  // namespace cssp::testing
