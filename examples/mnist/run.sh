#!/usr/bin/env bash
# LeNet for 1,000 iterations, then the autoencoder for 300 with each of its four
# solvers; prints what the tests say at the end.
#   examples/mnist/run.sh [LOCAL_FOLDER]    (for get_mnist.sh)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${BUILD:-build}
here=examples/mnist
work=$here/data/run
mkdir -p "$work"
[ -f "$here/data/t10k-labels-idx1-ubyte" ] || "$here/get_mnist.sh" "$@"
[ -d "$here/mnist_test_lmdb" ] || BUILD=$build "$here/create_mnist.sh"

# run NAME SOLVER ITERATIONS: the solver, cut short; the log of its last test.
run() {
  sed -e "s|^max_iter:.*|max_iter: $3|" -e "s|^test_interval:.*|test_interval: $3|" \
    -e "s|^snapshot_prefix:.*|snapshot_prefix: \"$work/$1\"|" \
    -e "s|^test_iter: 500|test_iter: 100|" "$here/$2" >"$work/$1.prototxt"
  echo 'test_initialization: false random_seed: 1' >>"$work/$1.prototxt"
  "$build/tools/caffe" train --solver="$work/$1.prototxt" >"$work/$1.log" 2>&1 || {
    tail -n 5 "$work/$1.log" >&2
    exit 1
  }
  sed -n "s|.*Test net output #[0-9]*: \(.*\)|$1: \1|p" "$work/$1.log"
}
run lenet lenet_solver.prototxt 1000
run autoencoder mnist_autoencoder_solver.prototxt 300
for kind in nesterov adagrad adadelta; do
  run "autoencoder_$kind" "mnist_autoencoder_solver_$kind.prototxt" 300
done
