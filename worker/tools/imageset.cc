#include "worker/tools/imageset.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "proto/caffe.pb.h"
#include "worker/data/datum_writer.h"
#include "worker/data/image_list.h"
#include "worker/data/record_dealer.h"
#include "worker/tools/ordered_work.h"
#include "worker/tools/progress_bar.h"

namespace cssp {
namespace {

constexpr int64_t kLogEvery = 1000;

struct MadeRecord {
  absl::Status status;
  std::string datum;  // serialised
  ImageFormat format = ImageFormat::kJpeg;
  int channels = 0, height = 0, width = 0;
};

// Immutable; shared by the threads.
class RecordMaker {
 public:
  explicit RecordMaker(const ImagesetOptions& options) : options_(options) {}

  MadeRecord Make(const ImageListEntry& entry) const {
    MadeRecord record;
    record.status = Annotate(Fill(entry, &record),
                             absl::StrCat(options_.list, ":", entry.line));
    return record;
  }

 private:
  absl::Status Fill(const ImageListEntry& entry, MadeRecord* record) const {
    const std::string path = absl::StrCat(options_.root, entry.path);
    std::string bytes;
    RETURN_IF_ERROR(ReadImageBytes(path, &bytes));
    Image image;
    RETURN_IF_ERROR(Annotate(
        DecodeImage(bytes, options_.gray ? ColorMode::kGray : ColorMode::kColor,
                    &image),
        path));
    caffe::Datum datum;
    datum.set_label(entry.label);
    if (options_.encoded) {
      RETURN_IF_ERROR(Compress(path, &bytes, &image));
      datum.set_encoded(true);
      datum.set_data(std::move(bytes));
    } else {
      Resize(&image);
      datum.set_channels(image.channels);
      datum.set_height(image.height);
      datum.set_width(image.width);
      ToPlanes(image, datum.mutable_data());
    }
    record->channels = image.channels;
    record->height = image.height;
    record->width = image.width;
    record->datum = datum.SerializeAsString();
    return absl::OkStatus();
  }

  // `bytes` as they are where nothing is to be changed.
  absl::Status Compress(const std::string& path, std::string* bytes,
                        Image* image) const {
    ASSIGN_OR_RETURN(const ImageFormat is, DetectImageFormat(*bytes));
    ImageFormat wanted = is;
    if (options_.encode_type.has_value()) {
      wanted = *options_.encode_type;
    } else {
      const absl::StatusOr<ImageFormat> named =
          ParseImageFormat(path.substr(path.rfind('.') + 1));
      if (named.ok()) wanted = *named;
    }
    // A gray file is never kept as a colour one, nor the reverse.
    Image stored;
    RETURN_IF_ERROR(DecodeImage(*bytes, ColorMode::kAsStored, &stored));
    if (wanted == is && options_.height == 0 &&
        stored.channels == image->channels)
      return absl::OkStatus();
    Resize(image);
    ASSIGN_OR_RETURN(*bytes, EncodeImage(*image, wanted));
    return absl::OkStatus();
  }

  void Resize(Image* image) const {
    if (options_.height == 0) return;
    Image resized;
    ResizeBilinear(*image, options_.height, options_.width, &resized);
    *image = std::move(resized);
  }

  const ImagesetOptions& options_;
};

absl::Status CheckOptions(const ImagesetOptions& options) {
  if ((options.height == 0) != (options.width == 0) || options.height < 0 ||
      options.width < 0)
    return absl::InvalidArgumentError(
        "give resize_height and resize_width, both > 0, or neither");
  return absl::OkStatus();
}

// Thread-confined: writes what the threads have made.
class BaseMaker {
 public:
  BaseMaker(const ImagesetOptions& options, int64_t total, DatumWriter& base)
      : options_(options), base_(base), bar_(total, options.progress) {}

  absl::Status Take(int64_t index, const ImageListEntry& entry,
                    MadeRecord record) {
    if (!record.status.ok()) {
      LOG(WARNING) << record.status.message() << ": left out";
      ++counts_.skipped;
      return absl::OkStatus();
    }
    if (options_.check_size) RETURN_IF_ERROR(CheckSize(entry, record));
    RETURN_IF_ERROR(
        base_.Put(absl::StrFormat("%08d_%s", index, entry.path), record.datum));
    ++counts_.written;
    bar_.Show(index + 1);
    if (!options_.progress && counts_.written % kLogEvery == 0)
      LOG(INFO) << "Processed " << counts_.written << " files.";
    return absl::OkStatus();
  }
  const ImagesetCounts& counts() const { return counts_; }

 private:
  absl::Status CheckSize(const ImageListEntry& entry,
                         const MadeRecord& record) {
    if (first_.empty()) {
      first_ = entry.path;
      first_record_ = record;
      first_record_.datum.clear();
    }
    if (record.height == first_record_.height &&
        record.width == first_record_.width &&
        record.channels == first_record_.channels)
      return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        options_.list, ":", entry.line, ": ", entry.path, " is ", record.height,
        " x ", record.width, ", ", first_, " ", first_record_.height, " x ",
        first_record_.width, ": resize them, or leave check_size out"));
  }

  const ImagesetOptions& options_;
  DatumWriter& base_;
  ProgressBar bar_;
  ImagesetCounts counts_;
  std::string first_;
  MadeRecord first_record_;
};

}  // namespace

absl::StatusOr<ImagesetCounts> ConvertImageset(const ImagesetOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(const std::vector<ImageListEntry> entries,
                   ReadImageList(options.list));
  const auto total = static_cast<int64_t>(entries.size());
  LOG(INFO) << "A total of " << total << " images.";
  ASSIGN_OR_RETURN(const std::unique_ptr<DatumWriter> base,
                   CreateBase(options.format, options.output));
  const auto entry_at = [&](int64_t i) -> const ImageListEntry& {
    return entries[options.shuffle ? PermuteIndex(i, total, options.seed, 0)
                                   : i];
  };
  const RecordMaker maker(options);
  BaseMaker writer(options, total, *base);
  OrderedWork<MadeRecord> work(total, options.threads);
  RETURN_IF_ERROR(work.Run([&](int64_t i) { return maker.Make(entry_at(i)); },
                           [&](int64_t i, MadeRecord record) {
                             return writer.Take(i, entry_at(i),
                                                std::move(record));
                           }));
  if (writer.counts().written == 0)
    return absl::InvalidArgumentError(
        absl::StrCat(options.list, ": none of its images could be read"));
  RETURN_IF_ERROR(base->Commit());
  return writer.counts();
}

}  // namespace cssp
