// caffe: Caffe's own command line.  Wiring only.
#include <cstdio>
#include <string>

#include "common/base/logging.h"
#include "common/launch/launch.h"
#include "worker/caffe/programs.h"
#include "worker/caffe/runtime.h"

int main(int argc, char** argv) {
  // Before OpenMP counts its cores, which it does when it is loaded.
  const std::string widened = cssp::WidenAffinity();
  if (!widened.empty()) std::fprintf(stderr, "caffe: %s\n", widened.c_str());
  cssp::EnsurePassiveThreads(argv);
  cssp::InitLogging(argv[0]);
  return cssp::CaffeProgram({.path = cssp::ProgramPath(argv[0]),
                             .args = {argv + 1, argv + argc}});
}
