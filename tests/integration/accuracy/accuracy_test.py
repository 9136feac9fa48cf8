"""cifar10_quick on real CIFAR-10 for 500 clocks: 2 servers, 4 workers, s = 0; gradients
as floats and as bfloat16."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import BIN, ROOT, TOOLS  # noqa: E402


class Accuracy(programs.ProgramTest):

    def test_500_clocks_reach_half(self):
        data = self.need_data("cifar10") / "cifar10"
        self.run_program(TOOLS / "convert_cifar_data", data, self.work, "lmdb")
        self.run_program(TOOLS / "compute_image_mean", "-backend=lmdb",
                         self.work / "cifar10_train_lmdb", self.work / "mean.binaryproto")
        source = ROOT / "examples/cifar10"
        net = (source / "cifar10_quick_train_test.prototxt").read_text()
        net = net.replace("examples/cifar10/", f"{self.work}/")
        head, tail = net.split("batch_size: 100", 1)  # the train layer's comes first
        (self.work / "net.prototxt").write_text(head + "batch_size: 25" + tail)
        (self.work / "solver.prototxt").write_text(
            'net: "net.prototxt" test_iter: 100 test_interval: 500 test_initialization: false\n'
            'base_lr: 0.001 momentum: 0.9 weight_decay: 0.004 lr_policy: "fixed"\n'
            'display: 100 max_iter: 500 snapshot_prefix: "quick" solver_mode: CPU\n'
            'random_seed: 1\n')
        _, self.coordinator = self.start_servers(2)
        floats = self.accuracy("FP32")
        self.assertGreaterEqual(floats, 0.50)
        # Rounded gradients: another run of the same quality (a standard error
        # of the test set is half a point).
        self.assertAlmostEqual(self.accuracy("BF16"), floats, delta=0.02)

    def accuracy(self, wire):
        self.run_program(
            BIN / "psctl", f"--coordinator={self.coordinator}", "submit",
            "--solver=solver.prototxt", f"--name={wire.lower()}", f"--wire={wire}",
            "--workers=4", "--staleness=0", "--launch=mpirun",
            f"--job_file={self.work}/job", f"--log={self.work}/log")
        out, _ = self.run_program(BIN / "psctl", f"--coordinator={self.coordinator}", "describe",
                                  (self.work / "job").read_text().strip(), "-o", "json")
        last = max(json.loads(out)["tests"], key=lambda t: int(t["clock"]))
        values = {o["name"]: o["value"] for o in last["outputs"]}
        print(f"{wire}: accuracy {values['accuracy']} at clock {last['clock']}")
        self.assertEqual(int(last["clock"]), 500)
        return values["accuracy"]


if __name__ == "__main__":
    programs.main()
