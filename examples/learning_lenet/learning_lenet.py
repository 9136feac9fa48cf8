#!/usr/bin/python3
"""LeNet from Python: the net is written with NetSpec, trained step by step, and
looked at on the way.

usage: learning_lenet.py [OUTPUT_FOLDER]     run it from the project's root, after
examples/mnist/get_mnist.sh and create_mnist.sh
"""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "worker" / "python"))

import numpy as np  # noqa: E402

import caffe  # noqa: E402
from caffe import layers as L, params as P  # noqa: E402
from caffe.proto import caffe_pb2  # noqa: E402

ITERATIONS, TEST_INTERVAL, TEST_BATCHES = 200, 25, 100
DATA = "examples/mnist/mnist_{}_lmdb"


def lenet(source, batch_size):
    """Convolution, pooling, twice; two fully connected layers; softmax."""
    filler = dict(weight_filler=dict(type="xavier"))
    n = caffe.NetSpec()
    n.data, n.label = L.Data(batch_size=batch_size, backend=P.Data.LMDB, source=source,
                             transform_param=dict(scale=1. / 255), ntop=2)
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, **filler)
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50, **filler)
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool2, num_output=500, **filler)
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10, **filler)
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n.to_proto()


def make_solver(folder):
    solver = caffe_pb2.SolverParameter(
        base_lr=0.01, momentum=0.9, weight_decay=5e-4, lr_policy="inv", gamma=1e-4, power=0.75,
        test_interval=10 ** 6, test_initialization=False, max_iter=ITERATIONS, random_seed=1,
        snapshot_prefix=str(folder / "lenet"), snapshot_after_train=False)
    solver.train_net_param.CopyFrom(lenet(DATA.format("train"), 64))
    solver.test_net_param.add().CopyFrom(lenet(DATA.format("test"), 100))
    solver.test_iter.append(TEST_BATCHES)
    return caffe.SGDSolver(solver)


def accuracy(net):
    """Of TEST_BATCHES batches, counted here: the net has no Accuracy layer."""
    right = 0
    for _ in range(TEST_BATCHES):
        net.forward()
        right += (net.blobs["ip2"].data.argmax(1) == net.blobs["label"].data).sum()
    return right / (TEST_BATCHES * net.blobs["label"].data.size)


def train(solver):
    """Losses, accuracies, and the scores of eight images at every iteration."""
    test = solver.test_nets[0]
    losses, accuracies, scores = [], [], []
    for i in range(ITERATIONS):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
        test.forward(start="conv1")  # the batch that lies there
        scores.append(test.blobs["ip2"].data[:8].copy())
        if (i + 1) % TEST_INTERVAL == 0:
            shown = test.blobs["data"].data.copy()
            accuracies.append((i + 1, accuracy(test)))
            print(f"iteration {i + 1}: loss {losses[-1]:.3f}, "
                  f"test accuracy {accuracies[-1][1]:.4f}")
            test.blobs["data"].data[...] = shown
    return losses, accuracies, np.array(scores)


def pyplot():
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plots
    return plots


def draw_filters(before, after, path):
    figure, axes = pyplot().subplots(1, 2, figsize=(9, 4))
    for axis, filters, title in zip(axes, (before, after), ("first", "learnt")):
        axis.imshow(filters[:, 0].reshape(4, 5, 5, 5).transpose(0, 2, 1, 3).reshape(20, 25),
                    cmap="gray")
        axis.set_title(f"conv1's filters, {title}")
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def draw_curves(losses, accuracies, path):
    figure, axes = pyplot().subplots(figsize=(8, 5))
    axes.plot(losses, linewidth=1)
    axes.set_xlabel("Iterations")
    axes.set_ylabel("Train loss")
    other = axes.twinx()
    other.plot(*zip(*accuracies), "ro-")
    other.set_ylabel("Test accuracy")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def draw_scores(images, scores, path):
    """How the opinion of eight images' digits forms."""
    figure, axes = pyplot().subplots(8, 2, figsize=(8, 12),
                                     gridspec_kw={"width_ratios": [1, 5]})
    probabilities = np.exp(scores - scores.max(2, keepdims=True))
    probabilities /= probabilities.sum(2, keepdims=True)
    for i, (picture, curve) in enumerate(axes):
        picture.imshow(images[i, 0], cmap="gray")
        picture.axis("off")
        curve.imshow(probabilities[:50, i].T, aspect="auto", interpolation="nearest", cmap="gray")
        curve.set_yticks([])
    axes[-1, 1].set_xlabel("Iterations; a row a digit, 0 on top, white: probable")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "examples/learning_lenet/out")
    if not pathlib.Path(DATA.format("train")).exists():
        sys.exit(f"{DATA.format('train')} is not there: run examples/mnist/get_mnist.sh and "
                 "create_mnist.sh")
    folder.mkdir(parents=True, exist_ok=True)
    solver = make_solver(folder)
    for name, blob in solver.net.blobs.items():
        print(f"{name:<8} {blob.shape}")
    solver.test_nets[0].forward()
    images = solver.test_nets[0].blobs["data"].data[:8].copy()
    before = solver.net.params["conv1"][0].data.copy()
    losses, accuracies, scores = train(solver)
    solver.net.save(str(folder / "lenet.caffemodel"))
    draw_filters(before, solver.net.params["conv1"][0].data, folder / "filters.png")
    draw_curves(losses, accuracies, folder / "curves.png")
    draw_scores(images, scores, folder / "scores.png")
    print(f"model and pictures: {folder}")


if __name__ == "__main__":
    main()
