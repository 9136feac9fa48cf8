#include "server/service/checkpoint_writer.h"

#include <utility>

#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/base/time_source.h"
#include "server/checkpoint/checkpoint_io.h"
#include "server/checkpoint/table_cut.h"

namespace cssp {
namespace {

// Cuts hold copies of the history: more than a few waiting means that the disk
// does not keep up, and memory must not pay for it.
constexpr size_t kMaxWaiting = 4;

}  // namespace

CheckpointWriter::CheckpointWriter(Options options)
    : options_(std::move(options)), queue_(kMaxWaiting) {}

void CheckpointWriter::Start() {
  thread_ = Thread("checkpoint", [this] { Run(); });
}

bool CheckpointWriter::TryAdd(CutTask& task) {
  // The shard thread is the only producer, so room seen is room kept.
  if (queue_.size() >= kMaxWaiting) return false;
  return queue_.TryPush(std::move(task));
}

void CheckpointWriter::Stop() {
  queue_.Close();
  thread_.Join();
}

void CheckpointWriter::Run() {
  while (std::optional<CutTask> task = queue_.Pop()) {
    const control::ShardCheckpoint outcome = Write(*task);
    if (options_.report) options_.report(outcome);
    options_.release(*std::move(task));
  }
}

control::ShardCheckpoint CheckpointWriter::Write(const CutTask& task) {
  control::ShardCheckpoint outcome;
  outcome.set_job_id(task.job_id);
  outcome.set_clock(task.clock);
  outcome.set_job_epoch(task.job_epoch);
  for (int chunk : task.chunk_ids) outcome.add_chunks(chunk);
  if (task.plateau) *outcome.mutable_plateau() = ToRecord(*task.plateau);
  TimeSource& time = TimeSource::Real();
  const absl::Time begun = time.Now();
  int64_t bytes = 0;
  const absl::Status status = WriteAll(task, &bytes);
  if (!status.ok()) {
    outcome.set_error(std::string(status.message()));
    LOG(ERROR) << "job " << task.job_id << " checkpoint of clock " << task.clock
               << ": " << status;
  }
  outcome.set_bytes(bytes);
  if (ShardHostMetrics* metrics = options_.metrics) {
    metrics->checkpoint_seconds->Observe(
        absl::ToDoubleSeconds(time.Now() - begun));
    (status.ok() ? metrics->checkpoints : metrics->checkpoint_failures)
        ->Increment();
  }
  return outcome;
}

absl::Status CheckpointWriter::WriteAll(const CutTask& task, int64_t* bytes) {
  if (!task.error.empty()) return absl::ResourceExhaustedError(task.error);
  if (options_.store == nullptr) {
    return absl::FailedPreconditionError("this server has no store");
  }
  absl::Status status = task.tables == nullptr ? WriteChunks(task, bytes)
                                               : WriteTables(task, bytes);
  if (status.ok()) status = options_.store->Sync();
  if (!status.ok()) {
    // A cut with holes is no checkpoint; its space is wanted back.
    options_.store->DeletePrefix(CutPrefix(task.job_id, task.clock))
        .IgnoreError();
  }
  return status;
}

absl::Status CheckpointWriter::WriteChunks(const CutTask& task,
                                           int64_t* bytes) {
  absl::Status status;
  for (size_t i = 0; i < task.chunk_ids.size() && status.ok(); ++i) {
    std::vector<absl::Span<const float>> arrays;
    for (const BufferRef& array : task.arrays[i]) {
      arrays.push_back(array.floats());
      *bytes += arrays.back().size() * sizeof(float);
    }
    status = options_.store->Write(
        {EncodeCutChunk(task.job_id, task.clock, task.chunk_ids[i], arrays)},
        /*sync=*/false);
  }
  return status;
}

// A record for each block that was made; the one that counts them comes last.
absl::Status CheckpointWriter::WriteTables(const CutTask& task,
                                           int64_t* bytes) {
  TablesRecord record;
  record.set_clock(task.clock);
  for (const TableCut& cut : task.tables->tables) {
    TablesRecord::Table* table = record.add_tables();
    table->set_width(cut.rows.width);
    for (const TableLane& lane : cut.lanes) {
      TablesRecord::Lane* out = table->add_lanes();
      out->set_done(lane.done);
      out->set_applied(lane.applied);
      out->set_finished(lane.finished);
      out->set_removed(lane.removed);
    }
    for (size_t block = 0; block < cut.rows.blocks.size(); ++block) {
      if (cut.rows.blocks[block] == nullptr) continue;
      std::vector<int64_t> rows = cut.rows.RowsOf(block);
      for (int64_t& row : rows)
        row = row * task.tables->servers + task.tables->self;
      const absl::Span<const float> values(cut.rows.blocks[block].get(),
                                           rows.size() * cut.rows.width);
      *bytes += values.size() * sizeof(float);
      const TableRecordName name = {task.job_id, task.clock,
                                    record.tables_size() - 1,
                                    table->records()};
      RETURN_IF_ERROR(options_.store->Write(
          {EncodeTableRows(name, rows, values)}, /*sync=*/false));
      table->set_records(table->records() + 1);
    }
  }
  return options_.store->Write({EncodeTables(task.job_id, record)},
                               /*sync=*/false);
}

}  // namespace cssp
