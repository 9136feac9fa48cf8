#!/usr/bin/env bash
# Makes mnist_train_<db> and mnist_test_<db> of the files in examples/mnist/data,
# in examples/mnist.
#   examples/mnist/create_mnist.sh [lmdb|leveldb]
# BUILD names the build folder (default: build beside examples).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${BUILD:-$here/../../build}
db=${1:-lmdb}
case $db in lmdb | leveldb) ;; *)
  echo "create_mnist: unknown kind of base '$db': give lmdb or leveldb" >&2
  exit 2
  ;;
esac
[ -x "$build/tools/convert_mnist_data" ] || {
  echo "create_mnist: $build/tools/convert_mnist_data is not built: build the project, or name its build folder in BUILD" >&2
  exit 2
}

echo "Creating $db..."
rm -rf "$here/mnist_train_$db" "$here/mnist_test_$db"
"$build/tools/convert_mnist_data" "$here/data/train-images-idx3-ubyte" \
  "$here/data/train-labels-idx1-ubyte" "$here/mnist_train_$db" --backend="$db"
"$build/tools/convert_mnist_data" "$here/data/t10k-images-idx3-ubyte" \
  "$here/data/t10k-labels-idx1-ubyte" "$here/mnist_test_$db" --backend="$db"
echo "Done."
