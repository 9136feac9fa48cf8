# shellcheck shell=sh
# Sourced by a bundle's starter: where CUDA's libraries and UCX's modules are.
# POSIX sh.  Nothing here names the bundle's own libraries: what the programs
# start (mpirun) inherits the environment, and has libraries of its own.
#
# Of CUDA only what a GPU program needs at its start, cuDNN and cuBLAS, is looked
# for: $CSSP_CUDA_LIBRARIES (folders, separated by ':'), what the system's loader
# knows, the toolkit's usual place, Python packages.  The driver's libcuda is the
# system's.
: "${PATH:=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
export PATH
# shellcheck disable=SC2154  # self: the starter, in the bundle's lib
CSSP_BUNDLE=${self%/*/*}

cssp_cuda_libraries() {
  if [ -n "$CSSP_CUDA_LIBRARIES" ]; then
    echo "$CSSP_CUDA_LIBRARIES"
    return
  fi
  known=$(ldconfig -p 2>/dev/null)
  case $known in *libcudnn.so.9*libcublas.so.13* | *libcublas.so.13*libcudnn.so.9*) return ;; esac
  for folder in /usr/local/cuda/lib64 /usr/local/cuda/targets/*/lib; do
    if [ -e "$folder/libcudnn.so.9" ] && [ -e "$folder/libcublas.so.13" ]; then
      echo "$folder"
      return
    fi
  done
  # pip's nvidia-* packages, of whichever python3 comes first.
  python3 - 2>/dev/null <<'END'
import glob, importlib.util
found = importlib.util.find_spec("nvidia")
roots = list(found.submodule_search_locations) if found else []
print(":".join(f for r in roots for f in sorted(glob.glob(r + "/*/lib"))))
END
}

# Looking takes a moment: once a shell, since children inherit it.
if [ "${CSSP_BUNDLE_READY-}" != "$CSSP_BUNDLE" ]; then
  cuda=$(cssp_cuda_libraries)
  [ -z "$cuda" ] || export LD_LIBRARY_PATH="$cuda${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  export UCX_MODULE_DIR="$CSSP_BUNDLE/lib/ucx"
  export CSSP_BUNDLE_READY="$CSSP_BUNDLE"
fi
