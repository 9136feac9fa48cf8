#include "worker/caffe/evaluator_keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <utility>

#include "absl/memory/memory.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

constexpr absl::Duration kJoinWait = absl::Minutes(1);
constexpr absl::Duration kPollEvery = absl::Milliseconds(20);
constexpr int kSignalled = 128;  // and more: the exit code of who was killed

void AwaitJoined(int fd) {
  pollfd wait{.fd = fd, .events = POLLIN};
  char byte = 0;
  const int ready =
      poll(&wait, 1, static_cast<int>(absl::ToInt64Milliseconds(kJoinWait)));
  if (ready <= 0 || read(fd, &byte, 1) != 1)
    LOG(WARNING) << "the evaluator has not joined; training goes on untested";
}

}  // namespace

absl::StatusOr<std::unique_ptr<EvaluatorKeeper>> EvaluatorKeeper::Create(
    Starter starter) {
  auto keeper = absl::WrapUnique(new EvaluatorKeeper(std::move(starter)));
  RETURN_IF_ERROR(keeper->StartFirst());
  EvaluatorKeeper* const self = keeper.get();
  keeper->thread_ = Thread("evaluator", [self] { self->Keep(); });
  return keeper;
}

EvaluatorKeeper::~EvaluatorKeeper() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  thread_.Join();
}

absl::Status EvaluatorKeeper::StartFirst() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return absl::ResourceExhaustedError("no descriptor for the evaluator");
  fcntl(ends[1], F_SETFD, 0);  // the child's
  absl::StatusOr<std::unique_ptr<ChildProcess>> child = starter_(ends[1]);
  close(ends[1]);
  if (child.ok()) AwaitJoined(ends[0]);
  close(ends[0]);
  RETURN_IF_ERROR(child.status());
  child_ = *std::move(child);
  return absl::OkStatus();
}

bool EvaluatorKeeper::Wait(absl::Duration timeout) {
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(&over_), timeout);
}

bool EvaluatorKeeper::AwaitExit() {
  absl::MutexLock lock(&mu_);
  while (!child_->ExitCode().has_value())
    if (mu_.AwaitWithTimeout(absl::Condition(&stopping_), kPollEvery))
      return false;
  return !stopping_;
}

void EvaluatorKeeper::Keep() {
  for (int starts = 1; AwaitExit(); ++starts) {
    const int code = *child_->ExitCode();
    if (code < kSignalled || starts == kMaxStarts) break;
    LOG(WARNING) << "the evaluator was killed by signal " << code - kSignalled
                 << "; it is started again";
    absl::StatusOr<std::unique_ptr<ChildProcess>> next = starter_(-1);
    if (!next.ok()) {
      LOG(WARNING) << "the evaluator: " << next.status();
      break;
    }
    child_ = *std::move(next);
  }
  absl::MutexLock lock(&mu_);
  over_ = true;
}

}  // namespace cssp
