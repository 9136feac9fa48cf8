"""Case files for layer_driver and its answers (formats: case_file.h)."""
import io
import os
import pathlib
import struct
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402

DRIVER = programs.BUILD / "tests/bin/layer_driver"
LAYER, NET, WHOLE = 0, 1, 2  # CaseKind
OFFERS = ("force caffe", "offer caffe", "offer blocked8", "offer blocked16")
PHASES = {"TRAIN": 0, "TEST": 1}
# Elsewhere than here: cases go to a folder, run_cases.sh runs them on a machine
# without Python, and their answers are read back.
WRITE = pathlib.Path(os.environ["CSSP_CASES_TO"]) if "CSSP_CASES_TO" in os.environ else None
READ = pathlib.Path(os.environ["CSSP_ANSWERS_FROM"]) if "CSSP_ANSWERS_FROM" in os.environ else None
ANSWERS = (".answers", ".again")  # of two processes
NO_GRADIENT = np.zeros((0,), np.float32)


class Run:
    """One run of the driver: steps are (bottoms, top gradients)."""

    def __init__(self, name, text, steps, params=(), kind=LAYER, phase="TRAIN", offer=1):
        self.name, self.text, self.steps, self.params = name, text, steps, params
        self.kind, self.phase, self.offer = kind, phase, offer


class Answer:
    """What came back: an error text, or steps of (tops, bottom gradients,
    parameter gradients); a gradient that does not exist is None."""

    def __init__(self, name, error, steps):
        self.name, self.error, self.steps = name, error, steps


def _string(out, text):
    data = text.encode()
    out.write(struct.pack("<I", len(data)) + data)


def _arrays(out, arrays):
    out.write(struct.pack("<I", len(arrays)))
    for array in arrays:
        array = np.asarray(array)
        out.write(struct.pack(f"<I{array.ndim}q", array.ndim, *array.shape))
        out.write(array.astype("<f4").tobytes())


def encode(runs):
    out = io.BytesIO()
    out.write(struct.pack("<I", len(runs)))
    for run in runs:
        _string(out, run.name)
        _string(out, run.text)
        out.write(struct.pack("<BBB", run.kind, PHASES[run.phase], run.offer))
        _arrays(out, run.params)
        out.write(struct.pack("<I", len(run.steps)))
        for bottoms, gradients in run.steps:
            _arrays(out, bottoms)
            _arrays(out, gradients)
    return out.getvalue()


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def numbers(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def string(self):
        (size,) = self.numbers("I")
        self.at += size
        return self.data[self.at - size:self.at].decode(errors="replace")

    def arrays(self):
        (count,) = self.numbers("I")
        return [self.array() for _ in range(count)]

    def array(self):
        (axes,) = self.numbers("I")
        shape = self.numbers(f"{axes}q")
        size = int(np.prod(shape, dtype=np.int64))
        values = np.frombuffer(self.data, "<f4", size, self.at).reshape(shape)
        self.at += 4 * size
        return values


def decode(data):
    reader, answers = _Reader(data), []
    (count,) = reader.numbers("I")
    for _ in range(count):
        name, error = reader.string(), reader.string()
        steps = []
        for _ in range(reader.numbers("I")[0]):
            tops = reader.arrays()
            gradients = [[None if g.shape == (0,) else g for g in reader.arrays()]
                         for _ in range(2)]
            steps.append((tops, *gradients))
        answers.append(Answer(name, error, steps))
    return answers


def _call(arguments, work):
    # Two threads, waiting passively: what a shared machine can give.
    env = programs.environment({"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"})
    done = subprocess.run([str(a) for a in (DRIVER, *arguments)], capture_output=True,
                          text=True, cwd=work, env=env, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"layer_driver ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout


def execute(name, runs, work, device="cpu"):
    """The answers of `runs`, by name, from one process in folder `work`, and whether
    another process gave the same bytes.  `name` is that of the files."""
    work = pathlib.Path(work)
    cases = work / f"{name}.cases"
    if READ is None:
        cases.write_bytes(encode(runs))
        for kind in ANSWERS:
            _call((cases, work / (name + kind), device), work)
    elif cases.read_bytes() != encode(runs):
        raise RuntimeError(f"{cases} was written by other cases than these")
    first, second = ((work / (name + kind)).read_bytes() for kind in ANSWERS)
    return {answer.name: answer for answer in decode(first)}, first == second


def registered(device="cpu"):
    """The layer types of a device."""
    if READ is not None:
        return (READ / "types").read_text().split()
    return _call(("--list", device), None).split()


def write(name, runs):
    WRITE.mkdir(parents=True, exist_ok=True)
    (WRITE / f"{name}.cases").write_bytes(encode(runs))
