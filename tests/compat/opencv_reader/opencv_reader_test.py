"""An independent reader, OpenCV's Caffe importer: models written here and models
of 2014 give the same outputs there, within 1e-4 of the largest.

Errors of the importer that the nets avoid: LRN's k is not read; Log with base or
scale; fused layers (fusion is off).  CSSP_DEVICE=cuda runs our side on a GPU, here
or (elsewhere.py) on another machine."""
import pathlib
import re
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import elsewhere  # noqa: E402
from nets import NETS, for_opencv  # noqa: E402
from testing import programs  # noqa: E402
from testing.programs import BUILD, CAFFE  # noqa: E402

BODY = """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 20 pad: 2 kernel_size: 5
    weight_filler { type: "xavier" } bias_filler { type: "uniform" min: -0.1 max: 0.1 } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "pool1" top: "pool1" }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1"
  lrn_param { local_size: 3 alpha: 5e-05 beta: 0.75 norm_region: ACROSS_CHANNELS } }
layer { name: "conv2" type: "Convolution" bottom: "norm1" top: "conv2"
  convolution_param { num_output: 24 kernel_size: 3 group: 2
    weight_filler { type: "xavier" } } }
layer { name: "bn2" type: "BatchNorm" bottom: "conv2" top: "bn2" }
layer { name: "scale2" type: "Scale" bottom: "bn2" top: "bn2"
  scale_param { bias_term: true filler { value: 0.7 } } }
layer { name: "relu2" type: "ReLU" bottom: "bn2" top: "bn2" }
layer { name: "pool2" type: "Pooling" bottom: "bn2" top: "pool2"
  pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "conv3a" type: "Convolution" bottom: "pool2" top: "conv3a"
  convolution_param { num_output: 8 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "conv3b" type: "Convolution" bottom: "pool2" top: "conv3b"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "cat3" type: "Concat" bottom: "conv3a" bottom: "conv3b" top: "cat3" }
layer { name: "ip1" type: "InnerProduct" bottom: "cat3" top: "ip1"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" }
    bias_filler { type: "constant" value: 0.1 } } }
"""
DEPLOY = """name: "reader"
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 4 dim: 3 dim: 32 dim: 32 } } }
""" + BODY + """
layer { name: "prob" type: "Softmax" bottom: "ip1" top: "prob" }
"""
TRAIN = """name: "reader"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {
    shape { dim: 8 dim: 3 dim: 32 dim: 32 } shape { dim: 8 }
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 3 } } }
""" + BODY + """
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip1" bottom: "label" top: "loss" }
"""
SOLVER = """net: "train.prototxt" base_lr: 0.0002 lr_policy: "fixed" momentum: 0.9
max_iter: 12 snapshot_prefix: "reader" solver_mode: CPU random_seed: 3
"""


class OpenCvReader(programs.ProgramTest):

    def ours(self, deploy, model, inputs):
        """All outputs, flattened, of the net here."""
        np.concatenate([x.ravel() for x in inputs.values()]).tofile(self.work / "in.f32")
        case = (self._testMethodName[len("test_"):], self.work / deploy, model,
                self.work / "in.f32")
        if elsewhere.WRITE:
            elsewhere.write_net(*case)
            self.skip(f"written to {elsewhere.WRITE}")
        if elsewhere.READ:
            return np.fromfile(elsewhere.read_net(*case), np.float32)
        self.run_program(BUILD / "tests/bin/forward_dump", deploy, model, "in.f32", "out.f32",
                         elsewhere.DEVICE)
        return np.fromfile(self.work / "out.f32", np.float32)

    def theirs(self, deploy, model, inputs, outputs):
        try:
            import cv2
        except ImportError:
            self.skip("no python3-opencv")
        text = for_opencv((self.work / deploy).read_text())
        (self.work / "theirs.prototxt").write_text(text)
        net = cv2.dnn.readNetFromCaffe(str(self.work / "theirs.prototxt"), str(model))
        net.enableFusion(False)
        for name, values in inputs.items():
            net.setInput(values, name)
        return [net.forward(name).ravel() for name in outputs]

    def compare(self, deploy, model, inputs, outputs):
        ours = self.ours(deploy, model, inputs)
        theirs = self.theirs(deploy, model, inputs, outputs)
        self.assertEqual(ours.size, sum(t.size for t in theirs))
        for name, want in zip(outputs, theirs):
            got, ours = ours[:want.size], ours[want.size:]
            if name == "detections":  # by label in Caffe, by score in OpenCV
                got, want = (rows[np.argsort(-rows[:, 2], kind="stable")]
                             for rows in (got.reshape(-1, 7), want.reshape(-1, 7)))
            relative = np.abs(got - want).max() / np.abs(want).max()
            print(f"{name}: {want.size} values in [{want.min():.4g}, {want.max():.4g}], largest "
                  f"difference {relative:.1e} of the largest ", end="", flush=True)
            # Outputs that are all alike, or all 0 and 1, would agree whatever a layer did.
            self.assertGreater(want.std(), 1e-3)
            self.assertFalse(set(np.unique(want.round(3))) <= {0.0, 1.0})
            self.assertLess(relative, 1e-4)

    def check_net(self, name):
        """Random weights, written here and read by OpenCV."""
        inputs, text, outputs = NETS[name]()
        (self.work / f"{name}.prototxt").write_text(f'name: "{name}"\n' + text)
        model = self.work / f"{name}.caffemodel"
        self.run_program(BUILD / "tests/bin/forward_dump", "--random", f"{name}.prototxt", model)
        rng = np.random.default_rng(7)
        values = {n: rng.normal(size=s).astype(np.float32) for n, s in inputs.items()}
        self.compare(f"{name}.prototxt", model, values, outputs)

    def check_stored(self, folder, deploy, weights, shape):
        """A model that Caffe wrote in 2014, read here and by OpenCV, before its softmax, too."""
        data = programs.data_dir()
        if data is None:
            self.skip("no test data ($CSSP_TEST_DATA)")
        text = (data / "caffemodels" / folder / deploy).read_text()
        # The scores before the softmax become an output of their own.
        scores = re.findall(r'type: INNER_PRODUCT[^}]*?top: "(\w+)"', text)[-1]
        text += f'\nlayers {{ name: "scores" type: POWER bottom: "{scores}" top: "scores" }}\n'
        (self.work / deploy).write_text(text)
        rng = np.random.default_rng(8)
        inputs = {"data": rng.normal(size=shape).astype(np.float32) * 50}
        if folder == "lenet":
            inputs["data"] = rng.uniform(size=shape).astype(np.float32)
        self.compare(deploy, data / "caffemodels" / folder / weights, inputs, ["prob", "scores"])

    def test_cifar10_quick(self):
        self.check_stored("cifar10_quick", "cifar10_quick.prototxt",
                          "cifar10_quick_iter_5000.caffemodel", (1, 3, 32, 32))

    def test_lenet(self):
        self.check_stored("lenet", "lenet.prototxt", "lenet_iter_10000.caffemodel", (64, 1, 28, 28))

    def test_trained_here(self):
        for name, text in (("train", TRAIN), ("deploy", DEPLOY), ("solver", SOLVER)):
            (self.work / f"{name}.prototxt").write_text(text)
        self.run_program(CAFFE, "train", "-solver=solver.prototxt")
        batch = np.random.default_rng(7).normal(size=(4, 3, 32, 32)).astype(np.float32)
        self.compare("deploy.prototxt", self.work / "reader_iter_12.caffemodel", {"data": batch},
                     ["prob"])


# Nets whose layers are not all built yet.
WAITING = ()

for _name in sorted(set(NETS) - set(WAITING)):
    setattr(OpenCvReader, f"test_{_name}", lambda self, name=_name: self.check_net(name))


if __name__ == "__main__":
    programs.main()
