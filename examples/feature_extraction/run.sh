#!/usr/bin/env bash
# Extracts what two layers of the net in examples/shapes make of its test images
# into two bases.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${BUILD:-build}
data=examples/shapes/data
out=examples/feature_extraction/data
examples/shapes/prepare.sh 2>/dev/null
rm -rf "$out"
mkdir -p "$out"
"$build/tools/extract_features" "$data/shapes_iter_300.caffemodel" \
  examples/feature_extraction/shapes_features.prototxt fc4,fc5 \
  "$out/fc4_lmdb,$out/fc5_lmdb" 2 lmdb
