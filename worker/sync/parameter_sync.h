// What the solver's loop sees of the parameters' home: a parameter service, or
// the process itself.
#ifndef CSSP_WORKER_SYNC_PARAMETER_SYNC_H_
#define CSSP_WORKER_SYNC_PARAMETER_SYNC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "proto/control.pb.h"
#include "worker/net/gradient_sink.h"

namespace cssp {

// One element of a net's output blob.
struct OutputSample {
  std::string name;
  int index = 0;          // within the blob
  float value = 0;
  float loss_weight = 0;  // 0: no loss
};

// What one clock of one worker has come to.
struct ClockSummary {
  int64_t clock = 0;
  double loss = 0;        // mean over iter_size passes
  std::vector<OutputSample> outputs;  // of the last pass
  int64_t samples = 0;
  double data_wait_seconds = 0;  // stood still for records
};

// What the loop is to do after a clock.
enum class LoopOrder {
  kContinue,
  kStop,     // cancelled, or let go: stop after this clock
  kJump,     // go on at next_clock(): the job went back to an earlier cut, or
             // clocks were closed without this worker
};

// Thread-confined: the training thread, but for GradientReady, which the net
// may call on another thread between AwaitGradientSlot and EndClock (see
// gradient_sink.h).  Calls for clock c come in this order, one at a time:
//   BeginClock(c); SetSamples; AwaitWeights*(c); AwaitGradientSlot(c); GradientReady*(c);
//   EndClock(c).
// A status other than OK ends training.
class ParameterSync : public GradientSink, public WeightSource {
 public:
  // The clock at which training (re)starts.
  virtual int64_t next_clock() const = 0;
  virtual absl::Status BeginClock(int64_t clock) = 0;
  // Every GradientReady of the clock has been called.  Updates at once (local),
  // or closes this worker's clock at the shards.
  virtual absl::Status EndClock(const ClockSummary& summary) = 0;
  virtual LoopOrder order() = 0;
  // Who deals which records, by membership orders that became known with the
  // last BeginClock; each holds from its effective clock on.
  virtual absl::Span<const control::Order> memberships() const { return {}; }
  // Records behind the gradients of the clock that was begun.
  virtual void SetSamples(int64_t samples) {}
  // Asks to be let go in order: training goes on until order() says kStop.
  // False: there is nobody to ask.
  virtual bool Leave() { return false; }
  // After the last clock: waits until the service has taken everything.
  virtual absl::Status Finish() = 0;
};

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_PARAMETER_SYNC_H_
