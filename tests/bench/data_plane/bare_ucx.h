// What UCX itself does under the data plane's settings: a stream of active
// messages into one buffer, nothing else, event-driven like ours.
#ifndef CSSP_TESTS_BENCH_DATA_PLANE_BARE_UCX_H_
#define CSSP_TESTS_BENCH_DATA_PLANE_BARE_UCX_H_

#include <ucp/api/ucp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/transport/ucx_worker.h"
#include "tests/bench/data_plane/bench_models.h"

namespace cssp::bench {

// A receiver.  REQUIRES as Fork.
Process ForkBareReceiver(const std::string& transports);

// Thread-confined: its maker.
class BareSender {
 public:
  BareSender(const std::string& transports, const std::string& receiver);
  ~BareSender();

  // Messages of `bytes` each, eight under way; gives bytes a second, counted
  // until the receiver has said that it has them all.
  double Rate(size_t bytes, absl::Duration duration);

 private:
  static void OnSent(void* request, ucs_status_t status, void* self);
  void Progress();  // sleeps only when the window is full

  std::unique_ptr<UcxWorker> worker_;
  ucp_ep_h ep_ = nullptr;
  std::vector<uint8_t> memory_;
  const bool only_tcp_;
  int in_flight_ = 0;
  bool answered_ = false;
};

}  // namespace cssp::bench

#endif  // CSSP_TESTS_BENCH_DATA_PLANE_BARE_UCX_H_
