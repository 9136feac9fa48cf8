"""`caffe` on nets with layers in Python: it hands them to Python by itself."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import CAFFE, ROOT  # noqa: E402

NET = ROOT / "examples/pycaffe/linreg.prototxt"
SOLVER = f"""net: "{NET}" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9
display: 50 max_iter: 200 snapshot: 100 snapshot_prefix: "linreg" random_seed: 1
"""


class Command(programs.ProgramTest):
    env = {"PYTHONPATH": str(ROOT / "examples/pycaffe/layers")}

    def caffe(self, *arguments, rc=0):
        return self.run_program(CAFFE, *arguments, rc=rc, env=self.env)[1]

    def train(self):
        (self.work / "solver.prototxt").write_text(SOLVER)
        return self.caffe("train", "-solver=solver.prototxt")

    def test_train_and_resume(self):
        log = self.train()
        self.assertRegex(log, r"Iteration 150 .*loss = 0\.00")
        self.assertIn("Optimization Done.", log)
        for name in ("linreg_iter_100.solverstate", "linreg_iter_200.caffemodel"):
            self.assertTrue((self.work / name).exists())
        log = self.caffe("train", "--solver", "solver.prototxt",
                         "--snapshot", "linreg_iter_100.solverstate")
        self.assertRegex(log, "Iteration 150 ")
        self.assertNotRegex(log, "Iteration 50 ")

    def test_score(self):
        self.train()
        log = self.caffe("test", f"--model={NET}", "--weights=linreg_iter_200.caffemodel",
                         "--iterations=10")
        batches = [float(x) for x in re.findall(r"Batch \d+, loss = (\S+)", log)]
        self.assertEqual(len(batches), 10)
        mean = float(re.search(r"\] loss = (\S+)", log).group(1))
        self.assertAlmostEqual(mean, sum(batches) / 10, places=6)
        self.assertLess(mean, 0.01)

    def test_time(self):
        log = self.caffe("time", f"--model={NET}", "--iterations=2")
        for name in ("points", "ip", "loss"):
            self.assertRegex(log, rf"\s{name}\tforward: [0-9.e-]+ ms\.")

    def test_signals(self):
        (self.work / "long.prototxt").write_text(
            SOLVER.replace("max_iter: 200 snapshot: 100", "max_iter: 100000000")
            .replace('"linreg"', '"long"'))
        log = self.work / "long.log"
        process = self.start(CAFFE, "train", "-solver=long.prototxt", log=log, env=self.env)
        self.assertTrue(programs.wait_for(lambda: "Iteration 50 " in log.read_text(), 60))
        os.kill(process.pid, signal.SIGHUP)
        states = "long_iter_*.solverstate"
        self.assertTrue(programs.wait_for(lambda: list(self.work.glob(states)), 20))
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        self.assertEqual(process.wait(20), 0)
        self.assertEqual(len(list(self.work.glob(states))), 2)
        self.assertIn("Optimization stopped early.", log.read_text())

    def test_flags_are_the_same(self):
        alone = self.run_program(CAFFE, "--help")[0]
        inside = self.run_program(
            sys.executable, "-m", "caffe.programs", CAFFE, "--help",
            env={"PYTHONPATH": f"{programs.BUILD}/python", "OMP_WAIT_POLICY": "passive"})[0]
        self.assertEqual(alone, inside)
        for flag in ("deterministic", "math", "sync_layers", "data_threads", "server_program"):
            self.assertIn(f"--{flag}", inside)
        (self.work / "solver.prototxt").write_text(SOLVER.replace("max_iter: 200", "max_iter: 2"))
        log = self.caffe("train", "-solver=solver.prototxt", "--deterministic", "--math=tf32",
                         "--sync_layers", "--data_threads=1", "--threads=1", "--staleness=1")
        self.assertIn("--staleness only matter", log)
        self.assertIn("1 thread", log)
        log = self.caffe("train", "-solver=solver.prototxt", "--math=fp64", rc=2)
        self.assertIn("--math", log)

    def test_as_a_module(self):
        done = self.run_program(sys.executable, "-m", "caffe", "time", f"--model={NET}",
                                "--iterations=1",
                                env={"PYTHONPATH": f"{programs.BUILD}/python:"
                                                   f"{self.env['PYTHONPATH']}"})
        self.assertIn("Average Forward-Backward", done[1])

    def test_layers_beside_the_model(self):
        for name in ("points.py", "pyloss.py"):
            (self.work / name).write_text((ROOT / "examples/pycaffe/layers" / name).read_text())
        (self.work / "net.prototxt").write_text(NET.read_text())
        (self.work / "elsewhere").mkdir()
        _, log = self.run_program(CAFFE, "time", "--model=../net.prototxt", "--iterations=1",
                                  cwd=self.work / "elsewhere")
        self.assertIn("Average Forward-Backward", log)

    def test_what_a_layer_raises(self):
        (self.work / "broken.py").write_text(
            "import caffe\n\nclass Broken(caffe.Layer):\n    def reshape(self, bottom, top):\n"
            "        raise LookupError('not here')\n")
        (self.work / "broken.prototxt").write_text(
            'layer { name: "b" type: "Python" top: "b" '
            'python_param { module: "broken" layer: "Broken" } }')
        log = self.caffe("time", "-model=broken.prototxt", rc=2)
        self.assertEqual([line for line in log.splitlines() if line.startswith("caffe: ")],
                         ["caffe: broken.prototxt: layer 'b' (Python): "
                          f"{self.work}/broken.py:5: LookupError: not here"])
        self.assertNotIn("Traceback", log)

    def test_mistakes(self):
        (self.work / "solver.prototxt").write_text(SOLVER)
        for arguments, says in (
                (["train", "-solver=solver.prototxt", "-snapshot=a", "-weights=b"], "not both"),
                (["train", "-solver=solver.prototxt", "-snapshot=a.solverstate"], "a.solverstate"),
                (["test", f"-model={NET}"], "--weights")):
            lines = [line for line in self.caffe(*arguments, rc=2).splitlines()
                     if line.startswith("caffe: ")]
            self.assertEqual(len(lines), 1, lines)
            self.assertIn(says, lines[0])

    def test_without_the_interpreter(self):
        done = subprocess.run([CAFFE, "time", f"-model={NET}"], capture_output=True, text=True,
                              check=False, env=programs.environment({"CSSP_PYTHON": "/no/python"}))
        self.assertEqual(done.returncode, 2)
        self.assertIn("/no/python cannot be run", done.stderr)


if __name__ == "__main__":
    programs.main()
