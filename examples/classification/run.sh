#!/usr/bin/env bash
# Classifies MNIST's test images with the LeNet of examples/learning_lenet, which
# must have run.  BUILD names the build folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CSSP_BUILD_DIR=${BUILD:-build} GLOG_minloglevel=${GLOG_minloglevel:-1}
exec /usr/bin/python3 examples/classification/classification.py "$@"
