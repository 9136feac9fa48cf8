// Where a net's gradients leave and its weights come from.  Attached to a net
// once, before the first step; the plan knows which parameters each step
// completes and which it reads.
#ifndef CSSP_WORKER_NET_GRADIENT_SINK_H_
#define CSSP_WORKER_NET_GRADIENT_SINK_H_

#include <cstdint>

#include "absl/status/status.h"

namespace cssp {

// Parameters are numbered as in Net::params(): slab order, which is the order
// in which backward completes them.
//
// AwaitGradientSlot is called on the training thread.  So is GradientReady
// where kernels work in host memory; elsewhere it comes from one other thread
// of the net's, when the gradient has reached the host, while the training
// thread launches the rest of backward.  Never two calls at once, none
// concurrent with those of the WeightSource, and all of a clock's are over when
// Net::AwaitGradients returns: a sink needs no lock of its own for that.
// Neither may block on the network, but for what AwaitGradientSlot says.
class GradientSink {
 public:
  virtual ~GradientSink() = default;
  // Before the first write of clock `clock` into gradient generation
  // clock % 2: blocks until the sends of clock - 2 have completed.
  virtual absl::Status AwaitGradientSlot(int64_t clock) = 0;
  // The gradient of `param` for `clock` is complete (its last user has run, in
  // the last pass of iter_size).
  virtual void GradientReady(int param, int64_t clock) = 0;
};

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // Blocks until weights that a reader of `clock` may use are installed in the
  // slab for parameters [first, first + count), which the next layer reads.
  // Called in the first pass of a clock only: one clock uses one version of a
  // chunk.  Sets *changed when the slab's contents moved.
  virtual absl::Status AwaitWeights(int first, int count, int64_t clock,
                                    bool* changed) = 0;
};

}  // namespace cssp

#endif  // CSSP_WORKER_NET_GRADIENT_SINK_H_
