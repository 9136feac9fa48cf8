#!/usr/bin/env bash
# Classifies test images of examples/shapes with its net.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${BUILD:-build}
data=examples/shapes/data
examples/shapes/prepare.sh 2>/dev/null
"$build/examples/cpp_classification/classification.bin" \
  examples/shapes/shapes_deploy.prototxt "$data/shapes_iter_300.caffemodel" \
  "$data/mean.binaryproto" "$data/first/labels.txt" "$data"/first/test/*/000.png
