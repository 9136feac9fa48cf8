"""An independent reader: a .caffemodel written here gives the same outputs in
OpenCV's Caffe importer."""
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
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

    def test_same_outputs(self):
        try:
            import cv2
        except ImportError:
            self.skip("no python3-opencv")
        for name, text in (("train", TRAIN), ("deploy", DEPLOY), ("solver", SOLVER)):
            (self.work / f"{name}.prototxt").write_text(text)
        self.run_program(CAFFE, "train", "-solver=solver.prototxt")
        model = self.work / "reader_iter_12.caffemodel"

        rng = np.random.default_rng(7)
        batch = rng.normal(size=(4, 3, 32, 32)).astype(np.float32)
        batch.tofile(self.work / "in.f32")
        self.run_program(BUILD / "tests/bin/forward_dump", "deploy.prototxt", model,
                         "in.f32", "out.f32")
        ours = np.fromfile(self.work / "out.f32", np.float32).reshape(4, 10)

        net = cv2.dnn.readNetFromCaffe(str(self.work / "deploy.prototxt"), str(model))
        net.enableFusion(False)
        net.setInput(batch, "data")
        theirs = net.forward("prob").reshape(4, 10)
        difference = np.abs(ours - theirs).max()
        print(f"largest difference {difference:.2e}, outputs in "
              f"[{ours.min():.4f}, {ours.max():.4f}]")
        # Outputs that are all 0 and 1 would agree whatever the logits are.
        self.assertLess(ours.max(), 0.999)
        self.assertGreater(ours.std(), 1e-3)
        self.assertLess(difference, 1e-4)


if __name__ == "__main__":
    programs.main()
