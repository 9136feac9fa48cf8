#!/usr/bin/env bash
# cifar10_quick, cifar10_full and the two nets with sigmoids, 500 iterations each
# (2,000 with batch normalisation) instead of the published thousands; prints what
# the tests say at the end.
#   examples/cifar10/run.sh [LOCAL_FOLDER]    (for get_cifar10.sh)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${BUILD:-build}
here=examples/cifar10
work=$here/data/run
mkdir -p "$work"
[ -f "$here/data/test_batch.bin" ] || "$here/get_cifar10.sh" "$@"
[ -f "$here/mean.binaryproto" ] && [ -d "$here/cifar10_test_lmdb" ] ||
  BUILD=$build "$here/create_cifar10.sh"

# run NAME SOLVER ITERATIONS: the solver, cut short; the log of its last test.
run() {
  sed -e "s|^max_iter:.*|max_iter: $3|" -e "s|^test_interval:.*|test_interval: $3|" \
    -e "s|^snapshot_prefix:.*|snapshot_prefix: \"$work/$1\"|" "$here/$2" >"$work/$1.prototxt"
  echo 'test_initialization: false random_seed: 1' >>"$work/$1.prototxt"
  "$build/tools/caffe" train --solver="$work/$1.prototxt" >"$work/$1.log" 2>&1 || {
    tail -n 5 "$work/$1.log" >&2
    exit 1
  }
  sed -n "s|.*Test net output #[0-9]*: \(.*\)|$1: \1|p" "$work/$1.log"
}
run quick cifar10_quick_solver.prototxt 500
run full cifar10_full_solver.prototxt 500
run sigmoid cifar10_full_sigmoid_solver.prototxt 500
run sigmoid_bn cifar10_full_sigmoid_solver_bn.prototxt 2000
