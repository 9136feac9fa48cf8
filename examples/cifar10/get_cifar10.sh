#!/usr/bin/env bash
# Puts CIFAR-10's binary batches into examples/cifar10/data: downloads them, or
# takes them from a local folder that holds the .bin files.
#   examples/cifar10/get_cifar10.sh [LOCAL_FOLDER]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=$here/data
url=https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz
md5=c32a1d4ab5d03f1284b67883e8d87530
batches=(data_batch_{1,2,3,4,5}.bin test_batch.bin)

fail() {
  echo "get_cifar10: $*" >&2
  exit 2
}
[ $# -le 1 ] || fail "usage: get_cifar10.sh [LOCAL_FOLDER]"

# Everything is fetched beside and moved last: the folder is whole or absent.
mkdir -p "$data"
work=$(mktemp -d "$data/tmp.XXXXXX")
trap 'rm -rf "$work"' EXIT

if [ $# -eq 1 ]; then
  [ -d "$1" ] || fail "$1: no such folder"
  for batch in "${batches[@]}"; do
    [ -f "$1/$batch" ] || fail "$1: has no $batch"
    cp --reflink=auto "$1/$batch" "$work/"
  done
else
  echo "get_cifar10: downloading $url (170 MB)"
  if command -v curl >/dev/null; then
    curl -fL --retry 3 -o "$work/cifar.tar.gz" "$url" || fail "cannot download $url; give a local folder"
  else
    wget -O "$work/cifar.tar.gz" "$url" || fail "cannot download $url; give a local folder"
  fi
  echo "$md5  $work/cifar.tar.gz" | md5sum --quiet -c - || fail "$url: the archive is damaged"
  tar -C "$work" --strip-components=1 -xzf "$work/cifar.tar.gz"
fi
for batch in "${batches[@]}"; do
  bytes=$(stat -c %s "$work/$batch")
  [ "$bytes" -eq 30730000 ] || fail "$batch: $bytes bytes instead of 30730000"
done
for batch in "${batches[@]}"; do mv -f "$work/$batch" "$data/"; done
echo "get_cifar10: 5 training batches and 1 test batch in $data"
