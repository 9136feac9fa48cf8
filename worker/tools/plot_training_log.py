#!/usr/bin/python3
"""Draws training logs as curves, one a log, into a PNG (or SVG, PDF) file.

chart_type  0 test accuracy       1 the same against seconds
            2 test loss           3
            4 learning rate       5
            6 train loss          7
"""
import argparse
import os
import sys

from parse_log import parse_log

# What each pair of charts shows: title, table, column wanted.
CHARTS = [("Test accuracy", 1, "accuracy"), ("Test loss", 1, "loss"),
          ("Learning rate", 0, "LearningRate"), ("Train loss", 0, "loss")]


def series(log, chart_type):
    """(name, x, y) of every column of `log` that the chart is about."""
    _, table, wanted = CHARTS[chart_type // 2]
    rows = parse_log(log)[table]
    axis = "Seconds" if chart_type % 2 else "NumIters"
    names = dict.fromkeys(name for row in rows for name in row
                          if wanted.lower() in name.lower())
    return [(name, [row[axis] for row in rows if name in row],
             [row[name] for row in rows if name in row]) for name in names]


def plot(chart_type, path, logs):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for log in logs:
        found = series(log, chart_type)
        if not found:
            raise ValueError(f"{log}: holds nothing for chart {chart_type}")
        for name, x, y in found:
            axes.plot(x, y, marker="." if len(x) < 50 else None,
                      label=f"{os.path.basename(log)}: {name}")
    title = CHARTS[chart_type // 2][0]
    axes.set_ylabel(title)
    axes.set_xlabel("Seconds" if chart_type % 2 else "Iterations")
    axes.set_title(f"{title} by {'seconds' if chart_type % 2 else 'iterations'}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chart_type", type=int, choices=range(8))
    parser.add_argument("picture", help=".png, .svg or .pdf")
    parser.add_argument("logs", nargs="+")
    arguments = parser.parse_args(argv)
    plot(arguments.chart_type, arguments.picture, arguments.logs)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"plot_training_log.py: {error}")
