#!/usr/bin/python3
"""Finds shapes in scenes as R-CNN finds objects in photographs: a net that knows
whole images is fine-tuned on windows (WindowData), then scores windows (Detector).

usage: detection.py [OUTPUT_FOLDER]     run it from the project's root, after
examples/shapes/prepare.sh
"""
import pathlib
import sys

import numpy as np

import scenes

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "worker" / "python"))

import caffe  # noqa: E402
from caffe import layers as L, params as P  # noqa: E402

WEIGHTS = pathlib.Path("examples/shapes/data/shapes_iter_300.caffemodel")
SIDE, CONTEXT = 48, 4  # the net's input; pixels of context in it
THRESHOLD = 0.9


def features(n, data):
    """The layers of examples/shapes by their names, so that its weights fit."""
    learnt = dict(param=[dict(lr_mult=1), dict(lr_mult=2)])
    fill = dict(weight_filler=dict(type="xavier"))
    n.conv1 = L.Convolution(data, num_output=16, pad=2, kernel_size=5, stride=2, **learnt, **fill)
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.conv2 = L.Convolution(n.relu1, num_output=32, pad=1, kernel_size=3, **learnt, **fill)
    n.relu2 = L.ReLU(n.conv2, in_place=True)
    n.pool2 = L.Pooling(n.relu2, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.conv3 = L.Convolution(n.pool2, num_output=32, pad=1, kernel_size=3, **learnt, **fill)
    n.relu3 = L.ReLU(n.conv3, in_place=True)
    n.pool3 = L.Pooling(n.relu3, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.fc4 = L.InnerProduct(n.pool3, num_output=64, **learnt, **fill)
    n.relu4 = L.ReLU(n.fc4, in_place=True)
    # A name of its own: it starts anew, and learns ten times as fast.
    n.window = L.InnerProduct(n.relu4, num_output=len(scenes.LABELS),
                              param=[dict(lr_mult=10), dict(lr_mult=20)], **fill)
    return n.window


def train(folder):
    n = caffe.NetSpec()
    n.data, n.label = L.WindowData(
        ntop=2, transform_param=dict(crop_size=SIDE, mirror=True, mean_value=128, scale=1 / 128),
        window_data_param=dict(source=str(folder / "train/windows.txt"), batch_size=64,
                               fg_threshold=0.6, bg_threshold=0.4, fg_fraction=0.4,
                               crop_mode="warp", context_pad=CONTEXT))
    n.loss = L.SoftmaxWithLoss(features(n, n.data), n.label)
    (folder / "train.prototxt").write_text(str(n.to_proto()))
    (folder / "solver.prototxt").write_text(
        f'train_net: "{folder}/train.prototxt" base_lr: 0.002 momentum: 0.9 weight_decay: 0.0005\n'
        f'lr_policy: "step" gamma: 0.1 stepsize: 400 max_iter: 500 random_seed: 1\n'
        f'snapshot_prefix: "{folder}/windows"\n')
    solver = caffe.get_solver(str(folder / "solver.prototxt"))
    solver.net.copy_from(str(WEIGHTS))
    solver.solve()
    return str(folder / "windows_iter_500.caffemodel")


def detector(folder, weights):
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[100, 3, SIDE, SIDE]))
    n.prob = L.Softmax(features(n, n.data))
    (folder / "deploy.prototxt").write_text(str(n.to_proto()))
    return caffe.Detector(str(folder / "deploy.prototxt"), weights, mean=np.full(3, 128.0),
                          input_scale=1 / 128, raw_scale=255, channel_swap=(2, 1, 0),
                          context_pad=CONTEXT)


def sliding_windows():
    return np.array([(y, x, y + size, x + size) for size in (28, 34, 42, 52)
                     for y in range(0, scenes.SIDE - size, size // 6)
                     for x in range(0, scenes.SIDE - size, size // 6)])


def suppress(found):
    """Of detections that overlap, the surest one."""
    kept = []
    for detection in sorted(found, key=lambda d: -d["prediction"][1:].max()):
        if detection["prediction"][1:].max() < THRESHOLD:
            break
        others = [d["window"] for d in kept]
        if not others or scenes.overlap(detection["window"], others).max() < 0.3:
            kept.append(detection)
    return kept


def right(kept, boxes, labels):
    """How many of the shapes are found, where they are and for what they are."""
    hits = 0
    for box, label in zip(boxes, labels):
        near = [d for d in kept if scenes.overlap(box, [d["window"]])[0] >= 0.5]
        hits += any(d["prediction"].argmax() == label for d in near)
    return hits


def draw(pictures, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(1, len(pictures), figsize=(4 * len(pictures), 4))
    for axis, (picture, kept) in zip(axes, pictures):
        axis.imshow(picture)
        axis.axis("off")
        for detection in kept:
            ymin, xmin, ymax, xmax = detection["window"]
            label = detection["prediction"].argmax()
            axis.add_patch(pyplot.Rectangle((xmin, ymin), xmax - xmin, ymax - ymin, fill=False,
                                            edgecolor="white", linewidth=2))
            axis.text(xmin, ymin, f"{scenes.LABELS[label]} {detection['prediction'][label]:.2f}",
                      color="white", backgroundcolor="black", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "examples/detection/data")
    if not WEIGHTS.exists():
        sys.exit(f"{WEIGHTS} is not there: run examples/shapes/prepare.sh")
    caffe.set_random_seed(1)
    scenes.write(folder / "train", 100, seed=1)
    net = detector(folder, train(folder))
    rng = np.random.default_rng(2)
    windows, pictures, shapes, found, hits = sliding_windows(), [], 0, 0, 0
    for _ in range(10):
        picture, boxes, labels = scenes.draw(rng)
        kept = suppress(net.detect_windows([(picture / 255.0, windows)]))
        pictures.append((picture, kept))
        shapes, found, hits = shapes + len(boxes), found + len(kept), hits + right(kept, boxes, labels)
    print(f"{len(windows)} windows a scene; {hits} of {shapes} shapes found, {found} detections")
    draw(pictures[:4], folder / "detections.png")
    print(f"picture: {folder}/detections.png")


if __name__ == "__main__":
    main()
