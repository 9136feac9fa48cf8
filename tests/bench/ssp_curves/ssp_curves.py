#!/usr/bin/python3
"""Draws what staleness does, in virtual time: the figures of the SSP papers.

Runs ssp_curves_sim (the real shard and cache, logical workers) and writes
ssp_curves.json and one PNG a figure: compute and wait against s (R1), clocks
against time (R2), speed-up by straggler model (R5), reads by age (R6), pulls a
clock (R7), regret against Theorem 1 (R8).

usage: ssp_curves.py [OUTPUT_FOLDER [DATA.json]]   (with DATA: draws only)
"""
import json
import os
import pathlib
import subprocess
import sys

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("CSSP_BUILD_DIR", ROOT / "build"))


def program():
    found = sorted(BUILD.glob("**/ssp_curves_sim"))
    if not found:
        sys.exit(f"no ssp_curves_sim under {BUILD}: deploy/build.sh build ssp_curves_sim")
    return found[0]


def of(rows, **wanted):
    return [row for row in rows
            if all(row[key] == value for key, value in wanted.items())]


def save(figure, folder, name):
    figure.tight_layout()
    figure.savefig(folder / f"{name}.png", dpi=110)
    plt.close(figure)


def draw_waiting(rows, folder):
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for axis, lazy in zip(axes, (True, False)):
        chosen = of(rows, lazy=lazy, latency=5)
        labels = [str(row["s"]) for row in chosen]
        axis.bar(labels, [1] * len(chosen), label="compute")
        axis.bar(labels, [row["wait_per_compute"] for row in chosen], bottom=1,
                 label="wait")
        axis.set_title(("lazy pull" if lazy else "eager push") + ", values 5 clocks on the way")
        axis.set_xlabel("staleness s")
    axes[0].set_ylabel("time per clock / compute")
    axes[0].legend()
    save(figure, folder, "r1_compute_and_wait")


def draw_progress(rows, folder):
    figure, axis = plt.subplots(figsize=(5, 3.6))
    for row in rows:
        axis.plot(*zip(*row["points"]), label=f"s={row['s']}")
    axis.set_xlabel("time / compute")
    axis.set_ylabel("clocks done, all 8 workers")
    axis.set_title("5 % of clocks 4x slow")
    axis.legend()
    save(figure, folder, "r2_clocks_against_time")


def draw_stragglers(rows, folder):
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for axis, workers in zip(axes, (4, 8)):
        for model in dict.fromkeys(row["model"] for row in rows):
            for mode, style in (("PER_CLOCK", "o-"), ("PER_PUSH", "x:")):
                chosen = of(rows, model=model, workers=workers, mode=mode)
                axis.plot([row["s"] for row in chosen],
                          [row["speedup"] for row in chosen], style,
                          label=f"{model}, {mode}")
        axis.set_xscale("log", base=2)
        axis.set_title(f"{workers} workers")
        axis.set_xlabel("staleness s")
    axes[0].set_ylabel("clocks/s over s=0")
    axes[1].legend(fontsize=6)
    save(figure, folder, "r5_speedup_by_straggler")


def draw_ages(rows, folder):
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for axis, lazy in zip(axes, (True, False)):
        for s in (4, 16, 48):
            (row,) = of(rows, lazy=lazy, latency=5, s=s)
            total = sum(row["reads"].values())
            ages = sorted(map(int, row["reads"]))
            axis.step(ages, [row["reads"][str(age)] / total for age in ages],
                      where="mid", label=f"s={s}")
        axis.set_title("lazy pull" if lazy else "eager push")
        axis.set_xlabel("observed staleness, clocks")
    axes[0].set_ylabel("share of reads")
    axes[0].legend()
    save(figure, folder, "r6_observed_staleness")


def draw_traffic(rows, folder):
    figure, axis = plt.subplots(figsize=(5, 3.6))
    for lazy, latency, style in ((True, 5, "o-"), (True, 1, "s-"), (False, 5, "x:")):
        chosen = of(rows, lazy=lazy, latency=latency)
        axis.plot([row["s"] for row in chosen],
                  [row["values_per_clock"] for row in chosen], style,
                  label=f"{'lazy' if lazy else 'eager'}, latency {latency:g}")
    axis.plot(range(49), [1 / (s + 1) for s in range(49)], "k--", lw=.7, label="1/(s+1)")
    axis.set_xlabel("staleness s")
    axis.set_ylabel("copies of the model sent per worker and clock")
    axis.legend()
    save(figure, folder, "r7_traffic")


def draw_regret(rows, folder):
    figure, axis = plt.subplots(figsize=(5.5, 4))
    for color, workers in zip("C0 C1 C2".split(), (2, 8, 32)):
        for mode, style in (("PER_CLOCK", "o-"), ("PER_PUSH", "x:")):
            chosen = of(rows, workers=workers, mode=mode)
            axis.plot([row["s"] for row in chosen], [row["regret"] for row in chosen],
                      style, color=color, label=f"P={workers}, {mode}")
        axis.plot([row["s"] for row in chosen], [row["bound"] for row in chosen],
                  "--", color=color, lw=.8, label=f"bound, P={workers}")
    axis.set_yscale("log")
    axis.set_xlabel("staleness s")
    axis.set_ylabel("regret, 6400 updates")
    axis.set_title("logistic regression, rotating 4x straggler")
    axis.legend(fontsize=6)
    save(figure, folder, "r8_regret")


def main():
    if len(sys.argv) > 3:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else BUILD / "ssp_curves")
    folder.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) > 2:
        data = json.loads(pathlib.Path(sys.argv[2]).read_text())
    else:
        text = subprocess.run([program()], check=True, stdout=subprocess.PIPE, text=True).stdout
        data = json.loads(text)
        (folder / "ssp_curves.json").write_text(text)
    draw_waiting(data["lazy_eager"], folder)
    draw_progress(data["progress"], folder)
    draw_stragglers(data["stragglers"], folder)
    draw_ages(data["lazy_eager"], folder)
    draw_traffic(data["lazy_eager"], folder)
    draw_regret(data["regret"], folder)
    print(f"figures and data in {folder}")


if __name__ == "__main__":
    main()
