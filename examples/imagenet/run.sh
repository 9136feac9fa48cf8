#!/usr/bin/env bash
# AlexNet, GoogLeNet and ResNet-50 on a set that fits anywhere: the four shapes of
# examples/shapes as 256 x 256 images, through the same base, mean and nets as
# ImageNet.  Prints the first and the last loss of each, and how long it took.
#   examples/imagenet/run.sh [NET...]    (alexnet googlenet resnet50)
# ITERATIONS names how many (default 40), BUILD the build folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${BUILD:-build}
iterations=${ITERATIONS:-40}
here=examples/imagenet
work=$here/data/run
mkdir -p "$work"
[ -f "$work/shapes/labels.txt" ] || /usr/bin/python3 examples/shapes/make_shapes.py "$work/shapes" first
[ -f "$work/imagenet_mean.binaryproto" ] ||
  BUILD=$build OUT=$work "$here/create_imagenet.sh" "$work/shapes" "$work/shapes" \
    "$work/shapes/train.txt" "$work/shapes/test.txt" 2>/dev/null

# run NET BATCH RATE: few images at a time, hence a rate of its own.
run() {
  local start=$SECONDS
  sed -e "s,examples/imagenet/\(ilsvrc12\|imagenet_mean\),$work/\1," \
    -e "s|batch_size: [0-9]*|batch_size: $2|" "$here/$1/train_val.prototxt" >"$work/$1.prototxt"
  cat >"$work/$1_solver.prototxt" <<SOLVER
net: "$work/$1.prototxt"
test_iter: 10 test_interval: $iterations test_initialization: false
base_lr: $3 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005 average_loss: 5
display: 1 max_iter: $iterations snapshot_prefix: "$work/$1" random_seed: 1
SOLVER
  "$build/tools/caffe" train --solver="$work/$1_solver.prototxt" >"$work/$1.log" 2>&1 || {
    tail -n 5 "$work/$1.log" >&2
    exit 1
  }
  sed -n "s|.*Iteration \([0-9]*\).*, loss = \(.*\)|$1: loss at \1: \2|p" "$work/$1.log" | sed -n '1p;$p'
  sed -n "s|.*Test net output #[0-9]*: \([^ ]* = [^ ]*\).*|$1: \1|p" "$work/$1.log"
  echo "$1: $((SECONDS - start)) s"
}
[ $# -gt 0 ] || set -- alexnet googlenet resnet50
for net in "$@"; do
  case $net in
    alexnet) run alexnet 16 0.002 ;;
    googlenet) run googlenet 16 0.01 ;;
    resnet50) run resnet50 8 0.01 ;;
    *)
      echo "run.sh: no net '$net': alexnet, googlenet or resnet50" >&2
      exit 2
      ;;
  esac
done
