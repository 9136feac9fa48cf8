#!/usr/bin/env bash
# Makes mnist_siamese_train_leveldb and mnist_siamese_test_leveldb, pairs of
# images, of the files that examples/mnist/get_mnist.sh has put in place.
# BUILD names the build folder (default: build beside examples).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${BUILD:-$here/../../build}
data=$here/../mnist/data
tool=$build/tools/convert_mnist_siamese_data
[ -x "$tool" ] || {
  echo "create_mnist_siamese: $tool is not built: build the project, or name its build folder in BUILD" >&2
  exit 2
}
echo "Creating leveldb..."
rm -rf "$here/mnist_siamese_train_leveldb" "$here/mnist_siamese_test_leveldb"
"$tool" "$data/train-images-idx3-ubyte" "$data/train-labels-idx1-ubyte" \
  "$here/mnist_siamese_train_leveldb"
"$tool" "$data/t10k-images-idx3-ubyte" "$data/t10k-labels-idx1-ubyte" \
  "$here/mnist_siamese_test_leveldb"
echo "Done."
