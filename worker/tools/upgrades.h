// Old prototxts and models, rewritten in today's form.
#ifndef CSSP_WORKER_TOOLS_UPGRADES_H_
#define CSSP_WORKER_TOOLS_UPGRADES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cssp {

// Each reads `in` and writes `out`, whole or not at all; true where there was
// something to upgrade.  What upgrading means: UpgradeNet in
// worker/net/net_passes.h, UpgradeSolver in common/model_file/prototxt.h.
// Errors are those of reading and name file, line or layer.
absl::StatusOr<bool> UpgradeNetText(const std::string& in,
                                    const std::string& out);
absl::StatusOr<bool> UpgradeNetBinary(const std::string& in,
                                      const std::string& out);
absl::StatusOr<bool> UpgradeSolverText(const std::string& in,
                                       const std::string& out);

// The main of a tool that takes IN and OUT.
int UpgradeMain(const char* tool, int argc, char** argv,
                absl::StatusOr<bool> (*upgrade)(const std::string&,
                                                const std::string&));

}  // namespace cssp

#endif  // CSSP_WORKER_TOOLS_UPGRADES_H_
