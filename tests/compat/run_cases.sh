#!/usr/bin/env bash
# Runs the cases that a test wrote ($CSSP_CASES_TO), on a machine without Python:
#   run_cases.sh BUNDLE CASES ANSWERS [cpu|cuda]
# BUNDLE is an unpacked bundle with forward_dump (or a build folder).  A case is a
# folder: a net with weights and inputs, or one with the arguments of `caffe test`.
set -uo pipefail
usage='usage: run_cases.sh BUNDLE CASES ANSWERS [cpu|cuda]'
bundle=$(realpath "${1:?$usage}") cases=$(realpath "${2:?$usage}") answers=${3:?$usage} device=${4:-cuda}
mkdir -p "$answers"
answers=$(realpath "$answers")

find_program() {  # NAME FOLDER...
  local name=$1 folder
  for folder in "${@:2}"; do
    if [ -x "$bundle/$folder/$name" ]; then echo "$bundle/$folder/$name"; return; fi
  done
  echo "run_cases.sh: no $name in $bundle" >&2
  exit 1
}
dump=$(find_program forward_dump tests tests/bin) || exit 1
caffe=$(find_program caffe bin tools) || exit 1
gpu=()
[ "$device" = cuda ] && gpu=(--gpu=0)

failed=0
for case in "$cases"/*/; do
  name=$(basename "$case")
  out=$answers/$name
  mkdir -p "$out"
  cd "$case" || exit 1
  if [ -f arguments ]; then
    read -r -a arguments <arguments
    "$caffe" "${arguments[@]}" "${gpu[@]}" >"$out/log" 2>&1
  else
    # Answers belong to these very bytes.
    sha256sum net.prototxt net.caffemodel in.f32 >"$out/case.sha256"
    "$dump" net.prototxt net.caffemodel in.f32 "$out/out.f32" "$device" >"$out/log" 2>&1
  fi
  rc=$?
  echo "run_cases.sh: $name: exit $rc"
  [ $rc -eq 0 ] || { failed=1; tail -n 20 "$out/log"; }
done
exit $failed
