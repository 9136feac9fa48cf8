#!/usr/bin/env bash
# Nets with layers in Python: linear regression, and images of several labels.
#   examples/pycaffe/run.sh [OUTPUT_FOLDER]
# BUILD names the build folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${1:-examples/pycaffe/data}
mkdir -p "$out"
export CSSP_BUILD_DIR=${BUILD:-build} GLOG_minloglevel=${GLOG_minloglevel:-1}
/usr/bin/python3 examples/pycaffe/linreg.py "$out/linreg.png"
/usr/bin/python3 examples/pycaffe/multilabel.py "$out"
