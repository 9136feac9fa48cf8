#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "google/protobuf/text_format.h"
#include "tests/conformance/layers/run_case.h"

namespace cssp::testing {
namespace {

constexpr float kInitial = 0.5f;

std::vector<Shape> Shapes(const Arrays& arrays) {
  std::vector<Shape> shapes;
  for (const Array& array : arrays) shapes.push_back(array.shape);
  return shapes;
}

std::vector<Values> ValuesOf(const Arrays& arrays) {
  std::vector<Values> values;
  for (const Array& array : arrays) values.push_back(array.values);
  return values;
}

// One layer object through the steps of a case.
class Run {
 public:
  Run(const Case& c, LayerRunner& runner) : case_(c), runner_(runner) {}

  absl::Status SetParams() {
    const auto& declared = runner_.layer().param_declarations();
    if (declared.size() != case_.param.size()) {
      return absl::InternalError(absl::StrCat(
          declared.size(), " parameters, not ", case_.param.size()));
    }
    for (size_t i = 0; i < declared.size(); ++i) {
      if (declared[i].shape != case_.param[i].shape) {
        return absl::InternalError(
            absl::StrCat("parameter ", i, " is ", declared[i].shape.ToString(),
                         ", not ", case_.param[i].shape.ToString()));
      }
    }
    runner_.param = ValuesOf(case_.param);
    runner_.layer().ParamsChanged();
    return absl::OkStatus();
  }

  absl::StatusOr<Answer::Step> Step(const Case::Step& step) {
    runner_.bottom = ValuesOf(step.bottom);
    RETURN_IF_ERROR(runner_.Forward());
    const std::vector<Values> top = runner_.top;
    const std::vector<Values> statistics = runner_.param_gradient;
    RETURN_IF_ERROR(runner_.Forward());
    error_ += Difference("second forward's top", top, runner_.top);
    Answer::Step answer;
    for (size_t i = 0; i < top.size(); ++i) {
      answer.top.push_back({runner_.top_shapes()[i], top[i]});
    }
    if (!step.top_gradient.empty()) {
      RETURN_IF_ERROR(CheckTopGradients(step));
      RETURN_IF_ERROR(Backward(step, answer));
    } else if (case_.phase == caffe::TRAIN) {
      for (size_t i = 0; i < statistics.size(); ++i) {
        answer.param_gradient.push_back(
            Learnt(i) ? NoGradient()
                      : Array{case_.param[i].shape, statistics[i]});
      }
    }
    // The plan keeps layers out of place whose backward reads the bottom.
    const LayerTraits traits = runner_.layer().Traits();
    if (traits.in_place && !(traits.backward_reads_bottom & 1)) {
      RETURN_IF_ERROR(InPlace(step, answer));
    }
    return answer;
  }

  const std::string& error() const { return error_; }

 private:
  bool Flows(size_t i) const { return runner_.layer().propagates_to(i); }
  bool Learnt(size_t i) const {
    return runner_.layer().param_declarations()[i].kind == ParamKind::kGradient;
  }

  absl::Status CheckTopGradients(const Case::Step& step) {
    for (size_t i = 0; i < step.top_gradient.size(); ++i) {
      const Shape& given = step.top_gradient[i].shape;
      if (given == Shape({0})) continue;
      if (i >= runner_.top_shapes().size() ||
          given != runner_.top_shapes()[i]) {
        return absl::InternalError(absl::StrCat(
            "top ", i, " should be ", given.ToString(), ", is ",
            i < runner_.top_shapes().size() ? runner_.top_shapes()[i].ToString()
                                            : "absent"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Backward(const Case::Step& step, Answer::Step& answer) {
    const std::vector<Values> gradient = ValuesOf(step.top_gradient);
    RETURN_IF_ERROR(runner_.Backward(gradient, GradientMode::kWrite));
    const std::vector<Values> bottom = runner_.bottom_gradient;
    const std::vector<Values> param = runner_.param_gradient;
    for (size_t i = 0; i < bottom.size(); ++i) {
      answer.bottom_gradient.push_back(
          Flows(i) ? Array{step.bottom[i].shape, bottom[i]} : NoGradient());
    }
    for (size_t i = 0; i < param.size(); ++i) {
      const bool given = Learnt(i) || case_.phase == caffe::TRAIN;
      answer.param_gradient.push_back(
          given ? Array{case_.param[i].shape, param[i]} : NoGradient());
    }
    RETURN_IF_ERROR(runner_.Backward(gradient, GradientMode::kWrite));
    for (size_t i = 0; i < bottom.size(); ++i) {
      if (!Flows(i)) continue;
      error_ += Difference("second backward's bottom gradient", {bottom[i]},
                           {runner_.bottom_gradient[i]});
    }
    for (size_t i = 0; i < param.size(); ++i) {
      if (!Learnt(i)) continue;
      error_ += Difference("second backward's parameter gradient", {param[i]},
                           {runner_.param_gradient[i]});
    }
    RETURN_IF_ERROR(runner_.Backward(gradient, GradientMode::kAdd, kInitial));
    for (size_t i = 0; i < bottom.size(); ++i) {
      if (Flows(i)) CheckAdded("bottom", bottom[i], runner_.bottom_gradient[i]);
    }
    for (size_t i = 0; i < param.size(); ++i) {
      if (Learnt(i)) CheckAdded("param", param[i], runner_.param_gradient[i]);
    }
    return absl::OkStatus();
  }

  void CheckAdded(const char* what, const Values& written,
                  const Values& added) {
    for (size_t j = 0; j < written.size(); ++j) {
      const float expected = kInitial + written[j];
      if (!(std::fabs(added[j] - expected) <=
            1e-5f * std::max(1.0f, std::fabs(expected)))) {
        absl::StrAppend(&error_, what, " gradient added [", j, "]: ", added[j],
                        ", not ", expected, "; ");
        return;
      }
    }
  }

  // Top 0 in bottom 0's memory, gradients too: the same values.
  absl::Status InPlace(const Case::Step& step, const Answer::Step& answer) {
    runner_.set_in_place(true);
    absl::Status status = runner_.Forward();
    if (status.ok()) {
      error_ +=
          Difference("top in place", {answer.top[0].values}, {runner_.top[0]});
      if (!step.top_gradient.empty()) {
        status =
            runner_.Backward(ValuesOf(step.top_gradient), GradientMode::kWrite);
      }
    }
    if (status.ok() && !step.top_gradient.empty()) {
      error_ += Difference("bottom gradient in place",
                           {answer.bottom_gradient[0].values},
                           {runner_.bottom_gradient[0]});
    }
    runner_.set_in_place(false);
    return status;
  }

  const Case& case_;
  LayerRunner& runner_;
  std::string error_;
};

}  // namespace

absl::StatusOr<Answer> RunLayer(const Case& c, Device& device) {
  caffe::LayerParameter layer;
  if (!google::protobuf::TextFormat::ParseFromString(c.text, &layer)) {
    return absl::InvalidArgumentError("no LayerParameter");
  }
  ASSIGN_OR_RETURN(auto runner,
                   LayerRunner::CreateOn(device, layer, c.phase,
                                         Shapes(c.steps[0].bottom), c.offer));
  Run run(c, *runner);
  Answer answer;
  for (size_t i = 0; i < c.steps.size(); ++i) {
    if (i > 0) RETURN_IF_ERROR(runner->Reshape(Shapes(c.steps[i].bottom)));
    RETURN_IF_ERROR(run.SetParams());
    ASSIGN_OR_RETURN(Answer::Step step, run.Step(c.steps[i]));
    answer.steps.push_back(std::move(step));
  }
  answer.error = run.error();
  return answer;
}

}  // namespace cssp::testing
