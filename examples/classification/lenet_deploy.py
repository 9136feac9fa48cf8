"""LeNet as examples/learning_lenet trains it, for use: images in, probabilities
out."""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "worker" / "python"))

import caffe  # noqa: E402
from caffe import layers as L, params as P  # noqa: E402

MODEL = pathlib.Path("examples/learning_lenet/out/lenet.caffemodel")


def deploy(batch=1, height=28, width=28, convolutional=False):
    """With `convolutional`, the fully connected layers are convolutions of the
    same size, so that the net can slide over larger images."""
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[batch, 1, height, width]))
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20)
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50)
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    if convolutional:
        n["ip1-conv"] = L.Convolution(n.pool2, kernel_size=4, num_output=500)
        n.relu1 = L.ReLU(n["ip1-conv"], in_place=True)
        n["ip2-conv"] = L.Convolution(n.relu1, kernel_size=1, num_output=10)
        n.prob = L.Softmax(n["ip2-conv"])
    else:
        n.ip1 = L.InnerProduct(n.pool2, num_output=500)
        n.relu1 = L.ReLU(n.ip1, in_place=True)
        n.ip2 = L.InnerProduct(n.relu1, num_output=10)
        n.prob = L.Softmax(n.ip2)
    return n.to_proto()


def trained_model():
    if not MODEL.exists():
        sys.exit(f"{MODEL} is not there: run examples/learning_lenet/run.sh")
    return str(MODEL)


def test_digits(count):
    """The first `count` test images, as floats in [0, 1] (count x 28 x 28), and
    their labels."""
    folder = pathlib.Path("examples/mnist/data")
    images, labels = (folder / f"t10k-{what}-ubyte"
                      for what in ("images-idx3", "labels-idx1"))
    if not images.exists():
        sys.exit(f"{images} is not there: run examples/mnist/get_mnist.sh")
    import numpy as np
    pixels = np.frombuffer(images.read_bytes()[16:16 + 784 * count], np.uint8)
    return (pixels.reshape(count, 28, 28).astype(np.float32) / 255,
            np.frombuffer(labels.read_bytes()[8:8 + count], np.uint8))
