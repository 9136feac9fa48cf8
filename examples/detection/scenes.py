"""Scenes for the detector: pictures with several of the shapes of examples/shapes,
where they are, and R-CNN's window files."""
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shapes"))
from make_shapes import SETS  # noqa: E402

SIDE = 160
SHAPES = SETS["first"]
LABELS = ["background", *SHAPES]


def overlap(window, boxes):
    """Intersection over union of one box with each of others (ymin, xmin, ymax, xmax)."""
    boxes = np.asarray(boxes, float)
    low = np.maximum(boxes[:, :2], window[:2])
    high = np.minimum(boxes[:, 2:], window[2:])
    common = np.maximum(high - low, 0).prod(1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return common / (area + (window[2] - window[0]) * (window[3] - window[1]) - common)


def draw(rng):
    """A picture (SIDE x SIDE x 3, bytes), its shapes' boxes and their labels."""
    paper = rng.integers(0, 256, 3)
    picture = np.tile(paper, (SIDE, SIDE, 1))
    boxes, labels = [], []
    while len(boxes) < 4:
        radius = rng.integers(14, 27)
        y, x = rng.integers(radius, SIDE - radius, 2)
        box = (y - radius, x - radius, y + radius, x + radius)
        if boxes and overlap(box, boxes).max() > 0:
            continue
        label = int(rng.integers(1, len(LABELS)))
        inside = SHAPES[LABELS[label]]
        ink = (paper + rng.integers(80, 176, 3)) % 256
        for row in range(box[0], box[2]):
            for column in range(box[1], box[3]):
                if inside((column - x) / radius, (row - y) / radius):
                    picture[row, column] = ink
        boxes.append(box)
        labels.append(label)
    noise = rng.integers(0, 256, picture.shape)
    return ((9 * picture + noise) // 10).astype(np.uint8), boxes, labels


def proposals(rng, boxes):
    """Windows to train on: the boxes, the same displaced, and any others."""
    windows = list(boxes)
    for box in boxes:
        size = box[2] - box[0]
        for _ in range(12):
            y, x = (np.array(box[:2]) + rng.integers(-size // 3, size // 3 + 1, 2))
            side = int(size * rng.uniform(0.8, 1.25))
            windows.append((y, x, y + side, x + side))
    for _ in range(40):
        side = rng.integers(24, 57)
        y, x = rng.integers(0, SIDE - side, 2)
        windows.append((y, x, y + side, x + side))
    return [w for w in windows if min(w[:2]) >= 0 and max(w[2:]) < SIDE]


def window_lines(index, path, rng, boxes, labels):
    """One image's part of a window file."""
    lines = []
    for window in proposals(rng, boxes):
        overlaps = overlap(window, boxes)
        ymin, xmin, ymax, xmax = window
        lines.append(f"{labels[overlaps.argmax()]} {overlaps.max():.4f} {xmin} {ymin} {xmax} {ymax}")
    return "\n".join([f"# {index}", str(path), "3", str(SIDE), str(SIDE), str(len(lines)), *lines]) + "\n"


def write(folder, count, seed):
    """Pictures and windows.txt in `folder`."""
    from PIL import Image
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    text = ""
    for i in range(count):
        picture, boxes, labels = draw(rng)
        path = folder / f"{i:03d}.png"
        Image.fromarray(picture).save(path)
        text += window_lines(i, path, rng, boxes, labels)
    (folder / "windows.txt").write_text(text)
