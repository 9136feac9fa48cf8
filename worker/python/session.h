// What pycaffe's process has in common: devices, layers, mode, seed.
#ifndef CSSP_WORKER_PYTHON_SESSION_H_
#define CSSP_WORKER_PYTHON_SESSION_H_

#include <cstdint>
#include <map>
#include <memory>

#include "absl/status/statusor.h"
#include "common/device/device.h"
#include "worker/net/layer_registry.h"

namespace cssp::python {

// Thread-confined: whoever holds Python's global lock.  The module makes one;
// nets, solvers and arrays share it, so that devices outlive what lies on them.
class Session : public std::enable_shared_from_this<Session> {
 public:
  // With the built-in layers and Python's.
  static absl::StatusOr<std::shared_ptr<Session>> Create();

  // Of the mode in force.  Made when it is first asked for, never replaced.
  absl::StatusOr<Device*> device();
  void set_cpu() { gpu_ = false; }
  // Unimplemented, NotFound: no such GPU; the mode stays.
  absl::Status SetGpu();
  absl::Status SetDevice(int ordinal);
  // Compute threads of CPU devices made from now on; 0: every core allowed.
  void set_threads(int threads) { threads_ = threads; }

  // Nets made after the same seed begin alike, in their order.  Negative:
  // drawn.
  void set_seed(int64_t seed);
  uint64_t NextSeed();

  const LayerRegistry& layers() const { return layers_; }

 private:
  Session() = default;
  absl::StatusOr<Device*> Gpu(int ordinal);

  std::map<int, std::unique_ptr<Device>> cpu_;  // by threads asked for
  std::map<int, std::unique_ptr<Device>> gpu_devices_;
  LayerRegistry layers_;
  bool gpu_ = false;
  int ordinal_ = 0;
  int threads_ = 0;
  uint64_t seed_ = 1;
  uint64_t nets_ = 0;  // made with this seed
};

}  // namespace cssp::python

#endif  // CSSP_WORKER_PYTHON_SESSION_H_
