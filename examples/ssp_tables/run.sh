#!/usr/bin/env bash
# Matrix factorisation, LDA and Lasso on SSP tables, at several staleness bounds,
# with one worker in turn slower than the others; draws the paper's curves.
#
#   examples/ssp_tables/run.sh [--staleness "0 1 2 4"] [--apps "lda lasso ..."]
#       [--workers N] [--clocks N] [--clock_ms MS] [--straggler FACTOR]
#       [--eager] [--work DIR]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$(dirname "$here")")

staleness='0 1 2 4 8' apps='matrix_factorization lda lasso' workers=4 clocks=60 clock_ms=25
straggler=4 eager='' work=''
fail() { echo "ssp_tables: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --eager) eager=eager ;;
    --staleness | --apps | --workers | --clocks | --clock_ms | --straggler | --work)
      [ $# -ge 2 ] || fail "$1 wants a value"
      printf -v "${1#--}" %s "$2"
      shift ;;
    *) fail "unknown option $1" ;;
  esac
  shift
done

"$root/deploy/setup.sh"
build=$root/build
read -r -a programs <<<"$apps"
"$root/deploy/build.sh" "$build" ps-server psctl "${programs[@]}" >"$build.log" 2>&1 ||
  { tail -n 30 "$build.log" >&2; exit 1; }
work=${work:-$build/ssp_tables}
mkdir -p "$work"
work=$(cd "$work" && pwd)
run=$(mktemp -d "$work/run.XXXXXX")
pids=()
cleanup() {
  trap - EXIT INT TERM
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$run"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

coordinator=''
for i in 0 1; do
  "$build/bin/ps-server" --set=id=ps-$i --set=state_dir="$run/state-$i" \
    --set=ready_file="$run/ready-$i" ${coordinator:+--set=coordinator=$coordinator} \
    2>"$run/ps-$i.log" &
  pids+=($!)
  for ((try = 0; try < 200; ++try)); do
    [ -f "$run/ready-$i" ] && break
    read -r -t 0.05 <> <(:) || true
  done
  [ -f "$run/ready-$i" ] || { cat "$run/ps-$i.log" >&2; exit 1; }
  [ "$i" -gt 0 ] || coordinator=$(sed -n 's/.*control=\([^ ]*\).*/\1/p' "$run/ready-0")
done

for app in $apps; do
  case $app in
    matrix_factorization) table=items:600x8 ;;
    lda) table=words:1001x20:sparse=1001 ;;
    lasso) table=fit:8x64 ;;
    *) fail "no program $app" ;;
  esac
  for s in $staleness; do
    echo "ssp_tables: $app, staleness $s"
    "$build/bin/psctl" --coordinator="$coordinator" submit --launch=none --tables="$table" \
      --name="$app-$s" --workers="$workers" --staleness="$s" \
      --token_file="$run/token" --job_file="$run/job" >/dev/null
    mine=()
    for ((rank = 0; rank < workers; ++rank)); do
      "$build/examples/ssp_tables/$app" "$coordinator" "$(cat "$run/job")" "$run/token" "$rank" \
        "$clocks" "$clock_ms" "$straggler" "$work/$app-s$s-$rank.csv" ${eager:+eager} 2>"$run/$rank.log" &
      mine+=($!)
    done
    for ((rank = 0; rank < workers; ++rank)); do
      wait "${mine[rank]}" || { cat "$run/$rank.log" >&2; exit 1; }
    done
  done
  /usr/bin/python3 "$here/plot.py" "$work" "$app" "$work/$app.png"
done
