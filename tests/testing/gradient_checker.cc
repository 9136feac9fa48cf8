#include "tests/testing/gradient_checker.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp::testing {
namespace {

absl::Status Differs(absl::string_view what, size_t i, size_t j,
                     double analytic, double expected) {
  return absl::InternalError(absl::StrCat(what, " ", i, "[", j, "]: ",
                                          analytic, ", expected ", expected));
}

class Checker {
 public:
  Checker(const GradientCheck& check, LayerRunner& run)
      : check_(check), run_(run) {}

  absl::Status Run() {
    SetInputs();
    RETURN_IF_ERROR(run_.Forward());
    for (const Shape& shape : run_.top_shapes()) {
      weights_.push_back(Normal(shape.count(), 99 + weights_.size()));
    }
    RETURN_IF_ERROR(run_.Backward(weights_, GradientMode::kWrite));
    const std::vector<Values> bottoms = run_.bottom_gradient;
    const std::vector<Values> params = run_.param_gradient;
    RETURN_IF_ERROR(run_.Backward(weights_, GradientMode::kAdd, 0.5f));
    RETURN_IF_ERROR(CheckAdded("bottom gradient", bottoms,
                               run_.bottom_gradient, &Checker::Flows));
    RETURN_IF_ERROR(CheckAdded("parameter gradient", params,
                               run_.param_gradient, &Checker::Learnt));
    for (size_t i = 0; i < bottoms.size(); ++i) {
      if (!Flows(i) || !(check_.bottoms >> i & 1)) continue;
      RETURN_IF_ERROR(
          CheckBlob("bottom gradient", i, run_.bottom[i], bottoms[i]));
    }
    for (size_t i = 0; i < params.size(); ++i) {
      if (!Learnt(i)) continue;
      RETURN_IF_ERROR(
          CheckBlob("parameter gradient", i, run_.param[i], params[i]));
    }
    return absl::OkStatus();
  }

 private:
  bool Flows(size_t i) const { return run_.layer().propagates_to(i); }
  bool Learnt(size_t i) const {
    return run_.layer().param_declarations()[i].kind == ParamKind::kGradient;
  }

  void SetInputs() {
    for (size_t i = 0; i < run_.bottom.size(); ++i) {
      const bool given = i < check_.values.size() && !check_.values[i].empty();
      run_.bottom[i] =
          given ? check_.values[i] : Normal(run_.bottom[i].size(), 7 + i);
    }
    for (size_t i = 0; i < run_.param.size(); ++i) {
      run_.param[i] = i < check_.params.size()
                          ? check_.params[i]
                          : Normal(run_.param[i].size(), 31 + i);
    }
  }

  absl::Status Objective(double* sum) {
    run_.layer().ParamsChanged();
    RETURN_IF_ERROR(run_.Forward());
    *sum = 0;
    for (size_t i = 0; i < weights_.size(); ++i) {
      for (size_t j = 0; j < weights_[i].size(); ++j) {
        *sum += double{weights_[i][j]} * run_.top[i][j];
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckBlob(const char* what, size_t index, Values& values,
                         const Values& analytic) {
    for (size_t j = 0; j < values.size(); ++j) {
      const float kept = values[j];
      if (!run_.bottom.empty() && &values == &run_.bottom[0] &&
          std::fabs(kept - check_.kink) < check_.kink_range) {
        continue;
      }
      double above, below;
      values[j] = static_cast<float>(kept + check_.step);
      RETURN_IF_ERROR(Objective(&above));
      const double span_high = values[j];
      values[j] = static_cast<float>(kept - check_.step);
      RETURN_IF_ERROR(Objective(&below));
      const double numeric = (above - below) / (span_high - values[j]);
      values[j] = kept;
      const double scale =
          std::max({std::fabs(double{analytic[j]}), std::fabs(numeric), 1.0});
      if (!(std::fabs(analytic[j] - numeric) <= check_.threshold * scale)) {
        return Differs(what, index, j, analytic[j], numeric);
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckAdded(const char* what, const std::vector<Values>& written,
                          const std::vector<Values>& added,
                          bool (Checker::*counts)(size_t) const) {
    for (size_t i = 0; i < written.size(); ++i) {
      if (!(this->*counts)(i)) continue;
      for (size_t j = 0; j < written[i].size(); ++j) {
        const double expected = 0.5 + written[i][j];
        if (!(std::fabs(added[i][j] - expected) <=
              1e-5 * std::max(1.0, std::fabs(expected)))) {
          return Differs(absl::StrCat("added ", what), i, j, added[i][j],
                         expected);
        }
      }
    }
    return absl::OkStatus();
  }

  const GradientCheck& check_;
  LayerRunner& run_;
  std::vector<Values> weights_;
};

}  // namespace

std::string CheckGradients(const GradientCheck& check) {
  bool blocked = false;
  for (const Shape& shape : check.bottom) blocked |= shape.num_axes() == 4;
  for (Offer offer : {Offer::kForceCaffe, Offer::kCaffe, Offer::kBlocked8,
                      Offer::kBlocked16}) {
    if (!blocked && offer != Offer::kCaffe) continue;
    auto run =
        LayerRunner::Create(check.layer, check.phase, check.bottom, offer);
    absl::Status status = run.status();
    if (status.ok()) status = Checker(check, **run).Run();
    if (!status.ok()) {
      return absl::StrCat(OfferName(offer), ": ", status.ToString());
    }
  }
  return "";
}

}  // namespace cssp::testing
