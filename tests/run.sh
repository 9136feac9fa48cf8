#!/usr/bin/env bash
# Set-up, build and the whole test suite.
#   tests/run.sh                      the default tier (what CI runs)
#   tests/run.sh --slow               and the tests labelled slow
#   tests/run.sh --sanitize=address,undefined    the default tier under ASan+UBSan
#   tests/run.sh --sanitize=thread    unit and simulation tests under TSan
#   tests/run.sh --lint               clang's thread-safety analysis, warnings as errors
#   tests/run.sh -R REGEX ...         other arguments go to ctest
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

sanitize='' lint='' slow='' ctest_args=() targets=()
for arg in "$@"; do
  case $arg in
    --sanitize=*) sanitize=${arg#*=} ;;
    --lint) lint=1 ;;
    --slow) slow=1 ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) ctest_args+=("$arg") ;;
  esac
done

"$root/deploy/setup.sh"

build=$root/build cmake_args=()
case $sanitize in
  '') ;;
  address,undefined)
    build=$root/build-asan
    # UCX hooks mmap, which the sanitizer does not survive.
    export UCX_MEM_MMAP_HOOK_MODE=none UCX_HANDLE_ERRORS=none
    export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:allocator_may_return_null=1
    export LSAN_OPTIONS=suppressions=$here/lint/lsan.supp:print_suppressions=0
    export UBSAN_OPTIONS=print_stacktrace=1
    export OMP_NUM_THREADS=1 ;;
  thread)
    build=$root/build-tsan
    export UCX_MEM_MMAP_HOOK_MODE=none UCX_HANDLE_ERRORS=none
    export TSAN_OPTIONS=suppressions=$here/lint/tsan.supp:second_deadlock_stack=1:allocator_may_return_null=1
    export OMP_NUM_THREADS=1
    targets=(tests_unit tests_sim)
    ctest_args+=(-L 'unit|sim') ;;
  *) echo "run.sh: --sanitize takes address,undefined or thread" >&2; exit 2 ;;
esac
# Ten times slower and more: fewer of the simulated schedules.
[ -n "$sanitize" ] && export CSSP_SIM_SCHEDULES=${CSSP_SIM_SCHEDULES:-10000}
[ -n "$sanitize" ] && cmake_args+=("-DCSSP_SANITIZE=$sanitize" -DCMAKE_BUILD_TYPE=RelWithDebInfo
  '-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1 -DNDEBUG')
if [ -n "$lint" ]; then
  build=$root/build-lint
  targets=(proto_sources)
  cmake_args+=(-DCMAKE_CXX_COMPILER=clang++ -DCMAKE_EXPORT_COMPILE_COMMANDS=ON
    "-DCMAKE_CXX_FLAGS=-Werror=thread-safety")
fi

echo "run.sh: building in $build"
start=$SECONDS
"$root/deploy/build.sh" "$build" "${targets[@]}" -- "${cmake_args[@]}" >"$build.log" 2>&1 || {
  grep -E -A5 'error|FAILED' "$build.log" | head -n 60 >&2
  tail -n 5 "$build.log" >&2
  echo "run.sh: the build failed (whole log: $build.log)" >&2
  exit 1
}
echo "run.sh: built in $((SECONDS - start)) s"
[ -n "$lint" ] && exec "$here/lint/thread_safety.py" "$build"

# Real data, where there is any: tests that want it are skipped by name without.
data=${CSSP_TEST_DATA:-$root/../shared/data}
if [ -x "$data/unpack.sh" ]; then
  CSSP_TEST_DATA=$(cd "$data" && pwd)
  export CSSP_TEST_DATA
  CSSP_UNPACKED_DATA=$("$CSSP_TEST_DATA/unpack.sh" "$build/test-data" cifar10 mnist)
  export CSSP_UNPACKED_DATA
fi
export CSSP_BUILD_DIR=$build
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# Spinning OpenMP threads stall on a shared machine.
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0

[ -n "$slow" ] || ctest_args+=(-LE slow)
rc=0
ctest --test-dir "$build" --output-on-failure --timeout 900 "${ctest_args[@]}" || rc=$?

# GoogleTest hides its skips inside an executable's log: count them by name.
log=$build/Testing/Temporary/LastTest.log
skipped=$(grep -ahoE '^\[  SKIPPED \] [^ ]+\.[^ ,]+' "$log" | sed 's/^[^]]*\] //' | sort -u || true)
if [ -n "$skipped" ]; then
  echo "skipped, by name ($(wc -l <<<"$skipped")):"
  while read -r name; do echo "  $name"; done <<<"$skipped"
else
  echo "skipped: none"
fi
exit "$rc"
