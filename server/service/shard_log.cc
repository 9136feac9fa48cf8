#include "server/service/shard_log.h"

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/time/time.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

// Until a disk that refused is tried again.
constexpr absl::Duration kRetry = absl::Milliseconds(200);

}  // namespace

absl::StatusOr<std::unique_ptr<ShardLog>> ShardLog::Start(
    const RecordLogOptions& options, uint64_t first_segment,
    const std::vector<Segment>& earlier, std::function<void()> on_durable) {
  ASSIGN_OR_RETURN(std::unique_ptr<RecordLog> log,
                   RecordLog::Create(options, first_segment));
  auto shard_log = absl::WrapUnique(
      new ShardLog(std::move(log), earlier, std::move(on_durable)));
  ShardLog* const self = shard_log.get();
  self->thread_ = Thread("shard-log", [self] { self->Run(); });
  return shard_log;
}

ShardLog::ShardLog(std::unique_ptr<RecordLog> log,
                   const std::vector<Segment>& earlier,
                   std::function<void()> on_durable)
    : log_(std::move(log)),
      on_durable_(std::move(on_durable)),
      segments_(earlier.begin(), earlier.end()) {
  segments_.push_back({log_->segment(), -1});
}

void ShardLog::Queue(Command command) {
  absl::MutexLock lock(&mu_);
  queue_.push_back(std::move(command));
}

void ShardLog::Append(ShardInput type, std::string head, BufferRef body,
                      int64_t clock, Apply apply) {
  Command command;
  command.sequence = ++sequence_;
  command.record.type = static_cast<uint8_t>(type);
  command.record.head = std::move(head);
  // The bytes are read until they are durable; the reference stays here.
  if (body) command.record.body = body.bytes();
  const auto bytes = static_cast<int64_t>(command.record.head.size() +
                                          command.record.body.size());
  segments_.back().max_clock = std::max(segments_.back().max_clock, clock);
  waiting_bytes_ += bytes;
  segment_bytes_ += bytes;
  pending_.push_back({sequence_, std::move(body), bytes, std::move(apply)});
  Queue(std::move(command));
}

int ShardLog::Settle() {
  const uint64_t durable = durable_.load(std::memory_order_acquire);
  int applied = 0;
  while (!pending_.empty() && pending_.front().sequence <= durable) {
    Pending next = std::move(pending_.front());
    pending_.pop_front();
    waiting_bytes_ -= next.bytes;
    next.body.Reset();
    next.apply(true);
    ++applied;
  }
  return applied;
}

void ShardLog::Begin(std::string state) {
  Command command;
  command.sequence = ++sequence_;
  command.record.type = static_cast<uint8_t>(ShardInput::kState);
  command.record.head = std::move(state);
  Queue(std::move(command));
}

void ShardLog::Roll(std::string state) {
  CHECK(idle()) << "a segment begins with the state of all inputs before it";
  Command command;
  command.roll = true;
  segment_bytes_ = 0;
  command.sequence = ++sequence_;
  command.record.type = static_cast<uint8_t>(ShardInput::kState);
  command.record.head = std::move(state);
  segments_.push_back({segments_.back().number + 1, -1});
  Queue(std::move(command));
}

void ShardLog::DropCovered(int64_t clock) {
  while (segments_.size() > 1 && segments_.front().max_clock < clock)
    segments_.pop_front();
  Command command;
  command.drop = segments_.front().number;
  Queue(std::move(command));
}

void ShardLog::Close() {
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
  }
  thread_.Join();
  while (!pending_.empty()) {
    Pending next = std::move(pending_.front());
    pending_.pop_front();
    next.apply(false);
  }
}

// Until it succeeds; false: the log is closed.
bool ShardLog::Try(const std::function<absl::Status()>& write) {
  for (bool said = false;;) {
    const absl::Status status = write();
    if (status.ok()) return true;
    if (!std::exchange(said, true))
      LOG(ERROR) << "the job stands still: " << status.message();
    absl::MutexLock lock(&mu_);
    if (mu_.AwaitWithTimeout(absl::Condition(&stop_), kRetry)) return false;
  }
}

void ShardLog::Run() {
  for (;;) {
    std::vector<Command> batch;
    {
      absl::MutexLock lock(&mu_);
      const auto wanted = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
        return stop_ || !queue_.empty();
      };
      mu_.Await(absl::Condition(&wanted));
      if (stop_) return;
      batch.swap(queue_);
    }
    for (size_t i = 0; i < batch.size();) {
      if (batch[i].drop > 0) {
        const absl::Status dropped = log_->DropBefore(batch[i++].drop);
        if (!dropped.ok()) LOG(WARNING) << dropped;
        continue;
      }
      if (batch[i].roll && !Try([this] { return log_->Roll(); })) return;
      std::vector<LogRecord> group;
      uint64_t last = 0;
      do {
        last = batch[i].sequence;
        group.push_back(std::move(batch[i++].record));
      } while (i < batch.size() && !batch[i].roll && batch[i].drop == 0);
      if (!Try([&] { return log_->Append(group); })) return;
      durable_.store(last, std::memory_order_release);
      on_durable_();
    }
  }
}

}  // namespace cssp
