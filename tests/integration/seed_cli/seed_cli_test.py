"""The 2015 command line: mpirun -machinefile HOSTS -n N caffe train --solver=S."""
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import CAFFE  # noqa: E402

NET = """name: "small"
layer { name: "data" type: "DummyData" top: "data" top: "label" include { phase: TRAIN }
  dummy_data_param {
    shape { dim: 8 dim: 3 dim: 12 dim: 12 } shape { dim: 8 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 2 } } }
layer { name: "data" type: "DummyData" top: "data" top: "label" include { phase: TEST }
  dummy_data_param {
    shape { dim: 4 dim: 3 dim: 12 dim: 12 } shape { dim: 4 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"
  include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """net: "net.prototxt"
base_lr: 0.01 lr_policy: "fixed" momentum: 0.9
max_iter: 40 display: 10 test_interval: 20 test_iter: 2 snapshot: 20
snapshot_prefix: "small" solver_mode: CPU random_seed: 1
"""


class SeedCommandLine(programs.ProgramTest):

    def setUp(self):
        (self.work / "net.prototxt").write_text(NET)
        (self.work / "solver.prototxt").write_text(SOLVER)
        (self.work / "hosts").write_text("localhost slots=8\n")

    def mpirun(self, ranks, *more, timeout=120):
        return self.run_program(
            "mpirun", "-machinefile", "hosts", "-n", ranks, "--oversubscribe",
            "--bind-to", "none", CAFFE, "train", "--solver=solver.prototxt", *more,
            timeout=timeout)

    def check_log(self, err, ranks):
        for line in ("Solving small", "Iteration 10", "Iteration 40, Testing net (#0)",
                     "Test net output #0: accuracy = ", "Optimization Done."):
            self.assertEqual(len(re.findall(re.escape(line), err)) > 0, True,
                             f"no '{line}' with {ranks} ranks in\n{err[-3000:]}")
        # Once, however many ranks there are.
        self.assertEqual(err.count("Iteration 40, Testing net (#0)"), 1, err[-3000:])
        self.assertEqual(len(re.findall(r"Iteration 20 .*loss = ", err)), 1, err[-3000:])
        for clock in (20, 40):
            for end in ("caffemodel", "solverstate"):
                path = self.work / f"small_iter_{clock}.{end}"
                self.assertTrue(path.exists(), path)
                path.unlink()

    def test_three_ranks(self):
        _, err = self.mpirun(3)
        self.check_log(err, 3)
        self.assertEqual(leftovers(self.work), "")

    def test_staleness_is_a_flag(self):
        _, err = self.mpirun(3, "--staleness=2")
        self.check_log(err, 3)

    def test_one_worker_is_the_single_process(self):
        self.mpirun(2)
        served = (self.work / "small_iter_40.caffemodel").read_bytes()
        for path in self.work.glob("small_iter_*"):
            path.unlink()
        self.run_program(CAFFE, "train", "--solver=solver.prototxt")
        self.assertEqual(served, (self.work / "small_iter_40.caffemodel").read_bytes())

    def test_one_rank_is_plain_caffe(self):
        _, err = self.mpirun(1)
        self.check_log(err, 1)

    def test_no_mpirun_is_plain_caffe(self):
        _, err = self.run_program(CAFFE, "train", "--solver=solver.prototxt")
        self.check_log(err, 1)

    def test_bad_input_under_mpirun_ends(self):
        (self.work / "net.prototxt").write_text(NET.replace("InnerProduct", "InerProduct"))
        done = subprocess.run(
            ["mpirun", "-machinefile", "hosts", "-n", "3", "--oversubscribe", "--bind-to",
             "none", CAFFE, "train", "--solver=solver.prototxt"],
            cwd=self.work, capture_output=True, text=True, timeout=60,
            env=programs.environment())
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("InerProduct", done.stderr)
        self.assertEqual(leftovers(self.work), "")


def leftovers(work):
    """Processes whose working directory is ours."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "cwd").resolve() == work:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            pass
    return "\n".join(found)


if __name__ == "__main__":
    programs.main()
