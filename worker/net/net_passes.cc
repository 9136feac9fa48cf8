#include "worker/net/net_passes.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model_file/prototxt.h"

namespace cssp {
namespace {

bool HasStage(const caffe::NetState& state, const std::string& stage) {
  return std::find(state.stage().begin(), state.stage().end(), stage) !=
         state.stage().end();
}

// Empty where `state` meets every condition of `rule`.
std::string WhyNotMet(const caffe::NetState& state,
                      const caffe::NetStateRule& rule) {
  if (rule.has_phase() && rule.phase() != state.phase())
    return absl::StrCat("The NetState phase (", state.phase(),
                        ") differed from the phase (", rule.phase(), ")");
  if (rule.has_min_level() && state.level() < rule.min_level())
    return absl::StrCat("The NetState level (", state.level(),
                        ") is below the min_level (", rule.min_level(), ")");
  if (rule.has_max_level() && state.level() > rule.max_level())
    return absl::StrCat("The NetState level (", state.level(),
                        ") is above the max_level (", rule.max_level(), ")");
  for (const std::string& stage : rule.stage())
    if (!HasStage(state, stage))
      return absl::StrCat("The NetState lacks stage '", stage, "'");
  for (const std::string& stage : rule.not_stage())
    if (HasStage(state, stage))
      return absl::StrCat("The NetState has not_stage '", stage, "'");
  return "";
}

template <class Rules>
bool AnyRuleMet(const caffe::NetState& state, const Rules& rules) {
  return std::any_of(rules.begin(), rules.end(), [&](const auto& rule) {
    return StateMeetsRule(state, rule);
  });
}

bool IsIncluded(const caffe::LayerParameter& layer,
                const caffe::NetState& state) {
  if (layer.include_size() > 0) return AnyRuleMet(state, layer.include());
  return !AnyRuleMet(state, layer.exclude());
}

}  // namespace

absl::StatusOr<caffe::NetParameter> ReadNet(const std::string& path) {
  ASSIGN_OR_RETURN(caffe::NetParameter net, ReadNetText(path));
  absl::StatusOr<caffe::NetParameter> upgraded = UpgradeNet(std::move(net));
  if (!upgraded.ok()) return Annotate(upgraded.status(), path);
  return upgraded;
}

bool StateMeetsRule(const caffe::NetState& state,
                    const caffe::NetStateRule& rule) {
  return WhyNotMet(state, rule).empty();
}

absl::StatusOr<caffe::NetParameter> FilterNet(const caffe::NetParameter& net,
                                              const caffe::NetState& state) {
  caffe::NetParameter filtered;
  for (const caffe::LayerParameter& layer : net.layer()) {
    if (layer.include_size() > 0 && layer.exclude_size() > 0)
      return absl::InvalidArgumentError(
          absl::StrCat("layer '", layer.name(),
                       "': both include and exclude rules: keep one kind"));
    if (IsIncluded(layer, state)) *filtered.add_layer() = layer;
  }
  filtered.set_name(net.name());
  if (net.has_force_backward())
    filtered.set_force_backward(net.force_backward());
  if (net.has_debug_info()) filtered.set_debug_info(net.debug_info());
  *filtered.mutable_state() = state;
  return filtered;
}

absl::StatusOr<caffe::NetParameter> FilterNet(const caffe::NetParameter& net) {
  return FilterNet(net, net.state());
}

std::vector<std::string> ExplainRules(const caffe::NetParameter& net,
                                      const caffe::NetState& state) {
  std::vector<std::string> notes;
  for (const caffe::LayerParameter& layer : net.layer()) {
    for (const auto* rules : {&layer.include(), &layer.exclude()}) {
      for (const caffe::NetStateRule& rule : *rules) {
        const std::string why = WhyNotMet(state, rule);
        if (!why.empty())
          notes.push_back(
              absl::StrCat(why, " specified by a rule in layer ",
                           layer.name()));
      }
    }
  }
  return notes;
}

absl::StatusOr<caffe::NetParameter> PrepareNet(
    const caffe::NetParameter& raw, const caffe::NetState& state,
    std::vector<std::string>* notes) {
  ASSIGN_OR_RETURN(const caffe::NetParameter upgraded, UpgradeNet(raw));
  if (notes != nullptr) *notes = ExplainRules(upgraded, state);
  ASSIGN_OR_RETURN(const caffe::NetParameter filtered,
                   FilterNet(upgraded, state));
  return InsertSplits(filtered);
}

}  // namespace cssp
