// Nets with layers written in Python run inside Python: the program becomes an
// interpreter, which runs the same program again (worker/python/caffe/
// programs.py) with layers of type "Python" among the others.
#ifndef CSSP_WORKER_CAFFE_PYTHON_NETS_H_
#define CSSP_WORKER_CAFFE_PYTHON_NETS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/config.pb.h"
#include "worker/caffe/flags.h"
#include "worker/caffe/runtime.h"

namespace cssp {

// Whether the command is about a net with a layer of type "Python".  False also
// where a file cannot be read: the command says what is wrong with it.
bool HasPythonLayers(const CaffeFlags& flags);

// The same of a job's nets.  Asks the coordinator, which learns nothing of this
// process: it has no place in the job yet.
absl::StatusOr<bool> HasPythonLayers(const WorkerConfig& config);

// Does not return but with what stopped it.  Before any thread starts that is
// to live on, and with those signals blocked that the program fetches.
// $CSSP_PYTHON names another interpreter than the module's.
absl::Status BecomePython(const ProgramHost& host);

}  // namespace cssp

#endif  // CSSP_WORKER_CAFFE_PYTHON_NETS_H_
