#!/usr/bin/env bash
# The main job, end to end, on this machine: ps-servers and workers on loopback
# train a small net under a staleness bound, while you watch.
#
#   examples/quickstart/run.sh [--data DIR] [--workers N] [--servers N]
#       [--staleness N] [--straggler rank:factor|rotating:factor]
#       [--clocks N] [--work DIR]
#
# --data DIR names a folder with CIFAR-10's binary batches; with none, a labelled
# image set is made (digits under random affine maps, colours and noise).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$(dirname "$here")")

data='' workers=4 servers=2 staleness=0 straggler='' clocks=1500 work=''
usage() { sed -n '2,10s/^# \{0,1\}//p' "$0"; }
fail() { echo "quickstart: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do
  option=${1%%=*}
  case $option in
    -h | --help) usage; exit 0 ;;
    --data | --workers | --servers | --staleness | --straggler | --clocks | --work) ;;
    *) usage >&2; fail "unknown option $option" ;;
  esac
  if [ "$option" != "$1" ]; then value=${1#*=}; else
    [ $# -ge 2 ] || fail "$option wants a value"
    value=$2
    shift
  fi
  shift
  printf -v "${option#--}" %s "$value"
done
for number in workers servers staleness clocks; do
  [[ ${!number} =~ ^[0-9]+$ ]] || fail "--$number wants a number, not '${!number}'"
done
[ "$workers" -ge 1 ] && [ "$servers" -ge 1 ] && [ "$clocks" -ge 1 ] ||
  fail "--workers, --servers and --clocks are at least 1"
[ "$workers" -le 16 ] && [ "$servers" -le 16 ] || fail "at most 16 workers and 16 servers"
[ -z "$data" ] || [ -f "$data/test_batch.bin" ] ||
  fail "$data has no CIFAR-10 binary batches (data_batch_1.bin ... test_batch.bin)"

"$root/deploy/setup.sh"
build=$root/build
echo "quickstart: building (a few minutes the first time)"
"$root/deploy/build.sh" "$build" ps-server psctl caffe-worker convert_cifar_data compute_image_mean \
  >"$build.log" 2>&1 || { tail -n 30 "$build.log" >&2; exit 1; }

work=${work:-$build/quickstart}
mkdir -p "$work"
work=$(cd "$work" && pwd)
run=$(mktemp -d "$work/run.XXXXXX")
pids=()
cleanup() {
  trap - EXIT INT TERM
  [ -z "${client:-}" ] || { kill -INT "$client" 2>/dev/null && wait "$client" 2>/dev/null; } || true
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$run"
}
trap cleanup EXIT
trap 'echo; echo "quickstart: interrupted, taking everything down" >&2; exit 130' INT TERM

# ---- Data --------------------------------------------------------------------
if [ -n "$data" ]; then
  images=$(cd "$data" && pwd)
  echo "quickstart: CIFAR-10 from $images"
else
  images=$work/glyphs
  echo "quickstart: no --data given: training on an image set of our own making" \
    "(10 classes of rendered digits, 20,000 + 4,000 images of 32x32x3, fixed seed)"
  [ -f "$images/.done" ] || { /usr/bin/python3 "$here/make_glyphs.py" "$images" && touch "$images/.done"; }
fi
if [ "$(cat "$work/source" 2>/dev/null)" != "$images" ]; then
  rm -rf "$work"/cifar10_{train,test}_lmdb "$work/mean.binaryproto" "$work/source"
  "$build/tools/convert_cifar_data" "$images" "$work" lmdb 2>"$run/convert.log" ||
    { cat "$run/convert.log" >&2; exit 1; }
  "$build/tools/compute_image_mean" --backend=lmdb "$work/cifar10_train_lmdb" \
    "$work/mean.binaryproto" 2>"$run/mean.log" || { cat "$run/mean.log" >&2; exit 1; }
  echo "$images" >"$work/source"
fi
# An effective batch of 100, dealt over the workers.
batch=$((100 / workers > 0 ? 100 / workers : 1))
for file in quick_train_test quick_solver; do
  sed -e "s|@WORK@|$work|g" -e "s|@BATCH@|$batch|g" -e "s|@CLOCKS@|$clocks|g" \
    -e "s|@STEP@|$((clocks * 4 / 5))|g" "$here/$file.prototxt.in" >"$work/$file.prototxt"
done

# ---- Servers -----------------------------------------------------------------
coordinator=''
for ((i = 0; i < servers; ++i)); do
  "$build/bin/ps-server" --set=id=ps-$i --set=state_dir="$run/state-$i" \
    --set=ready_file="$run/ready-$i" ${coordinator:+--set=coordinator=$coordinator} \
    2>"$run/ps-$i.log" &
  pids+=($!)
  for ((try = 0; try < 200; ++try)); do
    [ -f "$run/ready-$i" ] && break
    kill -0 "${pids[-1]}" 2>/dev/null || { cat "$run/ps-$i.log" >&2; exit 1; }
    read -r -t 0.05 <> <(:) || true
  done
  [ -f "$run/ready-$i" ] || { echo "quickstart: ps-$i did not start" >&2; cat "$run/ps-$i.log" >&2; exit 1; }
  [ "$i" -gt 0 ] || coordinator=$(sed -n 's/.*control=\([^ ]*\).*/\1/p' "$run/ready-0")
done
export CSSP_COORDINATOR=$coordinator
echo "quickstart: $servers ps-servers (coordinator $coordinator)"

# ---- The job -----------------------------------------------------------------
echo "quickstart: $workers workers x batch $batch, staleness $staleness, $clocks clocks"
"$build/bin/psctl" submit --solver="$work/quick_solver.prototxt" --name=quickstart \
  --workers="$workers" --staleness="$staleness" ${straggler:+--straggler="$straggler"} \
  --launch=mpirun --events="$run/events.jsonl" --job_file="$run/job" --log="$work/train.log" &
client=$!
rc=0
wait "$client" || rc=$?
client=''
[ "$rc" -eq 0 ] || { echo "quickstart: the job failed; last lines of $work/train.log:" >&2
  tail -n 20 "$work/train.log" >&2; exit "$rc"; }

# ---- What came of it ---------------------------------------------------------
job=$(cat "$run/job")
"$build/bin/psctl" describe "$job" -o json >"$run/job.json"
/usr/bin/python3 "$here/plot_job.py" "$run/events.jsonl" "$work/quickstart.png" \
  "cifar10_quick, $workers workers, $servers servers, staleness $staleness"
/usr/bin/python3 "$here/summary.py" "$run/job.json" "$work/quickstart.png"
