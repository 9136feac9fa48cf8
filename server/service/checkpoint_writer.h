// Writes retained cuts to the store, behind the training's back.
#ifndef CSSP_SERVER_SERVICE_CHECKPOINT_WRITER_H_
#define CSSP_SERVER_SERVICE_CHECKPOINT_WRITER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/bounded_queue.h"
#include "common/base/thread.h"
#include "common/optim/plateau.h"
#include "proto/control.pb.h"
#include "server/service/metrics.h"
#include "server/shard/buffer_pool.h"
#include "server/shard/param_table.h"
#include "server/storage/param_store.h"

namespace cssp {

// One server's part of a cut.  The buffers' references belong to the shard
// thread: the writer reads the floats and hands the task back.
struct CutTask {
  std::string job_id;
  uint32_t job_epoch = 0;
  int64_t clock = 0;
  std::vector<int> chunk_ids;
  std::vector<std::vector<BufferRef>> arrays;  // as chunk_ids
  std::optional<PlateauState> plateau;
  std::shared_ptr<const TablesCut> tables;  // of a job of tables
  std::string error;  // not empty: nothing to write, only to report
};

// Thread-safe: its own thread writes.
class CheckpointWriter {
 public:
  struct Options {
    ParamStore* store = nullptr;  // borrowed; null: every task fails
    ShardHostMetrics* metrics = nullptr;
    // Both on the writer's thread: the outcome, then the task to release.
    std::function<void(const control::ShardCheckpoint&)> report;
    std::function<void(CutTask)> release;
  };
  explicit CheckpointWriter(Options options);
  ~CheckpointWriter() { Stop(); }

  void Start();
  // Never blocks; false when too many tasks wait (the task is not taken).
  bool TryAdd(CutTask& task);
  // Finishes what it has taken; joins.  Idempotent.
  void Stop();

 private:
  void Run();
  control::ShardCheckpoint Write(const CutTask& task);
  absl::Status WriteAll(const CutTask& task, int64_t* bytes);
  absl::Status WriteChunks(const CutTask& task, int64_t* bytes);
  absl::Status WriteTables(const CutTask& task, int64_t* bytes);

  const Options options_;
  BoundedQueue<CutTask> queue_;
  Thread thread_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_CHECKPOINT_WRITER_H_
