#!/usr/bin/env bash
# Fine-tunes the net of examples/shapes on windows and finds shapes in scenes.
#   examples/detection/run.sh [OUTPUT_FOLDER]
# BUILD names the build folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
examples/shapes/prepare.sh 2>/dev/null
export CSSP_BUILD_DIR=${BUILD:-build} GLOG_minloglevel=${GLOG_minloglevel:-1}
exec /usr/bin/python3 examples/detection/detection.py "$@"
