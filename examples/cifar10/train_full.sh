#!/usr/bin/env bash
# Trains cifar10_full in one process: 60000 iterations, then 5000 each at a
# tenth and a hundredth of the learning rate.  Further arguments go to `caffe train`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
caffe=${BUILD:-build}/tools/caffe

"$caffe" train --solver=examples/cifar10/cifar10_full_solver.prototxt "$@"
"$caffe" train --solver=examples/cifar10/cifar10_full_solver_lr1.prototxt \
  --snapshot=examples/cifar10/cifar10_full_iter_60000.solverstate "$@"
"$caffe" train --solver=examples/cifar10/cifar10_full_solver_lr2.prototxt \
  --snapshot=examples/cifar10/cifar10_full_iter_65000.solverstate "$@"
