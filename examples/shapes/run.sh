#!/usr/bin/env bash
# From image files to a trained net, and from that to one for other shapes:
# once from its weights, once from scratch.  Prints the test accuracies.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
caffe=${BUILD:-build}/tools/caffe
here=examples/shapes
data=$here/data
"$here/prepare.sh" 2>/dev/null

last() { sed -n 's/.*Test net output #0: \(accuracy = .*\)/\1/p' "$1" | tail -n 1; }
echo "four shapes, 300 iterations: $(last "$data/shapes.log")"
"$caffe" train --solver="$here/finetune_solver.prototxt" \
  --weights="$data/shapes_iter_300.caffemodel" >"$data/finetune.log" 2>&1
echo "four others, 100 iterations, fine-tuned: $(last "$data/finetune.log")"
"$caffe" train --solver="$here/finetune_solver.prototxt" >"$data/scratch.log" 2>&1
echo "four others, 100 iterations, from scratch: $(last "$data/scratch.log")"
# Test accuracy by iteration: what the first net's weights are worth.
/usr/bin/python3 worker/tools/plot_training_log.py 0 "$data/finetune.png" \
  "$data/finetune.log" "$data/scratch.log"
