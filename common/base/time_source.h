// Injected time: everything that waits or stamps takes a TimeSource, so tests
// run in virtual time.  ("Clock" is reserved for SSP progress.)
#ifndef CSSP_COMMON_BASE_TIME_SOURCE_H_
#define CSSP_COMMON_BASE_TIME_SOURCE_H_

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace cssp {

// Thread-safe.
class TimeSource {
 public:
  virtual ~TimeSource() = default;
  // Monotonic: differences are meaningful, the origin is not.
  virtual absl::Time Now() = 0;

  // The machine's monotonic clock; lives for ever.
  static TimeSource& Real();
};

// Thread-confined: the test that advances it.
class FakeTimeSource final : public TimeSource {
 public:
  absl::Time Now() override { return now_; }
  void Advance(absl::Duration by) { now_ += by; }
  void Set(absl::Time now) { now_ = now; }

 private:
  absl::Time now_ = absl::UnixEpoch();
};

}  // namespace cssp

#endif  // CSSP_COMMON_BASE_TIME_SOURCE_H_
