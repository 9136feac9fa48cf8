// InsertSplits: one consumer per blob.
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/net/net_passes.h"

namespace cssp {
namespace {

// One version of a blob: what top `top` of layer `layer` produces.  An in-place
// layer makes a new version under the old name.
using TopId = std::pair<int, int>;

struct Version {
  int consumers = 0;
  float loss_weight = 0;
  int next_split = 0;  // split top that the next consumer takes
};

// Thread-confined: one call of InsertSplits.
class SplitInserter {
 public:
  explicit SplitInserter(const caffe::NetParameter& net) : net_(net) {}

  absl::Status CountConsumers() {
    for (int i = 0; i < net_.layer_size(); ++i) RETURN_IF_ERROR(CountLayer(i));
    return absl::OkStatus();
  }

  caffe::NetParameter Rewrite() {
    caffe::NetParameter result = net_;
    result.clear_layer();
    for (int i = 0; i < net_.layer_size(); ++i) RewriteLayer(i, &result);
    return result;
  }

 private:
  absl::Status CountLayer(int index) {
    const caffe::LayerParameter& layer = net_.layer(index);
    std::vector<TopId> sources;
    for (int j = 0; j < layer.bottom_size(); ++j) {
      const auto source = latest_.find(layer.bottom(j));
      if (source == latest_.end())
        return absl::InvalidArgumentError(
            absl::StrCat("layer '", layer.name(), "': unknown bottom blob '",
                         layer.bottom(j), "' (bottom index ", j,
                         "): no earlier layer has such a top"));
      ++versions_[source->second].consumers;
      sources.push_back(source->second);
    }
    sources_.push_back(std::move(sources));
    for (int j = 0; j < layer.top_size(); ++j)
      latest_[layer.top(j)] = {index, j};
    CountLosses(index);
    return absl::OkStatus();
  }

  void CountLosses(int index) {
    const caffe::LayerParameter& layer = net_.layer(index);
    const int weighted = std::min(layer.loss_weight_size(), layer.top_size());
    for (int j = 0; j < weighted; ++j) {
      if (layer.loss_weight(j) == 0) continue;
      Version& version = versions_[{index, j}];
      version.loss_weight = layer.loss_weight(j);
      ++version.consumers;
      version.next_split = 1;  // top 0 carries the loss
    }
  }

  std::string SplitName(TopId top) const {
    const caffe::LayerParameter& layer = net_.layer(top.first);
    return absl::StrCat(layer.top(top.second), "_", layer.name(), "_",
                        top.second, "_split");
  }

  void RewriteLayer(int index, caffe::NetParameter* result) {
    const int at = result->layer_size();
    *result->add_layer() = net_.layer(index);
    caffe::LayerParameter* layer = result->mutable_layer(at);
    for (int j = 0; j < layer->bottom_size(); ++j) {
      const TopId source = sources_[index][j];
      Version& version = versions_[source];
      if (version.consumers > 1)
        layer->set_bottom(
            j, absl::StrCat(SplitName(source), "_", version.next_split++));
    }
    for (int j = 0; j < net_.layer(index).top_size(); ++j) {
      const Version& version = versions_[{index, j}];
      if (version.consumers <= 1) continue;
      // The weight moves; 0 rather than unset, which means 1 to a loss layer.
      if (version.loss_weight != 0)
        result->mutable_layer(at)->set_loss_weight(j, 0);
      AddSplit({index, j}, version, result->add_layer());
    }
  }

  void AddSplit(TopId top, const Version& version,
                caffe::LayerParameter* split) const {
    split->set_name(SplitName(top));
    split->set_type("Split");
    split->add_bottom(net_.layer(top.first).top(top.second));
    for (int k = 0; k < version.consumers; ++k) {
      split->add_top(absl::StrCat(split->name(), "_", k));
      if (version.loss_weight != 0)
        split->add_loss_weight(k == 0 ? version.loss_weight : 0);
    }
  }

  const caffe::NetParameter& net_;
  std::map<std::string, TopId> latest_;  // blob name -> its last version
  std::map<TopId, Version> versions_;
  std::vector<std::vector<TopId>> sources_;  // per layer, per bottom
};

}  // namespace

absl::StatusOr<caffe::NetParameter> InsertSplits(
    const caffe::NetParameter& net) {
  SplitInserter inserter(net);
  RETURN_IF_ERROR(inserter.CountConsumers());
  return inserter.Rewrite();
}

}  // namespace cssp
