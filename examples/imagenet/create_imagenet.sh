#!/usr/bin/env bash
# Makes ilsvrc12_train_lmdb, ilsvrc12_val_lmdb and imagenet_mean.binaryproto in
# examples/imagenet, or in the folder OUT.
#   create_imagenet.sh TRAIN_FOLDER/ VAL_FOLDER/ TRAIN_LIST VAL_LIST
# BUILD names the build folder (default: build beside examples), SIDE the images'
# sides (default 256).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${BUILD:-$here/../../build}/tools
side=${SIDE:-256}
out=${OUT:-$here}
[ $# -eq 4 ] || {
  echo "usage: create_imagenet.sh TRAIN_FOLDER/ VAL_FOLDER/ TRAIN_LIST VAL_LIST" >&2
  exit 2
}
[ -x "$tools/convert_imageset" ] || {
  echo "create_imagenet: $tools/convert_imageset is not built: build the project, or name its build folder in BUILD" >&2
  exit 2
}
convert() {
  "$tools/convert_imageset" --encoded --encode_type=jpg --shuffle \
    --resize_height="$side" --resize_width="$side" "$1/" "$2" "$out/$3"
}
convert "$1" "$3" ilsvrc12_train_lmdb
convert "$2" "$4" ilsvrc12_val_lmdb
"$tools/compute_image_mean" "$out/ilsvrc12_train_lmdb" "$out/imagenet_mean.binaryproto"
