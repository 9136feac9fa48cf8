// upgrade_solver_proto_text IN OUT
#include "worker/tools/upgrades.h"

int main(int argc, char** argv) {
  return cssp::UpgradeMain("upgrade_solver_proto_text", argc, argv,
                           cssp::UpgradeSolverText);
}
