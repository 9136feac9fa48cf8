#!/usr/bin/env bash
# Puts ImageNet's lists (train.txt, val.txt, test.txt), its synsets and its mean
# into examples/imagenet/aux: downloads them, or takes them from a local folder
# or archive.
#   examples/imagenet/get_ilsvrc_aux.sh [LOCAL_FOLDER | caffe_ilsvrc12.tar.gz]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$here/aux
url=http://dl.caffe.berkeleyvision.org/caffe_ilsvrc12.tar.gz
files=(det_synset_words.txt imagenet.bet.pickle imagenet_mean.binaryproto
  synsets.txt synset_words.txt test.txt train.txt val.txt)
wanted=(synset_words.txt train.txt val.txt)

fail() {
  echo "get_ilsvrc_aux: $*" >&2
  exit 2
}
[ $# -le 1 ] || fail "usage: get_ilsvrc_aux.sh [LOCAL_FOLDER | ARCHIVE]"

mkdir -p "$target"
work=$(mktemp -d "$target/tmp.XXXXXX")
trap 'rm -rf "$work"' EXIT
archive=${1:-}
if [ $# -eq 1 ] && [ -d "$1" ]; then
  [ -f "$1/caffe_ilsvrc12.tar.gz" ] && archive=$1/caffe_ilsvrc12.tar.gz || archive=
elif [ $# -eq 1 ]; then
  [ -f "$1" ] || fail "$1 is neither a folder nor a file"
else
  echo "get_ilsvrc_aux: downloading $url"
  archive=$work/aux.tar.gz
  if command -v curl >/dev/null; then
    curl -fL --retry 3 -o "$archive" "$url"
  else
    wget -O "$archive" "$url"
  fi || fail "cannot download $url; give a local folder"
fi
if [ -n "$archive" ]; then
  # Only the names that belong here leave the archive.
  tar -xzf "$archive" -C "$work" --no-same-owner "${files[@]}" 2>/dev/null ||
    tar -xzf "$archive" -C "$work" --no-same-owner "${wanted[@]}" 2>/dev/null ||
    fail "$archive is damaged, or lacks one of: ${wanted[*]}"
  from=$work
else
  from=$1
fi
for file in "${wanted[@]}"; do
  [ -f "$from/$file" ] || fail "$from has no $file"
done
for file in "${files[@]}"; do
  [ ! -f "$from/$file" ] || cp "$from/$file" "$target/"
done
echo "get_ilsvrc_aux: $(find "$target" -maxdepth 1 -type f | wc -l) files in $target"
