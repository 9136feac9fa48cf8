#!/usr/bin/env bash
# Configures and builds: deploy/build.sh BUILD_DIR [TARGET...] [-- CMAKE_ARGS...]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
build=${1:?usage: deploy/build.sh BUILD_DIR [TARGET...] [-- CMAKE_ARGS...]}
shift
targets=()
while [ $# -gt 0 ] && [ "$1" != "--" ]; do
  targets+=("$1")
  shift
done
[ $# -gt 0 ] && shift

generator=()
command -v ninja >/dev/null && [ ! -f "$build/CMakeCache.txt" ] && generator=(-G Ninja)
# One cache serves every checkout: paths are hashed relative to its root.
export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root} CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR:-1}
mkdir -p "$build"
log=$build/configure.log
if ! cmake -S "$root" -B "$build" "${generator[@]}" "$@" >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  exit 1
fi
# nproc heeds OMP_NUM_THREADS, which is about the tests.
jobs=$(env -u OMP_NUM_THREADS nproc)
args=(--build "$build" --parallel "$jobs")
[ ${#targets[@]} -gt 0 ] && args+=(--target "${targets[@]}")
exec cmake "${args[@]}"
