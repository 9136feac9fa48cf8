#!/usr/bin/env bash
# Linear regression with layers in Python.  BUILD names the build folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CSSP_BUILD_DIR=${BUILD:-build} GLOG_minloglevel=${GLOG_minloglevel:-1}
exec /usr/bin/python3 examples/pycaffe/linreg.py "${1:-examples/pycaffe/linreg.png}"
