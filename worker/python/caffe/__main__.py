"""python3 -m caffe train|test|time ...: the `caffe` program."""
import os
import pathlib
import shutil
import sys

from . import _caffe


def main():
    # Beside the module in a build, else as it is installed.
    built = pathlib.Path(_caffe.__file__).parents[2] / "tools" / "caffe"
    program = str(built) if built.exists() else shutil.which("caffe")
    if program is None:
        sys.exit("caffe: the caffe program is not on PATH")
    os.environ.setdefault("CSSP_PYTHON", sys.executable)
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    main()
