#!/usr/bin/env bash
# Makes the pairs, trains for 1,000 iterations and prints the test loss before
# and after.
#   examples/siamese/run.sh [LOCAL_FOLDER]    (for get_mnist.sh)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${BUILD:-build}
here=examples/siamese
work=$here/data
mkdir -p "$work"
[ -f examples/mnist/data/t10k-labels-idx1-ubyte ] || examples/mnist/get_mnist.sh "$@"
[ -d "$here/mnist_siamese_test_leveldb" ] || BUILD=$build "$here/create_mnist_siamese.sh"
sed -e 's|^max_iter:.*|max_iter: 1000|' -e 's|^test_interval:.*|test_interval: 1000|' \
  -e "s|^snapshot_prefix:.*|snapshot_prefix: \"$work/siamese\"|" \
  "$here/mnist_siamese_solver.prototxt" >"$work/solver.prototxt"
echo 'random_seed: 1' >>"$work/solver.prototxt"
"$build/tools/caffe" train --solver="$work/solver.prototxt" >"$work/train.log" 2>&1 || {
  tail -n 5 "$work/train.log" >&2
  exit 1
}
sed -n 's/.*Test net output #0: \(loss = [^ ]*\).*/\1/p' "$work/train.log"
