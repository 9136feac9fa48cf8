#!/usr/bin/env bash
# Makes a convolution of the LeNet of examples/learning_lenet, which
# must have run.  BUILD names the build folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CSSP_BUILD_DIR=${BUILD:-build} GLOG_minloglevel=${GLOG_minloglevel:-1}
exec /usr/bin/python3 examples/net_surgery/net_surgery.py "$@"
