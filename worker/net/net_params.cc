// Who owns which parameter, who shares it, and where it lies in the slab.
#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/net/net_graph.h"

namespace cssp {
namespace {

// As common/ps/slab_layout.h has it: blobs in list order on these boundaries.
constexpr int64_t kAlignFloats = 16;

// Thread-confined: one BindParams call.
class ParamBinder {
 public:
  ParamBinder(NetGraph& graph, bool log) : graph_(graph), log_(log) {}

  absl::Status BindLayer(int index) {
    GraphLayer& layer = graph_.layers[index];
    const caffe::LayerParameter& param = layer.layer->layer_param();
    const auto& declared = layer.layer->param_declarations();
    if (param.param_size() > static_cast<int>(declared.size()))
      return absl::InvalidArgumentError(
          absl::StrCat("has ", declared.size(), " parameter blobs, but ",
                       param.param_size(), " param entries are given"));
    for (size_t i = 0; i < declared.size(); ++i) {
      const caffe::ParamSpec spec = static_cast<int>(i) < param.param_size()
                                        ? param.param(i)
                                        : caffe::ParamSpec();
      const auto owner = owners_.find(spec.name());
      if (spec.name().empty() || owner == owners_.end()) {
        RETURN_IF_ERROR(Own(index, i, declared[i], spec));
      } else {
        RETURN_IF_ERROR(Share(index, i, declared[i], spec, owner->second));
      }
    }
    return absl::OkStatus();
  }

  // Slab order is completion of backward: last layer first.  A shared
  // parameter completes at its first user, who is its owner.
  void OrderSlab() {
    std::vector<int> order(graph_.params.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [this](int a, int b) {
      return graph_.params[a].layer > graph_.params[b].layer;
    });
    std::vector<int> place(order.size());
    std::vector<NetParam> params;
    std::vector<caffe::FillerParameter> fillers;
    for (size_t i = 0; i < order.size(); ++i) {
      place[order[i]] = static_cast<int>(i);
      params.push_back(std::move(graph_.params[order[i]]));
      fillers.push_back(std::move(graph_.fillers[order[i]]));
      params.back().offset = graph_.slab_floats;
      graph_.slab_floats +=
          (params.back().shape.count() + kAlignFloats - 1) / kAlignFloats *
          kAlignFloats;
    }
    graph_.params = std::move(params);
    graph_.fillers = std::move(fillers);
    for (GraphLayer& layer : graph_.layers) {
      for (int& param : layer.param) param = place[param];
    }
  }

 private:
  // What the prototxt said of an owned parameter.
  struct Given {
    bool lr_mult = false, decay_mult = false;
  };

  absl::Status Own(int index, int i, const ParamDeclaration& declared,
                   const caffe::ParamSpec& spec) {
    GraphLayer& layer = graph_.layers[index];
    NetParam param;
    param.key = spec.name().empty() ? absl::StrCat(layer.layer->name(), "/", i)
                                    : spec.name();
    if (declared.shape.count() == 0)
      return absl::InvalidArgumentError(
          absl::StrCat("parameter ", i, " is empty: its shape is ",
                       declared.shape.ToString()));
    const auto [it, fresh] = keys_.emplace(param.key, index);
    if (!fresh)
      return absl::InvalidArgumentError(absl::StrCat(
          "parameter key '", param.key, "' is also ",
          graph_.layers[it->second].label(),
          "'s: give the layers different names"));
    param.layer = index;
    param.index = i;
    param.shape = declared.shape;
    param.lr_mult = spec.lr_mult();
    param.decay_mult = spec.decay_mult();
    param.kind = declared.kind;
    param.moving_average_fraction = declared.moving_average_fraction;
    const int id = static_cast<int>(graph_.params.size());
    if (!spec.name().empty()) owners_[spec.name()] = id;
    given_.push_back({spec.has_lr_mult(), spec.has_decay_mult()});
    layer.param.push_back(id);
    // A statistic's "gradient" is written by forward, whatever its lr_mult.
    layer.param_needed.push_back(param.kind == ParamKind::kGradient &&
                                 param.lr_mult != 0);
    graph_.params.push_back(std::move(param));
    graph_.fillers.push_back(declared.filler);
    return absl::OkStatus();
  }

  absl::Status Share(int index, int i, const ParamDeclaration& declared,
                     const caffe::ParamSpec& spec, int id) {
    GraphLayer& layer = graph_.layers[index];
    NetParam& owner = graph_.params[id];
    const std::string who =
        absl::StrCat("'", spec.name(), "' owned by ",
                     graph_.layers[owner.layer].label());
    if (log_)
      LOG(INFO) << "Sharing parameters '" << spec.name()
                << "' owned by layer '"
                << graph_.layers[owner.layer].layer->name()
                << "', param index " << owner.index;
    const bool permissive =
        spec.share_mode() == caffe::ParamSpec_DimCheckMode_PERMISSIVE;
    if (permissive ? declared.shape.count() != owner.shape.count()
                   : declared.shape != owner.shape)
      return absl::InvalidArgumentError(absl::StrCat(
          "cannot share param ", who, ": ", permissive ? "count" : "shape",
          " mismatch; the owner's shape is ", owner.shape.ToString(),
          ", this layer needs ", declared.shape.ToString()));
    if (declared.kind != owner.kind)
      return absl::InvalidArgumentError(absl::StrCat(
          "cannot share param ", who,
          ": one is a statistic, the other is learnt"));
    RETURN_IF_ERROR(Agree("lr_mult", who, spec.has_lr_mult(), spec.lr_mult(),
                          &given_[id].lr_mult, &owner.lr_mult));
    RETURN_IF_ERROR(Agree("decay_mult", who, spec.has_decay_mult(),
                          spec.decay_mult(), &given_[id].decay_mult,
                          &owner.decay_mult));
    layer.param.push_back(id);
    const float lr_mult =
        spec.has_lr_mult() ? spec.lr_mult() : owner.lr_mult;
    layer.param_needed.push_back(declared.kind == ParamKind::kGradient &&
                                 lr_mult != 0);
    return absl::OkStatus();
  }

  // A sharer may give a multiplier that the owner left out, none that differs.
  static absl::Status Agree(const char* field, const std::string& who,
                            bool has, float value, bool* owner_has,
                            float* owner_value) {
    if (!has) return absl::OkStatus();
    if (*owner_has && value != *owner_value)
      return absl::InvalidArgumentError(
          absl::StrCat("shared param ", who, " has mismatched ", field, ": ",
                       *owner_value, " there, ", value, " here"));
    *owner_has = true;
    *owner_value = value;
    return absl::OkStatus();
  }

  NetGraph& graph_;
  const bool log_;
  std::map<std::string, int, std::less<>> owners_;  // by ParamSpec name
  std::map<std::string, int, std::less<>> keys_;    // key -> layer
  std::vector<Given> given_;
};

}  // namespace

absl::Status BindParams(NetGraph& graph, bool log) {
  ParamBinder binder(graph, log);
  for (size_t i = 0; i < graph.layers.size(); ++i)
    RETURN_IF_ERROR(graph.Annotated(binder.BindLayer(i), i));
  binder.OrderSlab();
  return absl::OkStatus();
}

}  // namespace cssp
