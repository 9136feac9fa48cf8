#!/usr/bin/env bash
# Makes the vectors, trains a logistic regression and a net of two layers, and
# prints what each gets right of the test vectors.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
caffe=${BUILD:-build}/tools/caffe
here=examples/hdf5_classification

/usr/bin/python3 "$here/make_data.py"
for solver in solver nonlinear_solver; do
  log=$here/data/$solver.log
  "$caffe" train --solver="$here/$solver.prototxt" >"$log" 2>&1 || {
    tail -n 5 "$log" >&2
    exit 1
  }
  echo "$solver: $(sed -n 's/.*Test net output #0: \(accuracy = .*\)/\1/p' "$log" | tail -n 1)"
done
# Test accuracy by iteration, of both.
/usr/bin/python3 worker/tools/plot_training_log.py 0 "$here/data/accuracy.png" \
  "$here/data/solver.log" "$here/data/nonlinear_solver.log"
