// upgrade_net_proto_binary IN OUT
#include "worker/tools/upgrades.h"

int main(int argc, char** argv) {
  return cssp::UpgradeMain("upgrade_net_proto_binary", argc, argv,
                           cssp::UpgradeNetBinary);
}
