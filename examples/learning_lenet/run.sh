#!/usr/bin/env bash
# LeNet from Python, 200 iterations.  Needs examples/mnist's bases (LMDB); BUILD
# names the build folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CSSP_BUILD_DIR=${BUILD:-build} GLOG_minloglevel=${GLOG_minloglevel:-1}
exec /usr/bin/python3 examples/learning_lenet/learning_lenet.py "$@"
