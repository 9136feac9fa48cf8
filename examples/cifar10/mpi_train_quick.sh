#!/usr/bin/env bash
# Trains cifar10_quick on PROCESSES processes: rank 0 is the parameter server,
# the others train.
#   examples/cifar10/mpi_train_quick.sh [PROCESSES [MACHINEFILE [CAFFE_FLAG...]]]
# Default: 3 processes on this machine.  MACHINEFILE is mpirun's; - for none.
# Further flags go to `caffe train` (--staleness=2, --global_batch, ...).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
caffe=./${BUILD:-build}/tools/caffe
case ${BUILD:-} in /*) caffe=$BUILD/tools/caffe ;; esac
solver=${SOLVER:-examples/cifar10/cifar10_quick_solver.prototxt}

fail() {
  echo "mpi_train_quick: $*" >&2
  exit 2
}
processes=${1:-3}
machines=${2:--}
shift $(($# < 2 ? $# : 2))
[[ $processes =~ ^[1-9][0-9]*$ ]] || fail "'$processes' is no number of processes"
where=()
if [ "$machines" != - ]; then
  [ -f "$machines" ] || fail "$machines: no such machine file"
  where=(-machinefile "$machines")
fi
command -v mpirun >/dev/null || fail "mpirun is not installed (Debian: openmpi-bin)"
[ -x "$caffe" ] || fail "$caffe is not built: build the project, or name its build folder in BUILD"

if [ "$(id -u)" -eq 0 ]; then
  # Open MPI asks twice whether root means it.
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# More processes than cores are fine, and none is pinned to a single core.
exec mpirun "${where[@]}" -n "$processes" --oversubscribe --bind-to none \
  "$caffe" train --solver="$solver" "$@"
