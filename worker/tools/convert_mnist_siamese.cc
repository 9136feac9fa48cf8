#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/logging.h"
#include "common/base/philox.h"
#include "common/base/status_macros.h"
#include "proto/caffe.pb.h"
#include "worker/data/datum_writer.h"
#include "worker/tools/converters.h"
#include "worker/tools/idx_file.h"

namespace cssp {
namespace {

constexpr uint32_t kPairDraws = 0x70616972;  // "pair"

}  // namespace

absl::Status ConvertMnistSiamese(const std::string& image_path,
                                 const std::string& label_path,
                                 const std::string& output, BaseFormat format,
                                 uint64_t seed) {
  IdxFile images, labels;
  RETURN_IF_ERROR(OpenIdxPair(image_path, label_path, &images, &labels));
  ASSIGN_OR_RETURN(const std::unique_ptr<DatumWriter> base,
                   CreateBase(format, output));
  const uint32_t items = images.extent(0);
  const size_t plane = size_t{images.extent(1)} * images.extent(2);
  LOG(INFO) << "A total of " << items << " items.";
  LOG(INFO) << "Rows: " << images.extent(1) << " Cols: " << images.extent(2);
  std::string pixels(2 * plane, 0);
  caffe::Datum datum;
  datum.set_channels(2);  // one of each image
  datum.set_height(static_cast<int>(images.extent(1)));
  datum.set_width(static_cast<int>(images.extent(2)));
  for (uint32_t pair = 0; pair < items; ++pair) {
    const PhiloxBlock draw = Philox(seed, {pair, 0, 0, kPairDraws});
    char label[2] = {};
    for (int k = 0; k < 2; ++k) {
      const int64_t item = BoundedDraw(draw[k], items);
      if (!images.ReadRecord(item, pixels.data() + k * plane, plane) ||
          !labels.ReadRecord(item, &label[k], 1))
        return absl::DataLossError(
            absl::StrCat(image_path, ": cannot read record ", item));
    }
    datum.set_data(pixels);
    datum.set_label(label[0] == label[1] ? 1 : 0);
    RETURN_IF_ERROR(
        base->Put(absl::StrFormat("%08d", pair), datum.SerializeAsString()));
  }
  RETURN_IF_ERROR(base->Commit());
  LOG(INFO) << "Processed " << items << " pairs.";
  return absl::OkStatus();
}

}  // namespace cssp
