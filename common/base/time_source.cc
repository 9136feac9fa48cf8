#include "common/base/time_source.h"

#include <time.h>

namespace cssp {
namespace {

class MonotonicTimeSource final : public TimeSource {
 public:
  absl::Time Now() override {
    timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return absl::TimeFromTimespec(ts);
  }
};

}  // namespace

TimeSource& TimeSource::Real() {
  static MonotonicTimeSource source;
  return source;
}

}  // namespace cssp
