// Nets with layers written in Python run inside Python, whose package has the
// same command line (worker/python/caffe/__main__.py).
#ifndef CSSP_WORKER_CAFFE_PYTHON_NETS_H_
#define CSSP_WORKER_CAFFE_PYTHON_NETS_H_

#include "absl/status/status.h"
#include "worker/caffe/flags.h"

namespace cssp {

// Whether the command is about a net with a layer of type "Python".  False also
// where a file cannot be read: the command says what is wrong with it.
bool HasPythonLayers(const CaffeFlags& flags);

// Becomes `python3 -m caffe` with the arguments of `argv`; returns what stopped
// that.  $CSSP_PYTHON names another interpreter than the module's.
absl::Status RunInPython(char** argv);

}  // namespace cssp

#endif  // CSSP_WORKER_CAFFE_PYTHON_NETS_H_
