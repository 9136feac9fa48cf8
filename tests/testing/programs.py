"""What tests that run the real programs share: where things are, running them,
skips that are counted by name, and taking everything down again."""
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CSSP_BUILD_DIR", ROOT / "build"))
BIN = BUILD / "bin"
TOOLS = BUILD / "tools"
CAFFE = TOOLS / "caffe"


def environment(extra=None):
    """What programs under test run in: ours, and mpirun allowed for root."""
    return {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", **(extra or {})}


def data_dir():
    """The raw test data, or None."""
    path = pathlib.Path(os.environ.get("CSSP_TEST_DATA", ROOT.parent / "shared/data"))
    return path if (path / "unpack.sh").exists() else None


def unpacked_dir(*sets):
    """The unpacked sets (cifar10, mnist, ...), or None where there is no data."""
    raw = data_dir()
    if raw is None:
        return None
    target = os.environ.get("CSSP_UNPACKED_DATA", str(BUILD / "test-data"))
    subprocess.run([raw / "unpack.sh", target, *sets], check=True,
                   stdout=subprocess.DEVNULL)
    return pathlib.Path(target)


# Of jobs whose clocks are made of a straggler's sleep.
SLEEPER_NET = """name: "sleeper"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {
    shape { dim: 2 dim: 8 } shape { dim: 2 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


# The same on records of a base (make_records), in batches of 13.
RECORDS_NET = """name: "records"
layer { name: "data" type: "Data" top: "data" top: "label"
  data_param { source: "records_lmdb" backend: LMDB batch_size: 13 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


class ProgramTest(unittest.TestCase):
    """A temporary folder per class; processes started here die with the test."""

    @classmethod
    def setUpClass(cls):
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="cssp-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)

    def skip(self, why):
        # GoogleTest's form: tests/run.sh lists skips of both kinds.
        print(f"[  SKIPPED ] {type(self).__name__}.{self._testMethodName}", flush=True)
        self.skipTest(why)

    def need_data(self, *sets):
        path = unpacked_dir(*sets)
        if path is None:
            self.skip("no test data ($CSSP_TEST_DATA)")
        return path

    def run_program(self, *command, rc=0, timeout=600, cwd=None, env=None):
        """Runs to the end; the exit code must be `rc`. Gives (stdout, stderr)."""
        done = subprocess.run([str(c) for c in command], capture_output=True,
                              text=True, timeout=timeout, cwd=cwd or self.work,
                              env=environment(env))
        self.assertEqual(done.returncode, rc,
                         f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
        return done.stdout, done.stderr

    def start(self, *command, log=None, cwd=None, env=None):
        """Starts a process that the test takes down at its end."""
        out = open(log, "wb") if log else subprocess.DEVNULL
        process = subprocess.Popen([str(c) for c in command], stdout=out, stderr=out,
                                   cwd=cwd or self.work, env=environment(env),
                                   start_new_session=True)
        if log:
            out.close()
        self.addCleanup(take_down, process)
        return process

    def make_records(self, count=90):
        """records_lmdb of RECORDS_NET: images of 2 x 2, four classes."""
        images, labels = self.work / "records-images", self.work / "records-labels"
        images.write_bytes(struct.pack(">IIII", 2051, count, 2, 2) +
                           bytes(i * 7 % 256 for i in range(4 * count)))
        labels.write_bytes(struct.pack(">II", 2049, count) + bytes(i % 4 for i in range(count)))
        self.run_program(TOOLS / "convert_mnist_data", "--backend=lmdb", images, labels,
                         self.work / "records_lmdb")

    def start_servers(self, count, tag="ps", extra=()):
        """`count` ps-servers on loopback, the first one coordinator. Gives
        (processes, coordinator address)."""
        processes, coordinator = [], None
        for i in range(count):
            ready = self.work / f"{tag}-{i}.ready"
            ready.unlink(missing_ok=True)
            sets = [f"--set=id=ps-{i}", f"--set=state_dir={self.work}/{tag}-{i}",
                    f"--set=ready_file={ready}"]
            if coordinator:
                sets.append(f"--set=coordinator={coordinator}")
            process = self.start(BIN / "ps-server", *sets, *extra,
                                 log=self.work / f"{tag}-{i}.log")
            wait_for(lambda: ready.exists() or process.poll() is not None, 20)
            self.assertTrue(ready.exists(), (self.work / f"{tag}-{i}.log").read_text())
            processes.append(process)
            if coordinator is None:
                coordinator = addresses(ready)["control"]
        return processes, coordinator


def addresses(ready_file):
    return dict(part.split("=", 1) for part in pathlib.Path(ready_file).read_text().split())


def wait_for(condition, seconds):
    """True once condition() holds, False when the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def take_down(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def main():
    unittest.main(argv=sys.argv[:1], verbosity=2)
