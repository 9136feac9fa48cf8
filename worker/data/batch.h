// A batch of raw records, read but not yet transformed.
#ifndef CSSP_WORKER_DATA_BATCH_H_
#define CSSP_WORKER_DATA_BATCH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "worker/data/data_source.h"
#include "worker/data/data_transformer.h"
#include "worker/data/record_dealer.h"

namespace cssp {

// Which batch: `records` positions from `first` on, under a seed.
struct BatchKey {
  int64_t first = 0;
  uint64_t seed = 0;
  int64_t records = 1;
  friend bool operator==(const BatchKey&, const BatchKey&) = default;
};

// One record's place in the batch's memory.
struct BatchItem {
  ImageShape shape;
  size_t offset = 0;        // bytes from the start of Batch::raw
  bool floats = false;      // fp32 rather than bytes
  int label = 0;
  RecordId id;
  TransformDraw draw;
};

// Thread-confined: whoever holds the lease.  Its memory grows to the largest
// batch ever held and is used again.
struct Batch {
  BatchKey key;
  std::vector<uint8_t> raw;
  std::vector<BatchItem> items;
  absl::Status status;      // not ok: the batch could not be read

  RecordView View(const BatchItem& item) const;
};

// Reads batches.  Thread-safe; borrows source and transformer.
class BatchReader {
 public:
  struct Options {
    bool shuffle = false;
    // Training begins at a drawn record among the first so many (rand_skip):
    // the same one for every worker, by the seed alone.  0: at the first.
    uint32_t rand_skip = 0;
  };
  BatchReader(const DataSource& source, const DataTransformer& transformer,
              const Options& options)
      : source_(source), transformer_(transformer), options_(options) {}

  // Fills `batch`, status included.
  void Read(const BatchKey& key, Batch* batch) const;

 private:
  absl::Status ReadItem(const RecordId& id, uint64_t seed, Batch* batch,
                        size_t* used, std::string* storage) const;

  const DataSource& source_;
  const DataTransformer& transformer_;
  const Options options_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_BATCH_H_
