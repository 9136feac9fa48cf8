"""A BatchNorm net learns as well with 4 workers at s = 0 as in one process: the
servers merge the workers' statistics (MNIST, effective batch 64, 600 clocks)."""
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import BIN, CAFFE, TOOLS  # noqa: E402

DATA = """layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: {phase} }}
  transform_param {{ scale: 0.00390625 }}
  data_param {{ source: "{source}" batch_size: {batch} backend: LMDB }} }}
"""
NORM = """layer {{ name: "bn{i}" type: "BatchNorm" bottom: "{name}" top: "{name}"
  batch_norm_param {{ moving_average_fraction: 0.95 }} }}
layer {{ name: "scale{i}" type: "Scale" bottom: "{name}" top: "{name}" scale_param {{ bias_term: true }} }}
layer {{ name: "relu{i}" type: "ReLU" bottom: "{name}" top: "{name}" }}
"""
BODY = ("""layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 12 kernel_size: 5 stride: 2 bias_term: false weight_filler { type: "msra" } } }
""" + NORM.format(i=1, name="conv1") + """
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool1" top: "ip1"
  inner_product_param { num_output: 64 bias_term: false weight_filler { type: "msra" } } }
""" + NORM.format(i=2, name="ip1") + """
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy"
  include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
""")
CLOCKS = 600


class BatchNormAccuracy(programs.ProgramTest):

    def write(self, name, batch):
        net = 'name: "bn"\n' + DATA.format(phase="TRAIN", source="train_lmdb", batch=batch)
        net += DATA.format(phase="TEST", source="test_lmdb", batch=100) + BODY
        (self.work / f"{name}.prototxt").write_text(net)
        (self.work / f"{name}_solver.prototxt").write_text(
            f'net: "{name}.prototxt" test_iter: 100 test_interval: {CLOCKS} test_initialization: false\n'
            'base_lr: 0.05 momentum: 0.9 weight_decay: 0.0005 lr_policy: "poly" power: 1\n'
            f'display: 100 max_iter: {CLOCKS} snapshot_prefix: "{name}" solver_mode: CPU random_seed: 3\n')
        return f"{name}_solver.prototxt"

    def single(self):
        _, err = self.run_program(CAFFE, "train", f"-solver={self.write('single', 64)}")
        return float(re.findall(r"Test net output #\d+: accuracy = ([\d.]+)", err)[-1])

    def served(self):
        _, coordinator = self.start_servers(2)
        psctl = [BIN / "psctl", f"--coordinator={coordinator}"]
        self.run_program(*psctl, "submit", f"--solver={self.write('served', 16)}", "--workers=4",
                         "--staleness=0", "--launch=mpirun", f"--job_file={self.work}/job",
                         f"--log={self.work}/log")
        out, _ = self.run_program(*psctl, "describe", (self.work / "job").read_text().strip(),
                                  "-o", "json")
        last = max(json.loads(out)["tests"], key=lambda t: int(t["clock"]))
        self.assertEqual(int(last["clock"]), CLOCKS)
        return {o["name"]: o["value"] for o in last["outputs"]}["accuracy"]

    def test_four_workers_match_one_process(self):
        data = self.need_data("mnist") / "mnist"
        for part, name in (("train", "train"), ("t10k", "test")):
            self.run_program(TOOLS / "convert_mnist_data", "--backend=lmdb",
                             data / f"{part}-images-idx3-ubyte", data / f"{part}-labels-idx1-ubyte",
                             self.work / f"{name}_lmdb")
        one, four = self.single(), self.served()
        print(f"accuracy: one process {one}, four workers {four:.4f}")
        self.assertGreaterEqual(one, 0.97)
        self.assertLessEqual(abs(four - one), 0.005)


if __name__ == "__main__":
    programs.main()
