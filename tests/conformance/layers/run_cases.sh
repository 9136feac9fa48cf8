#!/usr/bin/env bash
# Runs every case file of a folder, twice: run_cases.sh LAYER_DRIVER FOLDER [cpu|cuda]
set -euo pipefail
driver=${1:?usage: run_cases.sh LAYER_DRIVER FOLDER [cpu|cuda]}
folder=${2:?usage: run_cases.sh LAYER_DRIVER FOLDER [cpu|cuda]}
device=${3:-cuda}
"$driver" --list "$device" >"$folder/types"
rc=0
while read -r type; do
  cases=$folder/$type.cases
  [ -f "$cases" ] || continue
  for answers in answers again; do
    "$driver" "$cases" "$folder/$type.$answers" "$device" || { echo "$type: rc $?"; rc=1; }
  done
done <"$folder/types"
exit "$rc"
