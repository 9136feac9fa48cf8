#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/tools/converters.h"

namespace cssp {
namespace {

// Sums in double: exact for bytes.
void AddRecord(const RecordView& record, std::vector<double>* sums) {
  double* sum = sums->data();
  if (!record.bytes.empty()) {
    for (const char byte : record.bytes)
      *sum++ += static_cast<unsigned char>(byte);
  } else {
    for (const float value : record.floats) *sum++ += value;
  }
}

}  // namespace

absl::StatusOr<MeanImage> ComputeImageMean(BaseFormat format,
                                           const std::string& base,
                                           int64_t* records) {
  ASSIGN_OR_RETURN(const std::unique_ptr<DataSource> source,
                   OpenBase(format, base));
  std::string storage;
  MeanImage mean;
  std::vector<double> sums;
  for (int64_t i = 0; i < source->size(); ++i) {
    ASSIGN_OR_RETURN(const RecordView record, source->Read(i, &storage));
    if (i == 0) {
      mean.channels = record.channels;
      mean.height = record.height;
      mean.width = record.width;
      sums.assign(size_t{1} * mean.channels * mean.height * mean.width, 0);
    } else if (record.channels != mean.channels ||
               record.height != mean.height || record.width != mean.width) {
      return absl::InvalidArgumentError(absl::StrCat(
          base, ": record ", i, " is ", record.channels, " x ", record.height,
          " x ", record.width, ", record 0 ", mean.channels, " x ", mean.height,
          " x ", mean.width, ": no mean of unlike shapes"));
    }
    AddRecord(record, &sums);
    if ((i + 1) % 10000 == 0) LOG(INFO) << "Processed " << i + 1 << " files.";
  }
  for (const double sum : sums)
    mean.values.push_back(static_cast<float>(sum / source->size()));
  if (records != nullptr) *records = source->size();
  return mean;
}

}  // namespace cssp
