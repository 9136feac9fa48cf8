// caffe-worker: one training process of a job, or its evaluator.  Wiring only.
#include <string>
#include <vector>

#include "common/base/logging.h"
#include "common/launch/launch.h"
#include "worker/caffe/programs.h"
#include "worker/caffe/runtime.h"

int main(int argc, char** argv) {
  const std::string widened = cssp::WidenAffinity();
  cssp::EnsurePassiveThreads(argv);
  cssp::InitLogging(argv[0]);
  if (!widened.empty()) LOG(INFO) << widened;
  return cssp::WorkerProgram({.path = cssp::ProgramPath(argv[0]),
                              .args = {argv + 1, argv + argc}});
}
