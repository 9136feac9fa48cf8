// One line of CSV for a cluster:
//   scale_sim PROFILE SECONDS WORKERS GBITS MODE DEDICATED STALENESS JITTER
// SECONDS: forward and backward of one worker's batch.  MODE: ps or ring.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/sim/scale/scale_sim.h"

int main(int argc, char** argv) {
  if (argc != 9) return 2;
  // Memory and time grow with workers squared times stages.
  const int workers = std::atoi(argv[3]);
  const int stages = workers > 256 ? 8 : 16;
  const auto net = cssp::ReadProfile(argv[1], std::atof(argv[2]), stages);
  if (!net.ok()) {
    std::fprintf(stderr, "scale_sim: %s\n", net.status().ToString().c_str());
    return 1;
  }
  cssp::ScaleConfig config;
  config.net = *net;
  config.shape.workers = workers;
  config.shape.bytes_per_second = std::atof(argv[4]) * 1e9 / 8;
  config.shape.dedicated = std::atoi(argv[6]);
  config.staleness = std::atoi(argv[7]);
  config.jitter = std::atof(argv[8]);
  config.clocks = workers > 256 ? 6 : 22;
  const double seconds = argv[5] == std::string("ring")
                             ? cssp::RingSecondsPerClock(config)
                             : cssp::ScaleSim(config).Run();
  const double alone = net->seconds() * (1 + config.jitter);
  std::printf("%.6f,%.4f\n", seconds, alone / seconds);
  return 0;
}
