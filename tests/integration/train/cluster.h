// Real ps-server and caffe-worker processes on loopback, for tests.
#ifndef CSSP_TESTS_INTEGRATION_TRAIN_CLUSTER_H_
#define CSSP_TESTS_INTEGRATION_TRAIN_CLUSTER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/coordinator_client.h"
#include "proto/control.pb.h"
#include "worker/caffe/child_process.h"

namespace cssp {

// A folder that goes with its object.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Thread-confined: the test.  The first server is the coordinator.  Programs are
// the build's, or those in the folder that CSSP_BIN_DIR names (a bundle).
class Cluster {
 public:
  static absl::StatusOr<std::unique_ptr<Cluster>> Start(
      const TempFolder& folder, int servers);
  // The coordinator goes last.
  ~Cluster();

  // Further arguments of every worker ("--gpu=0"), from the next job on.
  void set_worker_flags(std::vector<std::string> flags) {
    worker_flags_ = std::move(flags);
  }

  // Submits `spec`, starts its workers (rank 0 brings the evaluator) and gives
  // the job's last state.
  absl::StatusOr<control::JobStatus> Run(const control::JobSpec& spec,
                                         absl::Duration timeout);
  // In steps, for tests that interfere.
  absl::Status Submit(const control::JobSpec& spec);
  absl::StatusOr<control::JobStatus> AwaitEnd(absl::Duration timeout);
  // Until every live worker has done `clock` clocks.
  absl::Status AwaitClock(int64_t clock, absl::Duration timeout);
  // SIGKILL.
  void KillWorker(int rank);

  CoordinatorClient& coordinator() { return *client_; }
  const std::string& job() const { return job_; }

 private:
  explicit Cluster(std::string folder) : folder_(std::move(folder)) {}
  absl::Status AddServer(int index);

  const std::string folder_;
  std::vector<std::unique_ptr<ChildProcess>> servers_;
  std::vector<std::unique_ptr<ChildProcess>> workers_;
  std::string address_;  // of the coordinator
  std::unique_ptr<CoordinatorClient> client_;
  std::string job_;
  std::vector<std::string> worker_flags_;
};

}  // namespace cssp

#endif  // CSSP_TESTS_INTEGRATION_TRAIN_CLUSTER_H_
