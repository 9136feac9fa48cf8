#!/usr/bin/python3
"""clang's thread-safety analysis of every source of a build that was configured for clang.

The analysis is the front end's: nothing is generated, so this takes a fraction of a build.
usage: thread_safety.py BUILD_DIR
"""
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys


def checked(entry):
    """What clang has to say; nothing when it is clean."""
    words, out = shlex.split(entry["command"]), []
    given = iter(words[next(i for i, w in enumerate(words) if w.endswith("clang++")):])
    for word in given:
        if word in ("-o", "-MF", "-MT"):
            next(given)
        elif word not in ("-c", "-MD"):
            out.append(word)
    run = subprocess.run(out[:1] + ["-fsyntax-only"] + out[1:], cwd=entry["directory"],
                         capture_output=True, text=True, check=False)
    return run.stderr if run.returncode != 0 or "-Wthread-safety" in run.stderr else ""


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    build = pathlib.Path(sys.argv[1])
    entries = [entry for entry in json.loads((build / "compile_commands.json").read_text())
               if entry["file"].endswith(".cc") and not entry["file"].endswith(".pb.cc")]
    if not entries:
        sys.exit(f"{build}: no sources in compile_commands.json")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [text for text in pool.map(checked, entries) if text]
    print("".join(found), file=sys.stderr, end="")
    if found:
        sys.exit(f"{len(found)} of {len(entries)} sources are not clean")
    print(f"{len(entries)} sources, no thread-safety warnings")


if __name__ == "__main__":
    main()
