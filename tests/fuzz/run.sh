#!/usr/bin/env bash
# Fuzzes one target for some seconds: tests/fuzz/run.sh TARGET SECONDS [libFuzzer options]
# Builds in build-fuzz with clang, libFuzzer, ASan and UBSan. New inputs go to
# build-fuzz/corpus/TARGET; what crashes, leaks, takes over 25 s or 2 GiB is
# left in build-fuzz/crashes. Exit code 0: nothing was found.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${1:?usage: tests/fuzz/run.sh TARGET SECONDS (targets: $(cd "$here/corpus" && echo *))}
seconds=${2:?usage: tests/fuzz/run.sh TARGET SECONDS}
shift 2
[ -d "$here/corpus/$target" ] || { echo "run.sh: no target '$target'" >&2; exit 2; }

build=$root/build-fuzz
flags='-fsanitize=fuzzer-no-link -fno-omit-frame-pointer'
CC=clang CXX=clang++ "$root/deploy/build.sh" "$build" "${target}_fuzz" -- \
  -DCSSP_FUZZ=ON "-DCSSP_SANITIZE=address,undefined" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  "-DCMAKE_C_FLAGS=$flags" "-DCMAKE_CXX_FLAGS=$flags" >"$root/build-fuzz.log" 2>&1 ||
  { tail -n 20 "$root/build-fuzz.log" >&2; exit 1; }

mkdir -p "$build/corpus/$target" "$build/crashes"
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
export LSAN_OPTIONS=suppressions=$root/tests/lint/lsan.supp:print_suppressions=0
export UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=1
options=(-max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 -malloc_limit_mb=1024
         -artifact_prefix="$build/crashes/$target-" -print_final_stats=1)
case $target in
  prototxt | layer)  # the fields' names, as a dictionary
    dict=$build/caffe.dict
    sed -nE 's/^ *(optional|repeated|required) +[A-Za-z0-9.]+ +([a-z_0-9]+) =.*/"\2"/p' \
      "$root/proto/caffe.proto" | sort -u >"$dict"
    options+=(-dict="$dict") ;;
esac
exec nice -n 15 "$build/tests/bin/${target}_fuzz" "${options[@]}" "$@" \
  "$build/corpus/$target" "$here/corpus/$target"
