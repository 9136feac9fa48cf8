#include "worker/tools/features.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "proto/caffe.pb.h"
#include "worker/data/datum_writer.h"
#include "worker/solver/solver_nets.h"

namespace cssp {
namespace {

constexpr int64_t kLogEvery = 1000;

// One blob and the base that it goes to.
class FeatureWriter {
 public:
  FeatureWriter(std::string blob, std::unique_ptr<DatumWriter> base)
      : blob_(std::move(blob)), base_(std::move(base)) {}

  // The blob's items of one batch.
  absl::Status Append(Net& net) {
    Blob& blob = *net.blob(blob_);
    const Shape& shape = blob.shape();
    const absl::Span<const float> data = blob.data();
    const int64_t items = shape.num_axes() > 0 ? shape.dim(0) : 1;
    const int64_t floats = shape.count() / items;
    caffe::Datum datum;
    SetExtents(shape, &datum);
    for (int64_t n = 0; n < items; ++n) {
      datum.mutable_float_data()->Assign(data.begin() + n * floats,
                                         data.begin() + (n + 1) * floats);
      RETURN_IF_ERROR(base_->Put(absl::StrFormat("%010d", written_),
                                 datum.SerializeAsString()));
      if (++written_ % kLogEvery == 0)
        LOG(INFO) << "Extracted features of " << written_
                  << " query images for feature blob " << blob_;
    }
    return absl::OkStatus();
  }

  absl::Status Commit() {
    LOG(INFO) << "Extracted features of " << written_
              << " query images for feature blob " << blob_;
    return base_->Commit();
  }

 private:
  static void SetExtents(const Shape& shape, caffe::Datum* datum) {
    const bool fits = shape.num_axes() <= 4;
    datum->set_channels(
        static_cast<int>(fits ? shape.LegacyDim(1) : shape.count_from(1)));
    datum->set_height(static_cast<int>(fits ? shape.LegacyDim(2) : 1));
    datum->set_width(static_cast<int>(fits ? shape.LegacyDim(3) : 1));
  }

  std::string blob_;
  std::unique_ptr<DatumWriter> base_;
  int64_t written_ = 0;
};

absl::Status Check(Net& net, const FeatureOptions& options) {
  if (options.batches < 1)
    return absl::InvalidArgumentError("the number of batches must be > 0");
  if (options.blobs.size() != options.bases.size())
    return absl::InvalidArgumentError(
        absl::StrCat(options.blobs.size(), " blobs want as many bases, not ",
                     options.bases.size()));
  for (const std::string& blob : options.blobs) {
    if (net.blob(blob) != nullptr) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("unknown feature blob '", blob, "' in the net; it has ",
                     absl::StrJoin(net.blob_names(), ", ")));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ExtractFeatures(Net& net, const FeatureOptions& options) {
  RETURN_IF_ERROR(Check(net, options));
  std::vector<FeatureWriter> writers;
  for (size_t i = 0; i < options.blobs.size(); ++i) {
    ASSIGN_OR_RETURN(std::unique_ptr<DatumWriter> base,
                     CreateBase(options.format, options.bases[i]));
    writers.emplace_back(options.blobs[i], std::move(base));
  }
  StepState state;
  state.phase = net.phase();
  const int64_t batch_size = BatchSize(net);
  for (int batch = 0; batch < options.batches; ++batch) {
    state.clock = batch;
    state.first_record = batch * batch_size;
    RETURN_IF_ERROR(net.Forward(state, nullptr));
    for (FeatureWriter& writer : writers) RETURN_IF_ERROR(writer.Append(net));
  }
  for (FeatureWriter& writer : writers) RETURN_IF_ERROR(writer.Commit());
  return absl::OkStatus();
}

}  // namespace cssp
