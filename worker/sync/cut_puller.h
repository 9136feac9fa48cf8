// Pulls retained cuts: every chunk of one version, for tests and exports.
#ifndef CSSP_WORKER_SYNC_CUT_PULLER_H_
#define CSSP_WORKER_SYNC_CUT_PULLER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/ps/slab_layout.h"
#include "proto/control.pb.h"
#include "worker/sync/job_session.h"
#include "worker/sync/ps_client.h"

namespace cssp {

// Thread-safe (monitor); one Pull at a time.
class CutPuller final : private PsClientEvents {
 public:
  // Connects.  `map` and `layout` as declared; the session is borrowed.
  static absl::StatusOr<std::unique_ptr<CutPuller>> Create(
      JobSession& session, const control::ShardMap& map, ps::SlabLayout layout,
      const TransportOptions& transport);
  ~CutPuller() override;

  // Fills `slab` with slot `slot` (0 values, 1.. history) of version `clock`.
  // Waits until the version exists.  NotFound: it is no longer kept.
  absl::Status Pull(int64_t clock, int slot, absl::Span<float> slab,
                    absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  CutPuller(JobSession& session, ps::SlabLayout layout);

  float* OnValuesBegin(const ps::MessageHeader& header) override;
  void OnValuesEnd(const ps::MessageHeader& header, float* memory,
                   bool ok) override;
  void OnPushDone(int chunk, int64_t clock) override {}
  void OnPullRefused(const ps::MessageHeader& header) override;
  void OnReconnect(int server) override {}  // open pulls are sent again
  void OnFatal(const absl::Status& status) override;
  bool Wanted(const ps::MessageHeader& header) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  JobSession& session_;
  const ps::SlabLayout layout_;

  absl::Mutex mu_;
  // The pull in progress; values of other (clock, slot) are refused.
  int64_t clock_ ABSL_GUARDED_BY(mu_) = -1;
  int slot_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<float> landing_ ABSL_GUARDED_BY(mu_);  // written by the network
  std::vector<bool> here_ ABSL_GUARDED_BY(mu_);
  int missing_ ABSL_GUARDED_BY(mu_) = 0;
  ps::Reason refused_ ABSL_GUARDED_BY(mu_) = ps::Reason::kNone;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);

  std::unique_ptr<PsClient> client_;  // last: its thread calls us
};

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_CUT_PULLER_H_
