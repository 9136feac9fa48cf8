#!/usr/bin/python3
"""Linear regression with the data and the loss in Python.

usage: linreg.py [PICTURE.png]      run it from the project's root
"""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "worker" / "python"), str(ROOT / "examples" / "pycaffe" / "layers")]

import caffe  # noqa: E402


def draw(losses, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.semilogy(losses)
    axes.axhline(0.005, color="gray", linestyle=":", label="noise alone: 0.1² / 2")
    axes.set_xlabel("Iterations")
    axes.set_ylabel("Loss")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main():
    solver = caffe.get_solver("examples/pycaffe/linreg_solver.prototxt")
    losses = []
    for _ in range(solver.param.max_iter):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data[0]))
    slope = solver.net.params["ip"][0].data[0]
    offset = solver.net.params["ip"][1].data[0]
    print(f"slope {slope[0]:.2f} {slope[1]:.2f}, offset {offset:.2f} "
          "(the points': 2 -1, 0.5)")
    print(f"loss of the last 50: {sum(losses[-50:]) / 50:.4f}")
    if len(sys.argv) > 1:
        draw(losses, sys.argv[1])
        print(f"picture: {sys.argv[1]}")


if __name__ == "__main__":
    main()
