#!/usr/bin/env bash
# Draws the images, makes the bases and trains the net for the first four shapes,
# unless that is done already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${BUILD:-build}
here=examples/shapes
data=$here/data
for set in first second; do
  [ -f "$data/$set/labels.txt" ] || /usr/bin/python3 "$here/make_shapes.py" "$data/$set" "$set"
done
for part in train test; do
  [ -d "$data/shapes_${part}_lmdb" ] ||
    "$build/tools/convert_imageset" --encoded "$data/first/" "$data/first/$part.txt" \
      "$data/shapes_${part}_lmdb"
done
[ -f "$data/mean.binaryproto" ] ||
  "$build/tools/compute_image_mean" "$data/shapes_train_lmdb" "$data/mean.binaryproto"
[ -f "$data/shapes_iter_300.caffemodel" ] ||
  "$build/tools/caffe" train --solver="$here/shapes_solver.prototxt" >"$data/shapes.log" 2>&1 || {
  tail -n 5 "$data/shapes.log" >&2
  exit 1
}
