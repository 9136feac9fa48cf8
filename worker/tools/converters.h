// Published data sets to bases of Datum records, as Caffe's tools make them.
#ifndef CSSP_WORKER_TOOLS_CONVERTERS_H_
#define CSSP_WORKER_TOOLS_CONVERTERS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/data/data_source.h"
#include "worker/data/mean_file.h"

namespace cssp {

// CIFAR-10's binary batches data_batch_1.bin .. data_batch_5.bin and
// test_batch.bin in `input` become cifar10_train_<format> and
// cifar10_test_<format> in `output`: records in file order, keys "%05d".
// Both bases or none.  NotFound: a batch is missing.  DataLoss: a batch is no
// whole number of records (1 label byte, 3072 pixel bytes), differs in length
// from the other training batches, or holds a label above 9.
absl::Status ConvertCifar10(const std::string& input, const std::string& output,
                            BaseFormat format);

// An idx pair (images 28x28 or other, labels) becomes the base `output`, keys
// "%08d".  NotFound, DataLoss as above.
absl::Status ConvertMnist(const std::string& images, const std::string& labels,
                          const std::string& output, BaseFormat format);

// As many random pairs as there are images: records of two channels, one of
// each image, labelled 1 where both show the same digit, else 0.  A pair is a
// function of the seed and its number.
absl::Status ConvertMnistSiamese(const std::string& images,
                                 const std::string& labels,
                                 const std::string& output, BaseFormat format,
                                 uint64_t seed);

// The mean over all records of a base, pixel by pixel.  InvalidArgument when
// records differ in shape.  `records` (may be null) receives their number.
absl::StatusOr<MeanImage> ComputeImageMean(BaseFormat format,
                                           const std::string& base,
                                           int64_t* records);

}  // namespace cssp

#endif  // CSSP_WORKER_TOOLS_CONVERTERS_H_
