// Who am I among the processes of one launch, and a small exchange of text
// between them.  mpirun and srun both speak PMIx; nothing else of MPI is used,
// and nothing depends on it after the exchange.
#ifndef CSSP_COMMON_LAUNCH_LAUNCH_H_
#define CSSP_COMMON_LAUNCH_LAUNCH_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cssp {

// What the environment says; read by common/config, the only reader of it.
struct LaunchEnvironment {
  bool has_pmix = false;  // PMIX_RANK and PMIX_NAMESPACE are set
  int slurm_tasks = 0;    // SLURM_NTASKS of a job step, 0: none
};

// Thread-safe after Create.
class Launch {
 public:
  // A launch of one where no launcher is there.  FailedPrecondition when Slurm
  // started several tasks that cannot see each other (srun without
  // --mpi=pmix): they would train alone, silently.
  static absl::StatusOr<std::unique_ptr<Launch>> Create(
      const LaunchEnvironment& environment);
  virtual ~Launch() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Ranks of this launch on this host, ascending; contains rank().
  virtual const std::vector<int>& local_ranks() const = 0;
  int local_size() const { return static_cast<int>(local_ranks().size()); }
  // Position of rank() in local_ranks().
  int local_rank() const;
  bool alone() const { return size() == 1; }

  // Publishes `value` (at most 64 KiB) under `key` for all ranks.  A key is
  // put once.
  virtual absl::Status Put(const std::string& key,
                           const std::string& value) = 0;
  // Waits for what `rank` puts under `key`; DeadlineExceeded names both.
  virtual absl::StatusOr<std::string> Get(int rank, const std::string& key,
                                          absl::Duration timeout) = 0;
};

// Cores that this process may run on.
int AvailableCores();

// Lets this process (and threads started later) run on every core that the
// kernel grants: mpirun binds each rank of small launches to one core.  Gives
// the line to log, empty when nothing changed.
std::string WidenAffinity();

}  // namespace cssp

#endif  // CSSP_COMMON_LAUNCH_LAUNCH_H_
