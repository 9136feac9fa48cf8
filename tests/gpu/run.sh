#!/bin/bash
# Runs the tests that need a GPU, from an unpacked bundle:
#   tar -xzf caffe-ssp.tar.gz && caffe-ssp/tests/run.sh [TEST...]
# Prints each test's summary; exits 0 only if every test ran and passed.  A test
# that is skipped counts as failed here: this script is for machines with a GPU.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bundle=$(dirname "$here")
logs=${CSSP_TEST_LOGS:-$(mktemp -d)}
mkdir -p "$logs"
export CSSP_BIN_DIR=$bundle/bin
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0

tests=("$@")
if [ ${#tests[@]} -eq 0 ]; then
  for path in "$here"/*; do
    case ${path##*/} in run.sh | README.md) ;; *) tests+=("${path##*/}") ;; esac
  done
fi

echo "run.sh: logs in $logs"
"$bundle/bin/caffe" device_query 2>&1 | sed 's/^[^]]*] //' | tee "$logs/device_query.log"
failed=()
for name in "${tests[@]}"; do
  log=$logs/$name.log
  start=$SECONDS
  # gtest counts a skip as passed: it must not pass for a run here.
  timeout "${CSSP_TEST_TIMEOUT:-300}" "$here/$name" >"$log" 2>&1
  rc=$?
  skipped=$(grep -c '^\[  SKIPPED \] .* ms)$' "$log")
  passed=$(grep -c '^\[       OK \]' "$log")
  verdict=passed
  if [ $rc -ne 0 ] || [ "$skipped" -ne 0 ] || [ "$passed" -eq 0 ]; then
    verdict=FAILED
    failed+=("$name")
  fi
  echo "run.sh: $name: $verdict (exit $rc, $passed passed, $skipped skipped, $((SECONDS - start)) s)"
  if [ "$verdict" = FAILED ]; then
    # The list at the end, not each test's own line.
    grep -E '^\[  (FAILED|SKIPPED) +\] [^ ]+$' "$log" | head -n 40
    if [ $rc -ne 0 ]; then
      grep -v -E '^\[( RUN|       OK|---|===)' "$log" | tail -n "${CSSP_TEST_TAIL:-60}"
    fi
  fi
done

if [ ${#failed[@]} -gt 0 ]; then
  echo "run.sh: failed: ${failed[*]}"
  exit 1
fi
echo "run.sh: all ${#tests[@]} test programs passed"
