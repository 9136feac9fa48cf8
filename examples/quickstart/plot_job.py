#!/usr/bin/python3
"""Draws a job's loss and test accuracy, over clocks and over seconds.

usage: plot_job.py EVENTS.jsonl OUT.png [TITLE]
EVENTS is what `psctl watch JOB -o json` prints: one event a line.
"""
import json
import sys

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402


def read_events(path):
    progress, tests = [], []
    with open(path) as lines:
        for line in lines:
            line = line.strip()
            if not line.startswith("{"):
                continue
            event = json.loads(line)
            if "progress" in event:
                entry = event["progress"]
                progress.append((int(entry.get("clock", 0)) + 1,
                                 float(entry.get("unix_seconds", 0)),
                                 float(entry.get("loss", 0))))
            elif "test" in event:
                entry = event["test"]
                for output in entry.get("outputs", []):
                    if output["name"].startswith("accuracy"):
                        tests.append((int(entry.get("clock", 0)),
                                      float(output.get("value", 0))))
    return sorted(set(progress)), sorted(set(tests))


def smooth(values, window):
    if len(values) < 2 * window:
        return np.asarray(values)
    kernel = np.ones(window) / window
    padded = np.concatenate([np.full(window - 1, values[0]), values])
    return np.convolve(padded, kernel, "valid")


def draw(progress, tests, out, title):
    clocks = np.array([p[0] for p in progress])
    seconds = np.array([p[1] for p in progress])
    seconds = seconds - seconds.min()
    losses = np.array([p[2] for p in progress])
    # A test belongs to the moment at which its version came to be.
    test_clocks = np.array([t[0] for t in tests])
    test_seconds = np.interp(test_clocks, clocks, seconds)
    accuracies = np.array([t[1] for t in tests])

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
    for axis, x, test_x, label in (
            (axes[0], clocks, test_clocks, "clock"),
            (axes[1], seconds, test_seconds, "seconds")):
        axis.plot(x, losses, color="0.8", lw=0.6)
        axis.plot(x, smooth(losses, 25), color="tab:red", label="loss")
        axis.set_xlabel(label)
        axis.set_ylim(0, max(2.5, float(np.percentile(losses, 99))))
        axis.grid(alpha=0.3)
        right = axis.twinx()
        right.plot(test_x, accuracies, "o-", color="tab:blue", ms=4,
                   label="test accuracy")
        right.set_ylim(0, 1)
        if axis is axes[1]:
            right.set_ylabel("test accuracy", color="tab:blue")
    axes[0].set_ylabel("training loss (mean over workers)", color="tab:red")
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    progress, tests = read_events(sys.argv[1])
    if not progress:
        sys.exit(f"plot_job: no progress events in {sys.argv[1]}")
    draw(progress, tests, sys.argv[2],
         sys.argv[3] if len(sys.argv) == 4 else "")


if __name__ == "__main__":
    main()
