#!/usr/bin/env bash
# Puts MNIST's four idx files, unpacked, into examples/mnist/data: downloads
# them, or takes them (or their .gz) from a local folder.
#   examples/mnist/get_mnist.sh [LOCAL_FOLDER]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=$here/data
url=https://ossci-datasets.s3.amazonaws.com/mnist
declare -A md5=(
  [train-images-idx3-ubyte]=f68b3c2dcbeaaa9fbdd348bbdeb94873
  [train-labels-idx1-ubyte]=d53e105ee54ea40749a09fcbcd1e9432
  [t10k-images-idx3-ubyte]=9fb629c4189551a2d022fa330f9573f3
  [t10k-labels-idx1-ubyte]=ec29112dd5afa0611ce80d1b7f02629c
)

fail() {
  echo "get_mnist: $*" >&2
  exit 2
}
[ $# -le 1 ] || fail "usage: get_mnist.sh [LOCAL_FOLDER]"

fetch() {
  if command -v curl >/dev/null; then
    curl -fL --retry 3 -o "$2" "$1"
  else
    wget -O "$2" "$1"
  fi || fail "cannot download $1; give a local folder"
}

mkdir -p "$data"
work=$(mktemp -d "$data/tmp.XXXXXX")
trap 'rm -rf "$work"' EXIT
for file in "${!md5[@]}"; do
  if [ $# -eq 1 ] && [ -f "$1/$file" ]; then
    cp "$1/$file" "$work/$file"
  elif [ $# -eq 1 ] && [ -f "$1/$file.gz" ]; then
    gzip -dc "$1/$file.gz" >"$work/$file"
  elif [ $# -eq 1 ]; then
    fail "$1: has neither $file nor $file.gz"
  else
    echo "get_mnist: downloading $url/$file.gz"
    fetch "$url/$file.gz" "$work/$file.gz"
    echo "${md5[$file]}  $work/$file.gz" | md5sum --quiet -c - || fail "$file.gz is damaged"
    gzip -d "$work/$file.gz"
  fi
done
for file in "${!md5[@]}"; do mv -f "$work/$file" "$data/"; done
echo "get_mnist: four files in $data"
