#!/usr/bin/env bash
# Trains cifar10_quick in one process: 4000 iterations, then 1000 at a tenth of
# the learning rate.  Further arguments go to `caffe train`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
caffe=${BUILD:-build}/tools/caffe

"$caffe" train --solver=examples/cifar10/cifar10_quick_solver.prototxt "$@"
"$caffe" train --solver=examples/cifar10/cifar10_quick_solver_lr1.prototxt \
  --snapshot=examples/cifar10/cifar10_quick_iter_4000.solverstate "$@"
