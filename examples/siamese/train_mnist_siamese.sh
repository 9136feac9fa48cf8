#!/usr/bin/env bash
# Trains the siamese net in one process.  Further arguments go to `caffe train`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec "${BUILD:-build}/tools/caffe" train --solver=examples/siamese/mnist_siamese_solver.prototxt "$@"
