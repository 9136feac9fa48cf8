#!/usr/bin/python3
"""Net surgery: fully connected layers become convolutions with the same weights,
so that a net trained on single digits reads a row of them in one pass.

usage: net_surgery.py [OUTPUT_FOLDER]     run it from the project's root, after
examples/learning_lenet/run.sh
"""
import pathlib
import sys

import numpy as np

sys.path.insert(0, "examples/classification")
from lenet_deploy import caffe, deploy, test_digits, trained_model  # noqa: E402

DIGITS = 8


def transplant(source, target):
    """The values fit as they lie: an InnerProduct's rows are a convolution's
    filters, flattened."""
    for layer in ("ip1", "ip2"):
        for theirs, ours in zip(source.params[layer], target.params[f"{layer}-conv"]):
            print(f"{layer}: {theirs.data.shape} -> {ours.data.shape}")
            ours.data.flat = theirs.data.flat


def draw(strip, probability, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(12, 5))
    above.imshow(strip, cmap="gray")
    above.axis("off")
    below.imshow(probability, aspect="auto", cmap="viridis", interpolation="nearest")
    below.set_yticks(range(10))
    below.set_ylabel("digit")
    below.set_xlabel("place (every 4 pixels)")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "examples/net_surgery/out")
    folder.mkdir(parents=True, exist_ok=True)
    net = caffe.Net(deploy(), caffe.TEST, weights=trained_model())
    full = caffe.Net(deploy(convolutional=True), caffe.TEST, weights=trained_model())
    transplant(net, full)
    full.save(str(folder / "lenet_full_conv.caffemodel"))

    images, labels = test_digits(DIGITS)
    same = np.abs(net.forward(data=images[:1, None])["prob"].ravel()
                  - full.forward(data=images[:1, None])["prob"].ravel()).max()
    print(f"one image: the nets differ by {same:.1e} at most")

    strip = np.hstack(list(images))
    full.blobs["data"].reshape(1, 1, *strip.shape)
    full.reshape()
    probability = full.forward(data=strip[None, None])["prob"][0, :, 0]
    # Windows begin every 4 pixels: every 7th holds a whole digit.
    read = probability[:, ::7].argmax(0)
    print(f"labels {' '.join(map(str, labels))}")
    print(f"read   {' '.join(map(str, read))}")
    draw(strip, probability, folder / "strip.png")
    print(f"picture: {folder / 'strip.png'}")


if __name__ == "__main__":
    main()
