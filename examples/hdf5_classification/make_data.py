#!/usr/bin/env python3
"""Makes data/train_1.h5, train_2.h5 and test.h5 with their lists: 10,000 vectors
of four numbers in two classes.  Each class is two clouds in the first two
numbers, placed so that no line parts them well; the other two are noise."""
import pathlib

import h5py
import numpy

HERE = pathlib.Path(__file__).resolve().parent
CENTERS = {0: [(-1.6, -1.0), (1.2, 0.6)], 1: [(-0.6, 1.4), (1.5, -1.5)]}


def main():
    rng = numpy.random.default_rng(1)
    count = 10000
    label = rng.integers(0, 2, count)
    cloud = rng.integers(0, 2, count)
    centers = numpy.array([CENTERS[c][k] for c, k in zip(label, cloud)])
    data = rng.normal(size=(count, 4))
    data[:, :2] = centers + 0.9 * data[:, :2]
    folder = HERE / "data"
    folder.mkdir(exist_ok=True)
    parts = {"train_1": slice(0, 3750), "train_2": slice(3750, 7500),
             "test": slice(7500, count)}
    for name, rows in parts.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["data"] = data[rows].astype(numpy.float32)
            file["label"] = label[rows].astype(numpy.float32)
    prefix = "examples/hdf5_classification/data"
    (folder / "train.txt").write_text(f"{prefix}/train_1.h5\n{prefix}/train_2.h5\n")
    (folder / "test.txt").write_text(f"{prefix}/test.h5\n")


if __name__ == "__main__":
    main()
