// Brings finished gradients from a device's memory to the host while backward
// goes on, and tells the sink.
#ifndef CSSP_WORKER_NET_GRADIENT_COURIER_H_
#define CSSP_WORKER_NET_GRADIENT_COURIER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/bounded_queue.h"
#include "common/base/thread.h"
#include "common/device/device.h"
#include "worker/net/gradient_sink.h"

namespace cssp {

// A range of the gradient slab that a layer has completed.
struct GradientParcel {
  void* host = nullptr;
  const void* device = nullptr;
  size_t bytes = 0;
  int first = 0, count = 0;  // parameters
  int64_t clock = 0;
  GradientSink* sink = nullptr;
};

// Thread-safe (monitor): the training thread sends and awaits, the courier's
// thread waits for copies and calls the sink.
//
// Invariants: (1) parcels are delivered in the order in which they were sent,
// each when its copy has completed.  (2) After a fault nothing is delivered any
// more, and Await says what it was.
class GradientCourier {
 public:
  // At most `slots` parcels are under way; Send of one more blocks.
  static absl::StatusOr<std::unique_ptr<GradientCourier>> Create(Device& device,
                                                                 int slots);
  // Delivers what was sent, then joins its thread.
  ~GradientCourier();

  // Copies once everything launched on `compute` so far has run.
  absl::Status Send(Stream& compute, const GradientParcel& parcel)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Until every parcel has been delivered.
  absl::Status Await() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Slot {
    std::unique_ptr<Event> ready, copied;
    GradientParcel parcel;
  };
  GradientCourier(Device& device, int slots)
      : device_(device), slots_(slots), queue_(slots) {}
  void Run();
  bool HasRoom() const ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return pending_ < static_cast<int>(slots_.size());
  }
  bool Idle() const ABSL_SHARED_LOCKS_REQUIRED(mu_) { return pending_ == 0; }

  Device& device_;
  std::unique_ptr<Stream> copies_;
  std::vector<Slot> slots_;  // used in turn
  size_t next_ = 0;          // training thread
  BoundedQueue<int> queue_;  // slots
  absl::Mutex mu_;
  int pending_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  Thread thread_;  // last: it uses the rest
};

}  // namespace cssp

#endif  // CSSP_WORKER_NET_GRADIENT_COURIER_H_
