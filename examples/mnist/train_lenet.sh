#!/usr/bin/env bash
# Trains LeNet in one process.  Further arguments go to `caffe train`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec "${BUILD:-build}/tools/caffe" train --solver=examples/mnist/lenet_solver.prototxt "$@"
