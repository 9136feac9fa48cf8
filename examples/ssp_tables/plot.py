"""The paper's curves of one program: plot.py FOLDER APP OUT.png

FOLDER has APP-sS-RANK.csv (clock, seconds, compute, wait, objective) of each run.
Prints a line a bound: clocks a second, share of waiting, the objective at the end.
"""
import collections
import csv
import pathlib
import re
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def read(folder, app):
    """By staleness: the workers' rows."""
    runs = collections.defaultdict(list)
    for path in sorted(pathlib.Path(folder).glob(f"{app}-s*-*.csv")):
        staleness = int(re.match(rf"{app}-s(\d+)-\d+", path.stem)[1])
        with open(path, encoding="utf-8") as file:
            runs[staleness].append([{k: float(v) for k, v in row.items()}
                                    for row in csv.DictReader(file)])
    return dict(sorted(runs.items()))


def main():
    folder, app, out = sys.argv[1:4]
    runs = read(folder, app)
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.5))
    shares = []
    for staleness, workers in runs.items():
        clocks = min(len(rows) for rows in workers)
        objective = [sum(rows[c]["objective"] for rows in workers) for c in range(clocks)]
        # A clock is done when the last worker has done it.
        seconds = [max(rows[c]["seconds"] for rows in workers) for c in range(clocks)]
        label = f"s = {staleness}"
        axes[0][0].plot(seconds, objective, label=label)
        axes[0][1].plot(range(clocks), objective, label=label)
        axes[1][0].plot(seconds, range(1, clocks + 1), label=label)
        # The first clock waits for everyone to join.
        compute = sum(r["compute"] for rows in workers for r in rows[1:])
        wait = sum(r["wait"] for rows in workers for r in rows[1:])
        shares.append((staleness, compute / len(workers), wait / len(workers)))
        rate = (clocks - 1) / (seconds[-1] - seconds[0])
        print(f"{app} s {staleness}: {rate:.2f} clocks/s, waiting "
              f"{100 * wait / (wait + compute):.0f} %, objective {objective[-1]:.5g}")
    axes[0][0].set(xlabel="seconds", ylabel="objective", title="objective against time")
    axes[0][1].set(xlabel="clocks", title="objective against clocks")
    axes[1][0].set(xlabel="seconds", ylabel="clocks done", title="clocks against time")
    names = [str(s) for s, _, _ in shares]
    axes[1][1].bar(names, [c for _, c, _ in shares], label="compute")
    axes[1][1].bar(names, [w for _, _, w in shares], bottom=[c for _, c, _ in shares],
                   label="wait")
    axes[1][1].set(xlabel="staleness", ylabel="seconds a worker", title="compute and wait")
    for axis in axes.flat:
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    figure.suptitle(app.replace("_", " "))
    figure.tight_layout()
    figure.savefig(out, dpi=80)
    print(f"{app}: {out}")


if __name__ == "__main__":
    main()
