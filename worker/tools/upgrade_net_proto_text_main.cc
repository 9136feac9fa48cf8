// upgrade_net_proto_text IN OUT
#include "worker/tools/upgrades.h"

int main(int argc, char** argv) {
  return cssp::UpgradeMain("upgrade_net_proto_text", argc, argv,
                           cssp::UpgradeNetText);
}
