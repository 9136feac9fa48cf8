#!/usr/bin/python3
"""Classifies images with a trained net, and looks inside while it does.

usage: classification.py [OUTPUT_FOLDER]     run it from the project's root, after
examples/learning_lenet/run.sh
"""
import pathlib
import sys
import time

import numpy as np

from lenet_deploy import caffe, deploy, test_digits, trained_model


def tiles(data):
    """Images (n x h x w), each stretched to [0, 1], in one square picture."""
    low = data.min(axis=(1, 2), keepdims=True)
    data = (data - low) / np.maximum(data.max(axis=(1, 2), keepdims=True) - low, 1e-9)
    side = int(np.ceil(np.sqrt(len(data))))
    padded = np.ones((side * side, data.shape[1] + 1, data.shape[2] + 1))
    padded[:len(data), :-1, :-1] = data
    grid = padded.reshape(side, side, *padded.shape[1:]).transpose(0, 2, 1, 3)
    return grid.reshape(side * padded.shape[1], side * padded.shape[2])


def draw(net, image, folder):
    """What each stage makes of one image."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(2, 3, figsize=(12, 8))
    pictures = [("input", image), ("conv1's filters", tiles(net.params["conv1"][0].data[:, 0])),
                ("conv1", tiles(net.blobs["conv1"].data[0])),
                ("pool2", tiles(net.blobs["pool2"].data[0]))]
    for axis, (title, picture) in zip(axes.flat, pictures):
        axis.imshow(picture, cmap="gray")
        axis.set_title(title)
        axis.axis("off")
    axes[1, 1].hist(net.blobs["ip1"].data[0], bins=50)
    axes[1, 1].set_title("ip1's values")
    axes[1, 2].bar(range(10), net.blobs["prob"].data[0])
    axes[1, 2].set_title("probabilities")
    figure.tight_layout()
    figure.savefig(folder / "inside.png", dpi=100)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "examples/classification/out")
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = test_digits(1000)
    net = caffe.Net(deploy(), caffe.TEST, weights=trained_model())
    net.blobs["data"].data[...] = images[0]
    probability = net.forward()["prob"][0]
    for digit in probability.argsort()[::-1][:3]:
        print(f"{digit}: {probability[digit]:.4f}")
    draw(net, images[0], folder)

    net.blobs["data"].reshape(100, 1, 28, 28)
    start = time.time()
    found = net.forward_all(data=images[:, None])["prob"].argmax(1)
    print(f"1000 images in {time.time() - start:.2f} s: {(found == labels).mean():.4f} right")

    # Images of any size and colour, through a Transformer and ten crops.
    (folder / "deploy.prototxt").write_text(str(deploy(10)))
    classifier = caffe.Classifier(str(folder / "deploy.prototxt"), trained_model(),
                                  image_dims=(32, 32))
    large = [caffe.io.resize_image(image[:, :, None], (64, 64)) for image in images[:100]]
    scores = classifier.predict(large)
    print(f"100 images of 64 x 64, ten crops each: "
          f"{(scores.argmax(1) == labels[:100]).mean():.4f} right")
    print(f"picture: {folder / 'inside.png'}")


if __name__ == "__main__":
    main()
