#!/usr/bin/env bash
# Packs what was built into one archive that runs from any folder of a machine on
# which nothing is installed: programs, tests, shared libraries, UCX's modules.
#   deploy/bundle.sh BUILD_DIR OUT.tar.gz [TEST...]
# Without tests named: all those labelled gpu.  See deploy/README.md.
set -euo pipefail
usage='usage: deploy/bundle.sh BUILD_DIR OUT.tar.gz [TEST...]'
build=$(realpath "${1:?$usage}") out=$(realpath "${2:?$usage}")
shift 2
command -v patchelf >/dev/null || { echo "bundle.sh: no patchelf (deploy/setup.sh)" >&2; exit 1; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
bundle=$stage/caffe-ssp
mkdir -p "$bundle"/{bin,lib/ucx,libexec,tests}

programs=()
for name in caffe caffe-worker ps-server psctl; do
  for path in "$build/bin/$name" "$build/tools/$name"; do
    if [ -x "$path" ]; then programs+=("$path"); break; fi
  done
done
[ ${#programs[@]} -gt 0 ] || { echo "bundle.sh: no program in $build" >&2; exit 1; }
tests=("$@")
if [ ${#tests[@]} -eq 0 ]; then
  # Asked from a folder of its own: the build's may be at its tests, whose log
  # ctest would begin anew.
  mkdir "$stage/list"
  echo "subdirs(\"$build\")" >"$stage/list/CTestTestfile.cmake"
  mapfile -t tests < <(ctest --test-dir "$stage/list" -N -L '^gpu$' |
    sed -n 's/^ *Test *#[0-9]*: *//p')
fi

for path in "${programs[@]}"; do cp -L "$path" "$bundle/libexec/"; done
for name in "${tests[@]}"; do cp -L "$build/tests/bin/$name" "$bundle/libexec/"; done
for module in "$(dirname "$(ldconfig -p | sed -n 's/.*libucp\.so\.0.*=> //p' | head -n1)")"/ucx/*.so.0; do
  cp -L "$module" "$bundle/lib/ucx/"
done

# Not packed: what belongs to the system (libc, the C++ runtime: every later
# system's will do), to the GPU's driver and toolkit, and to the fabric's driver
# (UCX goes without InfiniBand where it is missing).
hosts='^(linux-vdso|ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|anl|nsl|stdc\+\+|gcc_s|ibverbs|rdmacm|mlx[45]|efa|nl-3|nl-route-3|cuda|cudart|cudnn.*|cublas.*|nvrtc.*|nccl))\.so'
for file in "$bundle"/libexec/* "$bundle"/lib/ucx/*; do
  ldd "$file"
done | sed -n 's/^\t\(\S*\) => \(\/\S*\) .*/\1 \2/p' | sort -u |
  while read -r soname path; do
    [[ $soname =~ $hosts ]] || cp -L "$path" "$bundle/lib/$soname"
  done
chmod u+w "$bundle"/lib/*.so* "$bundle"/lib/ucx/* "$bundle"/libexec/*
strip --strip-unneeded "$bundle"/libexec/* "$bundle"/lib/*.so* "$bundle"/lib/ucx/*
# Each finds the bundle's libraries from where it stands itself: an environment
# would also reach what these programs start, mpirun for one.
patchelf --force-rpath --set-rpath '$ORIGIN/../lib' "$bundle"/libexec/*
patchelf --force-rpath --set-rpath '$ORIGIN' "$bundle"/lib/*.so*
patchelf --force-rpath --set-rpath '$ORIGIN/..' "$bundle"/lib/ucx/*

cp "$root/deploy/bundle_environment.sh" "$bundle/lib/environment.sh"
# One text, under the name of each program.
cat >"$bundle/lib/start" <<'END'
#!/bin/sh
# Starts the program of this name; it finds the bundle's libraries by itself.
name=${0##*/}
self=$(readlink -f "$0")
. "${self%/*}/environment.sh"
exec "$CSSP_BUNDLE/libexec/$name" "$@"
END
chmod 755 "$bundle/lib/start"
for path in "${programs[@]}"; do ln -s ../lib/start "$bundle/bin/${path##*/}"; done
for name in "${tests[@]}"; do ln -s ../lib/start "$bundle/tests/$name"; done
cp "$root/tests/gpu/run.sh" "$bundle/tests/run.sh"
cp "$root/tests/gpu/README.md" "$bundle/tests/README.md"
cp "$root/LICENSE" "$bundle/"

tar -C "$stage" --sort=name --owner=0 --group=0 -I 'gzip -9' -cf "$out" caffe-ssp
echo "bundle.sh: $out, $(($(stat -c %s "$out") / 1048576)) MiB, ${#programs[@]} programs, ${#tests[@]} tests"
