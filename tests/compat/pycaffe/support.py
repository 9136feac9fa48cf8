"""What pycaffe's tests share: the package of the build, quiet, and small nets."""
import os
import pathlib
import shutil
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BUILD = pathlib.Path(os.environ.get("CSSP_BUILD_DIR", ROOT / "build"))

os.environ.setdefault("GLOG_minloglevel", "2")
sys.path[:0] = [str(BUILD / "python"), str(HERE), str(ROOT / "tests" / "testing")]

import caffe  # noqa: E402

if os.environ.get("CSSP_DEVICE") == "cuda":
    caffe.set_mode_gpu()

SMALL_NET = """
name: "small" force_backward: true
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { num: 5 channels: 2 height: 3 width: 4
    num: 5 channels: 1 height: 1 width: 1
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 11 kernel_size: 2 pad: 3
    weight_filler { type: "gaussian" std: 1 } bias_filler { type: "constant" value: 2 } }
  param { decay_mult: 1 } param { decay_mult: 0 } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip_blob"
  inner_product_param { num_output: 13
    weight_filler { type: "gaussian" std: 2.5 } bias_filler { type: "constant" value: -3 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip_blob" bottom: "label" top: "loss" }
"""

# ip's rows are the inputs' sums times 1, 2, 3.
LINEAR_NET = """
name: "linear"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "constant" value: 1 } } }
"""


class PycaffeTest(unittest.TestCase):
    """A folder a class; a fixed seed a test."""

    @classmethod
    def setUpClass(cls):
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="cssp-pycaffe-"))
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)

    def setUp(self):
        caffe.set_random_seed(1701)

    def write(self, text, name=None):
        path = self.work / (name or f"{self._testMethodName}.prototxt")
        path.write_text(text)
        return str(path)

    def net(self, text, phase=caffe.TRAIN, **options):
        return caffe.Net(self.write(text), phase, **options)


def main():
    unittest.main(verbosity=2)
