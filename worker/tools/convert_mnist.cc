#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "proto/caffe.pb.h"
#include "worker/data/datum_writer.h"
#include "worker/tools/converters.h"
#include "worker/tools/idx_file.h"

namespace cssp {

absl::Status ConvertMnist(const std::string& image_path,
                          const std::string& label_path,
                          const std::string& output, BaseFormat format) {
  IdxFile images, labels;
  RETURN_IF_ERROR(OpenIdxPair(image_path, label_path, &images, &labels));
  ASSIGN_OR_RETURN(const std::unique_ptr<DatumWriter> base,
                   CreateBase(format, output));
  const uint32_t rows = images.extent(1), columns = images.extent(2);
  LOG(INFO) << "A total of " << images.extent(0) << " items.";
  LOG(INFO) << "Rows: " << rows << " Cols: " << columns;
  std::vector<char> pixels(size_t{rows} * columns);
  caffe::Datum datum;
  datum.set_channels(1);
  datum.set_height(static_cast<int>(rows));
  datum.set_width(static_cast<int>(columns));
  for (uint32_t i = 0; i < images.extent(0); ++i) {
    char label = 0;
    if (!images.Read(pixels.data(), pixels.size()) || !labels.Read(&label, 1))
      return absl::DataLossError(
          absl::StrCat(image_path, ": cannot read record ", i));
    datum.set_data(pixels.data(), pixels.size());
    datum.set_label(static_cast<unsigned char>(label));
    RETURN_IF_ERROR(
        base->Put(absl::StrFormat("%08d", i), datum.SerializeAsString()));
  }
  RETURN_IF_ERROR(base->Commit());
  LOG(INFO) << "Processed " << images.extent(0) << " files.";
  return absl::OkStatus();
}

}  // namespace cssp
