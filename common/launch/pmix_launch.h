// Launch over PMIx (mpirun of Open MPI 4 and later, srun --mpi=pmix).
#ifndef CSSP_COMMON_LAUNCH_PMIX_LAUNCH_H_
#define CSSP_COMMON_LAUNCH_PMIX_LAUNCH_H_

#include <memory>

#include "absl/status/statusor.h"
#include "common/launch/launch.h"

namespace cssp {

// At most once in a process: PMIx keeps state of its own.  Unavailable when
// the launcher does not answer.
absl::StatusOr<std::unique_ptr<Launch>> CreatePmixLaunch();

}  // namespace cssp

#endif  // CSSP_COMMON_LAUNCH_PMIX_LAUNCH_H_
