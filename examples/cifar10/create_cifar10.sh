#!/usr/bin/env bash
# Makes cifar10_train_<db>, cifar10_test_<db> and mean.binaryproto of the batches
# in examples/cifar10/data, in examples/cifar10.
#   examples/cifar10/create_cifar10.sh [lmdb|leveldb]
# BUILD names the build folder (default: build beside examples).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${BUILD:-$here/../../build}
db=${1:-lmdb}
case $db in lmdb | leveldb) ;; *)
  echo "create_cifar10: unknown kind of base '$db': give lmdb or leveldb" >&2
  exit 2
  ;;
esac
for tool in tools/convert_cifar_data tools/compute_image_mean; do
  [ -x "$build/$tool" ] || {
    echo "create_cifar10: $build/$tool is not built: build the project, or name its build folder in BUILD" >&2
    exit 2
  }
done

echo "Creating $db..."
rm -rf "$here/cifar10_train_$db" "$here/cifar10_test_$db"
"$build/tools/convert_cifar_data" "$here/data" "$here" "$db"
echo "Computing image mean..."
"$build/tools/compute_image_mean" --backend="$db" "$here/cifar10_train_$db" "$here/mean.binaryproto"
echo "Done."
