#include "server/service/checkpoint_writer.h"

#include <utility>

#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/base/time_source.h"
#include "server/checkpoint/checkpoint_io.h"

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
  const absl::Status status = WriteChunks(task, &bytes);
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

absl::Status CheckpointWriter::WriteChunks(const CutTask& task,
                                           int64_t* bytes) {
  if (!task.error.empty()) return absl::ResourceExhaustedError(task.error);
  if (options_.store == nullptr) {
    return absl::FailedPreconditionError("this server has no store");
  }
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
  if (status.ok()) status = options_.store->Sync();
  if (!status.ok()) {
    // A cut with holes is no checkpoint; its space is wanted back.
    options_.store->DeletePrefix(CutPrefix(task.job_id, task.clock))
        .IgnoreError();
  }
  return status;
}

}  // namespace cssp
