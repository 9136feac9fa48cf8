#!/usr/bin/env bash
# The whole published schedule of cifar10_quick (4,000 clocks at 0.001, 1,000 at
# 0.0001; effective batch 100), four ways, on real CIFAR-10:
#   examples/cifar10/accuracy_runs.sh FOLDER_OF_BINARY_BATCHES WORK_DIR [RUN...]
# Runs: single, s0, s2, s2-no-fresh-wait (all, if none is named).  Each ends with
# one line: its name, the last test's accuracy and loss, seconds, staleness seen.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${CSSP_BUILD_DIR:-$here/../../build}
build=$(cd "$build" && pwd)
[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
batches=$(cd "$1" && pwd)
mkdir -p "$2"
work=$(cd "$2" && pwd)
shift 2
runs=("$@")
[ ${#runs[@]} -gt 0 ] || runs=(single s0 s2 s2-no-fresh-wait)
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

if [ ! -e "$work/mean.binaryproto" ]; then
  "$build/tools/convert_cifar_data" "$batches" "$work" lmdb
  "$build/tools/compute_image_mean" -backend=lmdb "$work/cifar10_train_lmdb" "$work/mean.binaryproto"
fi

net() {  # BATCH
  sed -e "s|examples/cifar10/|$work/|" -e "0,/batch_size: 100/s//batch_size: $1/" \
    "$here/cifar10_quick_train_test.prototxt"
}
solver() {  # NAME
  cat <<END
net: "$work/$1_net.prototxt"
test_iter: 100 test_interval: 500
base_lr: 0.001 momentum: 0.9 weight_decay: 0.004
lr_policy: "multistep" gamma: 0.1 stepvalue: 4000
display: 500 max_iter: 5000 snapshot: 5000 snapshot_prefix: "$work/$1"
solver_mode: CPU random_seed: 1
END
}

pids=()
stop_servers() {
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  pids=()
}
trap stop_servers EXIT

start_servers() {  # NAME: two of them; sets coordinator
  coordinator=''
  for i in 0 1; do
    local ready=$work/$1_ready-$i
    rm -rf "$ready" "$work/$1_state-$i"
    "$build/bin/ps-server" --set=id=ps-$i --set=state_dir="$work/$1_state-$i" \
      --set=ready_file="$ready" ${coordinator:+--set=coordinator=$coordinator} \
      2>"$work/$1_ps-$i.log" &
    pids+=($!)
    until [ -e "$ready" ]; do kill -0 "${pids[-1]}" && sleep 0.05; done
    [ "$i" -gt 0 ] || coordinator=$(sed -n 's/.*control=\([^ ]*\).*/\1/p' "$ready")
  done
}

last_test() {  # LOG
  grep -E 'Test net output #[01]: ' "$1" | tail -n 2 | sed -E 's/.*: (accuracy|loss) = ([0-9.]+).*/\1 \2/' | paste -sd' '
}

for run in "${runs[@]}"; do
  begin=$SECONDS staleness=''
  if [ "$run" = single ]; then
    net 100 >"$work/${run}_net.prototxt"
    solver "$run" >"$work/${run}_solver.prototxt"
    "$build/tools/caffe" train -solver="$work/${run}_solver.prototxt" 2>"$work/$run.log"
  else
    net 25 >"$work/${run}_net.prototxt"
    solver "$run" >"$work/${run}_solver.prototxt"
    options=(--staleness=0)
    [ "$run" = s0 ] || options=(--staleness=2)
    [ "$run" != s2-no-fresh-wait ] || options+=(--fresh_wait=0)
    start_servers "$run"
    "$build/bin/psctl" --coordinator="$coordinator" submit --solver="$work/${run}_solver.prototxt" \
      --workers=4 "${options[@]}" --launch=mpirun --job_file="$work/${run}_job" \
      --log="$work/$run.log" >"$work/${run}_psctl.log"
    staleness=$("$build/bin/psctl" --coordinator="$coordinator" describe "$(cat "$work/${run}_job")" -o json |
      /usr/bin/python3 -c '
import json, sys
seen = {}
for worker in json.load(sys.stdin)["workers"]:
    for clocks, count in enumerate(worker.get("staleness_histogram", [])):
        seen[clocks] = seen.get(clocks, 0) + int(count)
total = sum(seen.values())
print("staleness " + ", ".join(f"{k}: {100 * v / total:.1f} %" for k, v in seen.items() if v))')
    stop_servers
  fi
  echo "$run: $(last_test "$work/$run.log") in $((SECONDS - begin)) s $staleness"
done
