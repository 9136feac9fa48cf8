// The programs `caffe` and `caffe-worker`, from their arguments to their exit
// code: each is a main of its own, and both run inside Python as well.
#ifndef CSSP_WORKER_CAFFE_PROGRAMS_H_
#define CSSP_WORKER_CAFFE_PROGRAMS_H_

#include "worker/caffe/runtime.h"

namespace cssp {

// REQUIRES: logging is initialised, OpenMP's threads wait passively.  On the
// process's main thread, which becomes the training thread.  An error is one
// line on stderr.
int CaffeProgram(const ProgramHost& host);
int WorkerProgram(const ProgramHost& host);

}  // namespace cssp

#endif  // CSSP_WORKER_CAFFE_PROGRAMS_H_
