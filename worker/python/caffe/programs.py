"""The programs `caffe` and `caffe-worker` inside the interpreter, for nets with layers
in Python: python3 -m caffe.programs PROGRAM ARGUMENTS.

A program starts this by itself when it meets such a net; flags, log lines, signals and
exit codes are its own. It has blocked the signals that it fetches."""
import os
import signal
import sys


def look_beside(path):
    """Modules of layers are found beside the prototxt at `path`, too."""
    folder = os.path.dirname(os.path.abspath(path))
    if path and folder not in sys.path:
        sys.path.insert(1, folder)  # behind the working directory


def main():
    # Processes that layers fork (multiprocessing) can be ended like any other.
    os.register_at_fork(after_in_child=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, ()))
    # Ctrl-C where the program does not fetch it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ._caffe import run_program
    sys.exit(run_program(sys.argv[1], sys.argv[2:]))


if __name__ == "__main__":
    main()
