#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/gradient_checker.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

using Doubles = std::vector<double>;

constexpr int kSteps = 4, kStreams = 3, kOutputs = 2, kFeatures = 5;
constexpr int kStatic = 3;

double Logistic(double x) { return 1 / (1 + std::exp(-x)); }

// One run over a sequence: what a reference takes and gives.
struct Sequence {
  const LayerRunner& run;
  bool has_static;
  Doubles h, c;  // in: the state before; out: behind the last step

  double X(int t, int n, int i) const {
    return run.bottom[0][(t * kStreams + n) * kFeatures + i];
  }
  double Cont(int t, int n) const { return run.bottom[1][t * kStreams + n]; }

  // b + W x + W_static x_static, row `r`.
  double Inputs(int t, int n, int r) const {
    double sum = run.param[1][r];
    for (int i = 0; i < kFeatures; ++i) {
      sum += run.param[0][r * kFeatures + i] * X(t, n, i);
    }
    for (int i = 0; has_static && i < kStatic; ++i) {
      sum += run.param[2][r * kStatic + i] * run.bottom[2][n * kStatic + i];
    }
    return sum;
  }

  // Row `r` of a square weight by the state of stream n.
  double Times(const Values& w, int r, const Doubles& state, int n,
               double factor) const {
    double sum = 0;
    for (int d = 0; d < kOutputs; ++d) {
      sum += w[r * kOutputs + d] * factor * state[n * kOutputs + d];
    }
    return sum;
  }
};

Values LstmReference(Sequence& s) {
  const Values& w_hc = s.run.param[s.has_static ? 3 : 2];
  Values top;
  for (int t = 0; t < kSteps; ++t) {
    const Doubles h = s.h;
    for (int n = 0; n < kStreams; ++n)
      for (int d = 0; d < kOutputs; ++d) {
        double gate[4];
        for (int k = 0; k < 4; ++k) {
          const int row = k * kOutputs + d;
          gate[k] =
              s.Inputs(t, n, row) + s.Times(w_hc, row, h, n, s.Cont(t, n));
        }
        double& c = s.c[n * kOutputs + d];
        c = Logistic(gate[1]) * s.Cont(t, n) * c +
            Logistic(gate[0]) * std::tanh(gate[3]);
        s.h[n * kOutputs + d] = Logistic(gate[2]) * std::tanh(c);
      }
    top.insert(top.end(), s.h.begin(), s.h.end());
  }
  return top;
}

Values RnnReference(Sequence& s) {
  const int first = s.has_static ? 3 : 2;
  Values top;
  for (int t = 0; t < kSteps; ++t) {
    const Doubles h = s.h;
    for (int n = 0; n < kStreams; ++n)
      for (int d = 0; d < kOutputs; ++d) {
        s.h[n * kOutputs + d] =
            std::tanh(s.Inputs(t, n, d) +
                      s.Times(s.run.param[first], d, h, n, s.Cont(t, n)));
      }
    for (int n = 0; n < kStreams; ++n)
      for (int d = 0; d < kOutputs; ++d) {
        top.push_back(std::tanh(s.run.param[first + 2][d] +
                                s.Times(s.run.param[first + 1], d, s.h, n, 1)));
      }
  }
  return top;
}

Values Reference(bool lstm, Sequence& s) {
  return lstm ? LstmReference(s) : RnnReference(s);
}

std::string Text(bool lstm, bool expose) {
  return absl::StrCat("type: '", lstm ? "LSTM" : "RNN",
                      "' recurrent_param { num_output: ", kOutputs,
                      expose ? " expose_hidden: true" : "", " }",
                      expose ? " top: 'y' top: 'h_T'" : "",
                      expose && lstm ? " top: 'c_T'" : "");
}

std::vector<Shape> Bottoms(bool lstm, bool has_static, bool expose) {
  std::vector<Shape> shapes = {{kSteps, kStreams, kFeatures},
                               {kSteps, kStreams}};
  if (has_static) shapes.push_back({kStreams, kStatic});
  for (int i = 0; expose && i < (lstm ? 2 : 1); ++i) {
    shapes.push_back({1, kStreams, kOutputs});
  }
  return shapes;
}

// Every stream begins at the first step; some begin anew later.
Values Beginnings() { return {0, 0, 0, 1, 0, 1, 1, 1, 1, 0, 1, 1}; }

void SetInputs(LayerRunner& r) {
  for (size_t i = 0; i < r.bottom.size(); ++i) {
    r.bottom[i] = Normal(r.bottom[i].size(), 10 + i);
  }
  r.bottom[1] = {1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0};
  for (size_t i = 0; i < r.param.size(); ++i) {
    r.param[i] = Normal(r.param[i].size(), 20 + i, 0.7f);
  }
}

std::unique_ptr<LayerRunner> Make(bool lstm, bool has_static, bool expose) {
  auto run = LayerRunner::Create(Text(lstm, expose), caffe::TRAIN,
                                 Bottoms(lstm, has_static, expose));
  EXPECT_TRUE(run.ok()) << run.status();
  if (!run.ok()) return nullptr;
  SetInputs(**run);
  return *std::move(run);
}

MATCHER_P(Near, expected, "") {
  return ::testing::ExplainMatchResult(
      ::testing::Pointwise(::testing::FloatNear(1e-5), expected), arg,
      result_listener);
}

struct Variant {
  bool lstm, has_static;
};

class RecurrentLayerTest : public ::testing::TestWithParam<Variant> {
 protected:
  const bool lstm_ = GetParam().lstm, static_ = GetParam().has_static;
  const Doubles zero_ = Doubles(kStreams * kOutputs, 0.0);
};

TEST_P(RecurrentLayerTest, StateGoesOnFromBatchToBatch) {
  auto r = Make(lstm_, static_, false);
  ASSERT_NE(r, nullptr);
  Sequence s{*r, static_, zero_, zero_};
  for (int batch = 0; batch < 3; ++batch) {
    r->bottom[0] = Normal(r->bottom[0].size(), 50 + batch);
    ASSERT_TRUE(r->Forward().ok());
    EXPECT_THAT(r->top[0], Near(Reference(lstm_, s))) << batch;
    // A new plan between batches changes nothing.
    std::vector<TensorDesc> bottoms, tops;
    for (const Shape& shape : Bottoms(lstm_, static_, false)) {
      bottoms.push_back({.shape = shape});
    }
    tops.push_back({.shape = r->top_shapes()[0]});
    ASSERT_TRUE(r->layer().Bind(bottoms, tops).ok());
  }
}

TEST_P(RecurrentLayerTest, ExposedStatesComeInAndGoOut) {
  auto r = Make(lstm_, static_, true);
  ASSERT_NE(r, nullptr);
  const int first = static_ ? 3 : 2;
  Sequence s{*r, static_, zero_, zero_};
  s.h.assign(r->bottom[first].begin(), r->bottom[first].end());
  if (lstm_) {
    s.c.assign(r->bottom[first + 1].begin(), r->bottom[first + 1].end());
  }
  const Values expected = Reference(lstm_, s);
  // Twice: nothing goes on behind the user's back.
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(r->Forward().ok());
    EXPECT_THAT(r->top[0], Near(expected));
    EXPECT_THAT(r->top[1], Near(Values(s.h.begin(), s.h.end())));
    if (lstm_) {
      EXPECT_THAT(r->top[2], Near(Values(s.c.begin(), s.c.end())));
    }
  }
}

TEST_P(RecurrentLayerTest, Gradients) {
  EXPECT_EQ(CheckGradients({.layer = Text(lstm_, false),
                            .bottom = Bottoms(lstm_, static_, false),
                            .values = {{}, Beginnings()}}),
            "");
}

TEST_P(RecurrentLayerTest, ExposedStatesHaveGradients) {
  EXPECT_EQ(
      CheckGradients({.layer = Text(lstm_, true),
                      .bottom = Bottoms(lstm_, static_, true),
                      .values = {{}, {1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0}}}),
      "");
}

// The state that came in counts in the weights' gradients as an exposed one
// does.
TEST_P(RecurrentLayerTest, TheStateThatGoesOnCountsInGradients) {
  auto plain = Make(lstm_, static_, false),
       exposed = Make(lstm_, static_, true);
  ASSERT_TRUE(plain != nullptr && exposed != nullptr);
  const int first = static_ ? 3 : 2, states = lstm_ ? 2 : 1;
  for (int i = 0; i < states; ++i) {
    exposed->bottom[first + i].assign(kStreams * kOutputs, 0.0f);
  }
  ASSERT_TRUE(plain->Forward().ok());
  ASSERT_TRUE(exposed->Forward().ok());
  for (int i = 0; i < states; ++i) {
    exposed->bottom[first + i] = exposed->top[1 + i];
  }
  ASSERT_TRUE(plain->Forward().ok());
  ASSERT_TRUE(exposed->Forward().ok());
  EXPECT_EQ(plain->top[0], exposed->top[0]);
  const Values dy = Normal(plain->top[0].size(), 5);
  ASSERT_TRUE(plain->Backward({dy}, GradientMode::kWrite).ok());
  ASSERT_TRUE(exposed->Backward({dy}, GradientMode::kWrite).ok());
  EXPECT_EQ(plain->param_gradient, exposed->param_gradient);
  EXPECT_EQ(plain->bottom_gradient[0], exposed->bottom_gradient[0]);
}

TEST_P(RecurrentLayerTest, NoGradientOfTheTopIsZero) {
  auto r = Make(lstm_, static_, false);
  ASSERT_NE(r, nullptr);
  ASSERT_TRUE(r->Forward().ok());
  ASSERT_TRUE(r->Backward({{}}, GradientMode::kWrite).ok());
  for (const Values& gradient : r->param_gradient) {
    EXPECT_EQ(gradient, Values(gradient.size(), 0.0f));
  }
  EXPECT_EQ(r->bottom_gradient[0], Values(r->bottom_gradient[0].size(), 0.0f));
}

TEST_P(RecurrentLayerTest, ABeginningForgetsEvenWhatIsNotFinite) {
  auto r = Make(lstm_, static_, false);
  ASSERT_NE(r, nullptr);
  r->bottom[0].assign(r->bottom[0].size(),
                      std::numeric_limits<float>::quiet_NaN());
  ASSERT_TRUE(r->Forward().ok());
  EXPECT_TRUE(std::isnan(r->top[0].back()));
  SetInputs(*r);
  r->bottom[1] = Beginnings();
  ASSERT_TRUE(r->Forward().ok());
  Sequence s{*r, static_, zero_, zero_};
  EXPECT_THAT(r->top[0], Near(Reference(lstm_, s)));
}

TEST_P(RecurrentLayerTest, ParametersAreCaffes) {
  auto r = Make(lstm_, static_, false);
  ASSERT_NE(r, nullptr);
  const int64_t rows = lstm_ ? 4 * kOutputs : kOutputs;
  std::vector<Shape> expected = {{rows, kFeatures}, {rows}};
  if (static_) expected.push_back({rows, kStatic});
  expected.push_back({rows, kOutputs});
  if (!lstm_) {
    expected.push_back({kOutputs, kOutputs});
    expected.push_back({kOutputs});
  }
  std::vector<Shape> shapes;
  for (const ParamDeclaration& p : r->layer().param_declarations()) {
    shapes.push_back(p.shape);
  }
  EXPECT_EQ(shapes, expected);
}

INSTANTIATE_TEST_SUITE_P(
    All, RecurrentLayerTest,
    ::testing::Values(Variant{true, false}, Variant{true, true},
                      Variant{false, false}, Variant{false, true}),
    [](const auto& info) {
      return absl::StrCat(info.param.lstm ? "Lstm" : "Rnn",
                          info.param.has_static ? "Static" : "");
    });

TEST(RecurrentLayer, FeaturesMayHaveSeveralAxes) {
  for (bool lstm : {true, false}) {
    EXPECT_EQ(CheckGradients({.layer = Text(lstm, false),
                              .bottom = {{2, 2, 1, 3, 2}, {2, 2}, {2, 2, 1}},
                              .values = {{}, {0, 0, 1, 1}}}),
              "");
  }
}

TEST(RecurrentLayer, RefusesWhatIsWrong) {
  const struct {
    const char* fields;
    std::vector<Shape> bottom;
    const char* message;
  } cases[] = {
      {"", {{2, 2, 3}, {2, 2}}, "num_output"},
      {"num_output: 2", {{2, 2}, {2, 2}}, "3 axes (steps"},
      {"num_output: 2", {{2, 2, 3}, {2, 1}}, "second bottom"},
      {"num_output: 2", {{2, 2, 3}, {2, 2, 1}}, "second bottom"},
      {"num_output: 2", {{2, 2, 3}, {2, 2}, {2}}, "static input needs 2"},
      {"num_output: 2", {{2, 2, 3}, {2, 2}, {3, 3}}, "2 streams"},
      {"num_output: 2 expose_hidden: true",
       {{2, 2, 3}, {2, 2}, {1, 2, 2}, {1, 2, 3}},
       "bottom 3 is a hidden"},
  };
  for (const auto& c : cases) {
    auto run = LayerRunner::Create(
        absl::StrCat("type: 'LSTM' recurrent_param { ", c.fields, " }"),
        caffe::TRAIN, c.bottom);
    EXPECT_EQ(run.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(run.status().message()),
                ::testing::HasSubstr(c.message));
  }
}

TEST(LstmUnitLayer, ForwardIsTheDefinition) {
  auto run = LayerRunner::Create("type: 'LSTMUnit' top: 'c' top: 'h'",
                                 caffe::TRAIN, {{1, 3, 2}, {1, 3, 8}, {1, 3}});
  ASSERT_TRUE(run.ok()) << run.status();
  LayerRunner& r = **run;
  r.bottom = {Normal(6, 1), Normal(24, 2), {1, 0, 1}};
  ASSERT_TRUE(r.Forward().ok());
  Values c, h;
  for (int n = 0; n < 3; ++n)
    for (int d = 0; d < 2; ++d) {
      const auto gate = [&](int k) -> double {
        return r.bottom[1][n * 8 + 2 * k + d];
      };
      const double cell =
          r.bottom[2][n] * Logistic(gate(1)) * r.bottom[0][2 * n + d] +
          Logistic(gate(0)) * std::tanh(gate(3));
      c.push_back(cell);
      h.push_back(Logistic(gate(2)) * std::tanh(cell));
    }
  EXPECT_THAT(r.top[0], Near(c));
  EXPECT_THAT(r.top[1], Near(h));
}

TEST(LstmUnitLayer, Gradients) {
  EXPECT_EQ(CheckGradients({.layer = "type: 'LSTMUnit' top: 'c' top: 'h'",
                            .bottom = {{1, 3, 2}, {1, 3, 8}, {1, 3}},
                            .values = {{}, {}, {1, 0, 1}}}),
            "");
}

TEST(LstmUnitLayer, EitherTopMayBeUnused) {
  auto run = LayerRunner::Create("type: 'LSTMUnit' top: 'c' top: 'h'",
                                 caffe::TRAIN, {{1, 1, 2}, {1, 1, 8}, {1, 1}});
  ASSERT_TRUE(run.ok()) << run.status();
  LayerRunner& r = **run;
  r.bottom = {Normal(2, 1), Normal(8, 2), {1}};
  ASSERT_TRUE(r.Forward().ok());
  const Values dc = {1, 2}, dh = {3, 4};
  Values sum(8, 0.0f);
  for (const auto& tops : {std::vector<Values>{dc, {}}, {{}, dh}}) {
    ASSERT_TRUE(r.Backward(tops, GradientMode::kWrite).ok());
    for (int i = 0; i < 8; ++i) sum[i] += r.bottom_gradient[1][i];
  }
  ASSERT_TRUE(r.Backward({dc, dh}, GradientMode::kWrite).ok());
  EXPECT_THAT(r.bottom_gradient[1], Near(sum));
}

TEST(LstmUnitLayer, RefusesWhatIsWrong) {
  for (const std::vector<Shape>& bottom :
       {std::vector<Shape>{{2, 3, 2}, {2, 3, 8}, {2, 3}},
        {{1, 3, 2}, {1, 3, 6}, {1, 3}},
        {{1, 3, 2}, {1, 3, 8}, {1, 3, 1}}}) {
    EXPECT_EQ(LayerRunner::Create("type: 'LSTMUnit' top: 'c' top: 'h'",
                                  caffe::TRAIN, bottom)
                  .status()
                  .code(),
              absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace cssp::testing
