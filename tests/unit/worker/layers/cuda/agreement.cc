#include "tests/unit/worker/layers/cuda/agreement.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "tests/testing/layer_runner.h"

namespace cssp::testing {
namespace {

Values Fill(const BottomCase& how, int64_t count, uint64_t seed) {
  Values values = how.fill == BottomCase::kGiven      ? how.values
                  : how.fill == BottomCase::kDistinct ? Distinct(count, seed)
                                                      : Normal(count, seed);
  std::mt19937_64 random(seed);
  for (float& v : values) {
    if (how.fill == BottomCase::kPositive) v = 0.5f + std::fabs(v);
    if (how.fill == BottomCase::kUnit) v = (random() >> 40) * 0x1p-24f;
    if (how.fill == BottomCase::kLabels) {
      v = static_cast<float>(how.low +
                             static_cast<int>(random() % (how.high - how.low)));
    }
  }
  return values;
}

// What a layer put out, by name.
struct Output {
  std::string name;
  Values values;
};
using Outputs = std::vector<Output>;

void Add(const char* name, const std::vector<Values>& blobs, Outputs* outputs) {
  for (size_t i = 0; i < blobs.size(); ++i) {
    outputs->push_back({absl::StrCat(name, " ", i), blobs[i]});
  }
}

class Agreement {
 public:
  Agreement(const LayerCase& layer, Device& gpu) : case_(layer), gpu_(gpu) {}

  std::vector<std::string> Run() {
    if (case_.bad_label) {
      const absl::Status status = CheckBadLabel();
      if (!status.ok()) Say(status.ToString());
      return lines_;
    }
    const absl::Status status = Compare(/*in_place=*/false);
    if (!status.ok()) Say(status.ToString());
    if (status.ok() && in_place_) {
      where_ = "in place, ";
      const absl::Status again = Compare(/*in_place=*/true);
      if (!again.ok()) Say(again.ToString());
    }
    return lines_;
  }

 private:
  absl::Status Compare(bool in_place) {
    std::unique_ptr<Device> cpu = MakeCpuDevice(1);
    ASSIGN_OR_RETURN(auto reference, MakeRun(*cpu, in_place));
    ASSIGN_OR_RETURN(auto run, MakeRun(gpu_, in_place));
    ASSIGN_OR_RETURN(const Outputs expected, AllPasses(*reference));
    ASSIGN_OR_RETURN(const Outputs first, AllPasses(*run));
    for (size_t i = 0; i < expected.size(); ++i) {
      CompareValues(expected[i], first[i]);
    }
    ASSIGN_OR_RETURN(run, MakeRun(gpu_, in_place));  // some keep a state
    ASSIGN_OR_RETURN(const Outputs second, AllPasses(*run));
    for (size_t i = 0; i < first.size(); ++i) {
      if (first[i].values.size() != second[i].values.size() ||
          std::memcmp(first[i].values.data(), second[i].values.data(),
                      first[i].values.size() * sizeof(float)) != 0) {
        Say(absl::StrCat(first[i].name, ": the second run has other bits"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckBadLabel() {
    ASSIGN_OR_RETURN(auto run, MakeRun(gpu_, false));
    ASSIGN_OR_RETURN(const Outputs outputs, AllPasses(*run));
    if (!std::isnan(outputs[0].values[0])) Say("a bad label gives no nan");
    for (size_t i = run->top.size(); i < outputs.size(); ++i) {
      for (const float v : outputs[i].values) {
        if (std::isnan(v)) {
          Say("a bad label gives nan in the " + outputs[i].name);
          break;
        }
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<LayerRunner>> MakeRun(Device& device,
                                                       bool in_place) {
    caffe::LayerParameter param = ParseLayer(case_.param);
    param.set_type(case_.type);
    for (int i = 0; i < case_.tops; ++i) {
      param.add_top(absl::StrCat("top", i));
    }
    std::vector<Shape> shapes;
    for (const BottomCase& b : case_.bottom) shapes.push_back(b.shape);
    absl::StatusOr<std::unique_ptr<LayerRunner>> run = LayerRunner::CreateOn(
        device, param, case_.phase, shapes, Offer::kForceCaffe);
    if (!run.ok()) return Annotate(run.status(), device.name());
    for (size_t i = 0; i < shapes.size(); ++i) {
      (*run)->bottom[i] = Fill(case_.bottom[i], shapes[i].count(), 7 + i);
    }
    for (size_t i = 0; i < (*run)->param.size(); ++i) {
      (*run)->param[i] =
          Fill({.fill = case_.params}, (*run)->param[i].size(), 31 + i);
    }
    (*run)->set_in_place(in_place);
    in_place_ = (*run)->layer().Traits().in_place;
    return run;
  }

  absl::StatusOr<Outputs> AllPasses(LayerRunner& run) {
    Outputs outputs;
    RETURN_IF_ERROR(Forward(run, &outputs));
    if (!run.layer().Traits().has_backward) return outputs;
    RETURN_IF_ERROR(Backward(run, GradientMode::kWrite, "written", &outputs));
    // A pass in place may have overwritten what the next one reads.
    Outputs same;
    RETURN_IF_ERROR(Forward(run, &same));
    RETURN_IF_ERROR(Backward(run, GradientMode::kAdd, "added", &outputs));
    return outputs;
  }

  absl::Status Forward(LayerRunner& run, Outputs* outputs) {
    run.layer().ParamsChanged();
    RETURN_IF_ERROR(run.Forward());
    Add("top", run.top, outputs);
    for (size_t i = 0; i < run.param_gradient.size(); ++i) {
      if (IsStatistic(run, i) && case_.phase == caffe::TRAIN) {
        outputs->push_back(
            {absl::StrCat("statistic ", i), run.param_gradient[i]});
      }
    }
    return absl::OkStatus();
  }

  absl::Status Backward(LayerRunner& run, GradientMode mode, const char* how,
                        Outputs* outputs) {
    std::vector<Values> top_gradient;
    for (const Shape& shape : run.top_shapes()) {
      top_gradient.push_back(Normal(shape.count(), 99 + top_gradient.size()));
    }
    RETURN_IF_ERROR(run.Backward(top_gradient, mode, 0.5f));
    for (size_t i = 0; i < run.bottom_gradient.size(); ++i) {
      if (!run.layer().propagates_to(static_cast<int>(i))) continue;
      outputs->push_back(
          {absl::StrCat(how, " bottom gradient ", i), run.bottom_gradient[i]});
    }
    for (size_t i = 0; i < run.param_gradient.size(); ++i) {
      if (IsStatistic(run, i)) continue;
      outputs->push_back({absl::StrCat(how, " parameter gradient ", i),
                          run.param_gradient[i]});
    }
    return absl::OkStatus();
  }

  static bool IsStatistic(LayerRunner& run, size_t i) {
    return run.layer().param_declarations()[i].kind == ParamKind::kStatistic;
  }

  void CompareValues(const Output& expected, const Output& got) {
    if (got.values.size() != expected.values.size()) {
      Say(absl::StrCat(expected.name, " has ", got.values.size(),
                       " values, on the CPU ", expected.values.size()));
      return;
    }
    double squares = 0;
    for (const float v : expected.values) squares += double{v} * v;
    const double rms =
        std::sqrt(squares / std::max<size_t>(expected.values.size(), 1));
    size_t differing = 0, worst_at = 0;
    double worst = -1;
    for (size_t i = 0; i < expected.values.size(); ++i) {
      const double e = expected.values[i], g = got.values[i];
      if (e == g) continue;  // infinities too
      const double error = std::fabs(g - e) / (std::fabs(e) + rms);
      if (error <= case_.tolerance) continue;
      ++differing;
      if (!(error <= worst)) {  // nan is worst
        worst = error;
        worst_at = i;
      }
    }
    if (differing == 0) return;
    Say(absl::StrFormat(
        "%s[%d] is %.8g, on the CPU %.8g: off by %.2g (%d of %d values differ "
        "by more than %.0e; rms %.3g)",
        expected.name, worst_at, got.values[worst_at],
        expected.values[worst_at], worst, differing, expected.values.size(),
        case_.tolerance, rms));
  }

  void Say(const std::string& what) {
    std::string shapes;
    for (const BottomCase& b : case_.bottom) {
      absl::StrAppend(&shapes, "[", b.shape.ToString(), "]");
    }
    lines_.push_back(absl::StrCat(case_.type, " {", case_.param, "} ", shapes,
                                  case_.phase == caffe::TEST ? " TEST" : "",
                                  ": ", where_, what));
  }

  const LayerCase& case_;
  Device& gpu_;
  bool in_place_ = false;
  std::string where_;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> Disagreements(const LayerCase& layer, Device& gpu) {
  return Agreement(layer, gpu).Run();
}

}  // namespace cssp::testing
