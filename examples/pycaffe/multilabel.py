#!/usr/bin/python3
"""Several labels an image, from a data layer written in Python.

usage: multilabel.py [OUTPUT_FOLDER]      run it from the project's root
"""
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "worker/python"), str(ROOT / "examples/pycaffe/layers")]

import caffe  # noqa: E402
from caffe import layers as L, params as P  # noqa: E402
from glyph_scenes import NAMES  # noqa: E402


def net(seed, batch):
    n = caffe.NetSpec()
    n.data, n.labels = L.Python(ntop=2, module="glyph_scenes", layer="GlyphScenes",
                                param_str=f'{{"seed": {seed}, "batch": {batch}}}')
    fill = dict(weight_filler=dict(type="xavier"))
    n.conv1 = L.Convolution(n.data, num_output=16, kernel_size=5, **fill)
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.conv2 = L.Convolution(n.pool1, num_output=32, kernel_size=3, **fill)
    n.relu2 = L.ReLU(n.conv2, in_place=True)
    n.pool2 = L.Pooling(n.relu2, pool=P.Pooling.MAX, global_pooling=True)
    n.score = L.InnerProduct(n.pool2, num_output=len(NAMES), **fill)
    n.loss = L.SigmoidCrossEntropyLoss(n.score, n.labels)
    return str(n.to_proto())


def solver(folder):
    (folder / "multilabel_train.prototxt").write_text(net(seed=1, batch=32))
    (folder / "multilabel_test.prototxt").write_text(net(seed=2, batch=50))
    (folder / "multilabel_solver.prototxt").write_text(
        f'train_net: "{folder}/multilabel_train.prototxt" test_net: "{folder}/multilabel_test.prototxt"\n'
        'test_iter: 4 test_interval: 1000 test_initialization: false type: "Adam"\n'
        'base_lr: 0.003 momentum: 0.9 lr_policy: "fixed" max_iter: 400 snapshot_after_train: false\n'
        f'snapshot_prefix: "{folder}/multilabel" random_seed: 1\n')
    return caffe.get_solver(str(folder / "multilabel_solver.prototxt"))


def hamming_accuracy(test, batches=4):
    """The share of labels, present or absent, that are told right; and what
    always saying "absent" would get."""
    right = absent = 0
    for _ in range(batches):
        test.forward()
        labels = test.blobs["labels"].data > 0
        right += ((test.blobs["score"].data > 0) == labels).mean() / batches
        absent += (~labels).mean() / batches
    return right, absent


def draw(test, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(1, 5, figsize=(14, 3.3))
    for axis, image, score in zip(axes, test.blobs["data"].data, test.blobs["score"].data):
        axis.imshow(image[0], cmap="gray")
        axis.set_title(", ".join(name for name, s in zip(NAMES, score) if s > 0) or "nothing",
                       fontsize=9)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "examples/pycaffe/data")
    folder.mkdir(parents=True, exist_ok=True)
    caffe.set_random_seed(1)
    training = solver(folder)
    for done in range(0, 401, 100):
        right, absent = hamming_accuracy(training.test_nets[0])
        print(f"after {done}: {right:.3f} of the labels right (all absent: {absent:.3f})")
        if done < 400:
            training.step(100)
    draw(training.test_nets[0], folder / "multilabel.png")
    print(f"picture: {folder}/multilabel.png")


if __name__ == "__main__":
    main()
