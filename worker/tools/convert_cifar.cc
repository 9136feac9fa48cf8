#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "proto/caffe.pb.h"
#include "worker/data/datum_writer.h"
#include "worker/tools/converters.h"

namespace cssp {
namespace {

namespace fs = std::filesystem;

constexpr int kSide = 32;
constexpr int kPixels = 3 * kSide * kSide;
constexpr int kRecordBytes = 1 + kPixels;
constexpr int kTrainBatches = 5;

// Records in a batch file.
absl::StatusOr<int64_t> CountRecords(const std::string& path) {
  std::error_code error;
  const uintmax_t bytes = fs::file_size(path, error);
  if (error) {
    return absl::NotFoundError(absl::StrCat(
        path, ": ", error.message(),
        "; examples/cifar10/get_cifar10.sh fetches CIFAR-10's binary batches"));
  }
  if (bytes == 0 || bytes % kRecordBytes != 0) {
    return absl::DataLossError(absl::StrCat(
        path, ": ", bytes, " bytes are no whole number of records of ",
        kRecordBytes, ": truncated? fetch it again"));
  }
  return static_cast<int64_t>(bytes / kRecordBytes);
}

// Appends a batch's records to a base, keys counting on from *next_key.
absl::Status AppendBatch(const std::string& path, int64_t records,
                         int64_t* next_key, DatumWriter* base) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> record(kRecordBytes);
  caffe::Datum datum;
  datum.set_channels(3);
  datum.set_height(kSide);
  datum.set_width(kSide);
  for (int64_t i = 0; i < records; ++i) {
    if (!file.read(record.data(), kRecordBytes)) {
      return absl::DataLossError(
          absl::StrCat(path, ": cannot read record ", i));
    }
    const int label = static_cast<unsigned char>(record[0]);
    if (label > 9) {
      return absl::DataLossError(absl::StrCat(
          path, ": record ", i, " has label ", label,
          ", CIFAR-10 has 0 to 9: not a batch of CIFAR-10, or damaged"));
    }
    datum.set_label(label);
    datum.set_data(record.data() + 1, kPixels);
    RETURN_IF_ERROR(base->Put(absl::StrFormat("%05d", (*next_key)++),
                              datum.SerializeAsString()));
  }
  return absl::OkStatus();
}

std::string BatchPath(const std::string& input, int batch) {
  return absl::StrCat(input, "/data_batch_", batch, ".bin");
}

// Records a training batch holds: the same in each, else one is cut short.
absl::StatusOr<int64_t> CheckTrainBatches(const std::string& input) {
  ASSIGN_OR_RETURN(const int64_t records, CountRecords(BatchPath(input, 1)));
  for (int batch = 2; batch <= kTrainBatches; ++batch) {
    ASSIGN_OR_RETURN(const int64_t held, CountRecords(BatchPath(input, batch)));
    if (held == records) continue;
    return absl::DataLossError(absl::StrCat(
        BatchPath(input, batch), ": holds ", held, " records, ",
        BatchPath(input, 1), " ", records, ": truncated? fetch it again"));
  }
  return records;
}

}  // namespace

absl::Status ConvertCifar10(const std::string& input, const std::string& output,
                            BaseFormat format) {
  const char* suffix = format == BaseFormat::kLmdb ? "lmdb" : "leveldb";
  ASSIGN_OR_RETURN(const int64_t train_records, CheckTrainBatches(input));
  const std::string test_batch = absl::StrCat(input, "/test_batch.bin");
  ASSIGN_OR_RETURN(const int64_t test_records, CountRecords(test_batch));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<DatumWriter> train,
      CreateBase(format, absl::StrCat(output, "/cifar10_train_", suffix)));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<DatumWriter> test,
      CreateBase(format, absl::StrCat(output, "/cifar10_test_", suffix)));
  int64_t key = 0;
  LOG(INFO) << "Writing Training data";
  for (int batch = 1; batch <= kTrainBatches; ++batch) {
    LOG(INFO) << "Training Batch " << batch;
    RETURN_IF_ERROR(
        AppendBatch(BatchPath(input, batch), train_records, &key, train.get()));
  }
  LOG(INFO) << "Writing Testing data";
  key = 0;
  RETURN_IF_ERROR(AppendBatch(test_batch, test_records, &key, test.get()));
  RETURN_IF_ERROR(train->Commit());
  return test->Commit();
}

}  // namespace cssp
