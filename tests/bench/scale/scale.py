"""Efficiency against workers, simulated: scale.csv and scale.png.

    tests/bench/scale/scale.py [--out FOLDER] [--most 1024]

Runs tests/bin/scale_sim (tests/sim/scale: real Shard and ParamCache, modelled links and
computing). Efficiency: samples a second of P workers over P times those of one that
computes only. Prints its assumptions and the figures that the project is held to.
"""
import argparse
import csv
import pathlib
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
from testing.programs import BUILD  # noqa: E402

BATCH = 128
# Seconds of forward and backward of 128 images: AlexNet and GoogLeNet as measured on an
# H200 (tests/gpu/README.md, fp32); ResNet-50 by its GFLOP at GoogLeNet's rate.
GFLOP = {"alexnet": 1.45, "googlenet": 3.17, "resnet50": 8.18}
SECONDS = {"alexnet": 0.0273, "googlenet": 0.0857,
           "resnet50": 0.0857 * GFLOP["resnet50"] / GFLOP["googlenet"]}
GBITS = [10, 56, 100, 400]
JITTER = 0.1
# Label, mode, dedicated servers for P workers, staleness, jitter.
MODES = [
    ("BSP, servers on the workers", "ps", lambda p: 0, 0, 0),
    ("BSP, P/4 dedicated servers", "ps", lambda p: max(1, p // 4), 0, 0),
    ("all-reduce (ring)", "ring", lambda p: 0, 0, 0),
    ("BSP, jitter", "ps", lambda p: 0, 0, JITTER),
    ("SSP s=2, jitter", "ps", lambda p: 0, 2, JITTER),
    ("all-reduce (ring), jitter", "ring", lambda p: 0, 0, JITTER),
]


def simulate(net, workers, gbits, mode):
    _, kind, dedicated, staleness, jitter = mode
    done = subprocess.run(
        [BUILD / "tests/bin/scale_sim", HERE / f"profiles/{net}.csv", str(SECONDS[net]),
         str(workers), str(gbits), kind, str(dedicated(workers)), str(staleness), str(jitter)],
        capture_output=True, text=True, check=True)
    seconds, efficiency = done.stdout.strip().split(",")
    return float(seconds), float(efficiency)


def draw(rows, png):
    figure, axes = plt.subplots(len(SECONDS), len(GBITS), figsize=(15, 9), sharex=True, sharey=True)
    for i, net in enumerate(SECONDS):
        for j, gbits in enumerate(GBITS):
            axis = axes[i][j]
            for mode in MODES:
                points = [(r["workers"], r["efficiency"]) for r in rows
                          if (r["net"], r["gbits"], r["mode"]) == (net, gbits, mode[0])]
                axis.plot(*zip(*points), label=mode[0], linestyle="--" if mode[4] else "-")
            axis.set_xscale("log", base=2)
            axis.set_title(f"{net}, {gbits} Gb/s")
            axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=7)
    for axis in axes[-1]:
        axis.set_xlabel("workers")
    for line in axes:
        line[0].set_ylabel("efficiency")
    figure.tight_layout()
    figure.savefig(png, dpi=80)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=".")
    parser.add_argument("--most", type=int, default=1024)
    options = parser.parse_args()
    out = pathlib.Path(options.out)
    counts = [p for p in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if p <= options.most]
    print(f"batch {BATCH} a worker; forward + backward " +
          ", ".join(f"{n} {1000 * s:.1f} ms ({3 * BATCH * GFLOP[n] / s / 1000:.1f} TFLOP/s)"
                    for n, s in SECONDS.items()) +
          "; backward 2/3 of it; one full-duplex link a node, 5 us a message; a server sums and "
          f"applies 20 GB/s; jitter: times 1 + {JITTER} Exp(1) a worker and clock")
    rows = []
    for net in SECONDS:
        for gbits in GBITS:
            for mode in MODES:
                for workers in counts:
                    seconds, efficiency = simulate(net, workers, gbits, mode)
                    rows.append({"net": net, "gbits": gbits, "mode": mode[0], "workers": workers,
                                 "seconds_a_clock": seconds, "efficiency": efficiency})
        print(f"{net}: done", flush=True)
    with open(out / "scale.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, out / "scale.png")
    for workers in (16, 128):
        for mode in (MODES[0], MODES[4], MODES[2]):
            for row in rows:
                if (row["net"], row["gbits"], row["mode"], row["workers"]) == (
                        "googlenet", 56, mode[0], workers):
                    print(f"googlenet, 56 Gb/s, {workers} workers, {mode[0]}: "
                          f"{100 * row['efficiency']:.1f} %")


if __name__ == "__main__":
    main()
