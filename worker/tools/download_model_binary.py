#!/usr/bin/python3
"""Fetches the .caffemodel that a model's readme.md names, and checks its sha1.

The readme begins with a block between lines of "---" that has caffemodel,
caffemodel_url and sha1 in it. A file: URL serves a cluster without a network."""
import argparse
import hashlib
import os
import re
import sys
import urllib.request


def front_matter(path):
    """{key: value} of the block at a readme's head."""
    with open(path) as file:
        text = file.read()
    block = re.match(r"\s*---\s*\n(.*?)\n---\s*\n", text + "\n", re.S)
    if not block:
        raise ValueError(f"{path}: has no block between lines of '---' at its head")
    fields = dict(re.findall(r"^(\w+):[ \t]*(.*?)[ \t]*$", block.group(1), re.M))
    missing = {"caffemodel", "caffemodel_url", "sha1"} - set(fields)
    if missing:
        raise ValueError(f"{path}: says nothing of {', '.join(sorted(missing))}")
    if os.path.basename(fields["caffemodel"]) != fields["caffemodel"]:
        raise ValueError(f"{path}: caffemodel must be a file's name, not a path")
    return fields


def sha1_of(path):
    digest = hashlib.sha1()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def fetch(url, path):
    """Downloads, saying how far it is."""
    with urllib.request.urlopen(url) as answer, open(path, "wb") as file:
        total, done, said = int(answer.headers.get("Content-Length") or 0), 0, -1
        for block in iter(lambda: answer.read(1 << 20), b""):
            file.write(block)
            done += len(block)
            percent = 100 * done // total if total else -1
            if percent != said and sys.stderr.isatty():
                sys.stderr.write(f"\r{done >> 20} MB" + (f", {percent} %" if total else ""))
            said = percent
        if sys.stderr.isatty():
            sys.stderr.write("\n")


def download(folder):
    """The model's path; fetched where it is not there already."""
    fields = front_matter(os.path.join(folder, "readme.md"))
    path = os.path.join(folder, fields["caffemodel"])
    if os.path.exists(path) and sha1_of(path) == fields["sha1"]:
        print(f"{path} is there already, with the right sha1")
        return path
    unfinished = path + ".part"
    try:
        fetch(fields["caffemodel_url"], unfinished)
        found = sha1_of(unfinished)
        if found != fields["sha1"]:
            raise ValueError(f"{fields['caffemodel_url']}: its sha1 is {found}, readme.md says "
                             f"{fields['sha1']}")
        os.replace(unfinished, path)
    finally:
        if os.path.exists(unfinished):
            os.remove(unfinished)
    print(f"{path}: sha1 checked")
    return path


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dirname", help="folder with the readme.md")
    download(parser.parse_args(argv).dirname)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"download_model_binary.py: {error}")
