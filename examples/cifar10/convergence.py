#!/usr/bin/python3
"""How well cifar10_quick trains under each consistency mode, on real CIFAR-10.

4 workers of batch 25, two ps-servers, the published schedule (4,000 clocks at
0.001, 1,000 at 0.0001) or one of another length.  Each (setting, seed) is one run;
a finished run is a JSON file in WORK, so the script may be stopped and started
again, with more settings or seeds: it runs what is missing and prints the table.

  accuracy      at the last clock; the mean over seeds
  difference    to s=0 of the same seed: mean of the pairs, 2 standard errors
  staleness     share of reads by clocks that they were behind
  to 0.70       seconds until a test reached it
  straggler     clocks/s of a short run under a rotating 4x straggler
  slowed        with --slowed: the whole run under that straggler, seconds to 0.70

usage: convergence.py BATCHES_FOLDER WORK [--settings=s0,s2,...] [--seeds=1,2,...]
                      [--clocks=5000] [--straggler-clocks=400] [--slowed] [--gpu]
                      [--table-only] [--draw=FILE.png]

With --gpu all workers share the host's first GPU.  --draw: the loss against clocks and
against time, of the first seed's whole runs (with --slowed, of those).
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("CSSP_BUILD_DIR", HERE.parents[1] / "build")).resolve()
SETTINGS = {
    "s0": ["--staleness=0"],
    "s1": ["--staleness=1"],
    "s2": ["--staleness=2"],
    "s4": ["--staleness=4"],
    "s8": ["--staleness=8"],
    "s1-lookahead": ["--staleness=1", "--lookahead"],
    "s2-lookahead": ["--staleness=2", "--lookahead"],
    "s4-lookahead": ["--staleness=4", "--lookahead"],
    "push-s1": ["--staleness=1", "--ssp_update=per_push"],
    "push-s2": ["--staleness=2", "--ssp_update=per_push"],
    "async": ["--async"],
}
GOAL = 0.70


class Servers:
    """Two ps-servers for one run."""

    def __init__(self, folder):
        self.folder, self.processes, self.coordinator = folder, [], ""

    def __enter__(self):
        for i in range(2):
            ready = self.folder / f"ready-{i}"
            ready.unlink(missing_ok=True)
            command = [BUILD / "bin/ps-server", f"--set=id=ps-{i}",
                       f"--set=state_dir={self.folder}/state-{i}", f"--set=ready_file={ready}"]
            if self.coordinator:
                command.append(f"--set=coordinator={self.coordinator}")
            with open(self.folder / f"ps-{i}.log", "w") as log:
                self.processes.append(subprocess.Popen(command, stderr=log))
            while not ready.exists():
                if self.processes[-1].poll() is not None:
                    sys.exit(f"ps-server {i} ended: see {self.folder}/ps-{i}.log")
                time.sleep(0.05)
            if i == 0:
                self.coordinator = re.search(r"control=(\S+)", ready.read_text()).group(1)
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()


def prepare(batches, work):
    """The databases and the mean image, once."""
    if (work / "mean.binaryproto").exists():
        return
    subprocess.run([BUILD / "tools/convert_cifar_data", batches, work, "lmdb"], check=True)
    subprocess.run([BUILD / "tools/compute_image_mean", "-backend=lmdb",
                    work / "cifar10_train_lmdb", work / "mean.binaryproto"], check=True)


def write_solver(work, folder, seed, clocks, test_interval, mode):
    net = (HERE / "cifar10_quick_train_test.prototxt").read_text()
    net = net.replace("examples/cifar10/", f"{work}/").replace("batch_size: 100", "batch_size: 25", 1)
    (folder / "net.prototxt").write_text(net)
    test = f"test_iter: 100 test_interval: {test_interval}\n" if test_interval else ""
    (folder / "solver.prototxt").write_text(
        f'net: "{folder}/net.prototxt"\n{test}'
        "base_lr: 0.001 momentum: 0.9 weight_decay: 0.004\n"
        f'lr_policy: "multistep" gamma: 0.1 stepvalue: {clocks * 4 // 5}\n'
        f"max_iter: {clocks} snapshot_after_train: false\n"
        f'snapshot_prefix: "{folder}/quick" solver_mode: {mode} random_seed: {seed}\n')


def train(work, name, setting, seed, clocks, tests, straggler, mode):
    """One run; gives what is kept of it."""
    folder = work / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    write_solver(work, folder, seed, clocks, max(50, clocks // 20) if tests else 0,
                 mode)
    events = folder / "events"
    flags = [*SETTINGS[setting], "--workers=4", "--threads=1", "--launch=mpirun",
             f"--solver={folder}/solver.prototxt", f"--events={events}",
             f"--log={folder}/workers.log", f"--job_file={folder}/job"]
    if straggler:
        flags.append("--straggler=rotating:4")
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1",
                   "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_WAIT_POLICY": "passive"}
    with Servers(folder) as servers:
        psctl = [BUILD / "bin/psctl", f"--coordinator={servers.coordinator}"]
        subprocess.run([*psctl, "submit", *flags], check=True, env=environment,
                       stdout=subprocess.DEVNULL)
        job = json.loads(subprocess.run(
            [*psctl, "describe", (folder / "job").read_text().strip(), "-o", "json"],
            check=True, stdout=subprocess.PIPE, text=True).stdout)
    return summary(events, job)


def summary(events, job):
    times, losses, tests = {}, [], []
    for line in events.read_text().splitlines():
        event = json.loads(line)
        if progress := event.get("progress"):
            clock, at = int(progress.get("clock", 0)), float(progress["unix_seconds"])
            times[clock] = at
            losses.append([clock, at, float(progress.get("loss", 0))])
        if test := event.get("test"):
            accuracy = [float(o["value"]) for o in test["outputs"] if o["name"] == "accuracy"]
            if accuracy:
                tests.append([int(test.get("clock", 0)), float(test["unix_seconds"]), accuracy[0]])
    begin, last = times[min(times)], max(times)
    seen = {}
    for worker in job["workers"]:
        for clocks, count in enumerate(worker.get("stalenessHistogram",
                                                  worker.get("staleness_histogram", []))):
            seen[clocks] = seen.get(clocks, 0) + int(count)
    total = sum(seen.values()) or 1
    return {
        "accuracy": tests[-1][2] if tests else None,
        "goal_seconds": next((at - begin for _, at, a in tests if a >= GOAL), None),
        "seconds": times[last] - begin,
        "clocks_per_second": (last - min(times)) / (times[last] - begin),
        "staleness": {str(k): v / total for k, v in seen.items() if v},
        "losses": [[clock, at - begin, loss] for clock, at, loss in losses],
        "tests": [[clock, at - begin, a] for clock, at, a in tests],
    }


def run_missing(work, kind, setting, seed, clocks, mode):
    kept = work / "results" / f"{kind}{clocks}-{setting}-{seed}.json"
    if not kept.exists():
        print(f"{kept.stem} ...", file=sys.stderr, flush=True)
        result = train(work, kept.stem, setting, seed, clocks, kind != "straggler",
                       kind != "clocks", mode)
        kept.parent.mkdir(exist_ok=True)
        partial = kept.with_suffix(".partial")
        partial.write_text(json.dumps(result))
        partial.rename(kept)


def results_of(work, kind, setting):
    found = (work / "results").glob(f"{kind}-{setting}-*.json")
    seeds = {p.stem[len(f"{kind}-{setting}-"):]: p for p in sorted(found)}
    # s2's files, not s2-lookahead's.
    return {int(seed): json.loads(p.read_text()) for seed, p in seeds.items() if seed.isdigit()}


def difference(results, base):
    pairs = [100 * (results[seed]["accuracy"] - base[seed]["accuracy"])
             for seed in results if seed in base]
    if len(pairs) < 2:
        return f"{pairs[0]:+.2f} (one pair)" if pairs else "-"
    error = 2 * statistics.stdev(pairs) / len(pairs) ** 0.5
    return f"{statistics.mean(pairs):+.2f} +- {error:.2f} points ({len(pairs)} pairs)"


def mean_staleness(results):
    shares = {}
    for result in results.values():
        for clocks, share in result["staleness"].items():
            shares[int(clocks)] = shares.get(int(clocks), 0) + share / len(results)
    return ", ".join(f"{k}: {100 * v:.1f} %" for k, v in sorted(shares.items()) if v >= 0.0005)


def mean_goal(results):
    goals = [r["goal_seconds"] for r in results.values()]
    return f"{statistics.mean(goals):.0f}" if None not in goals else "not reached"


def print_table(work, settings, clocks, straggler_clocks):
    base = results_of(work, f"clocks{clocks}", "s0")
    print(f"cifar10_quick, {clocks} clocks, 4 workers x batch 25; straggler: rotating 4x, "
          f"{straggler_clocks} clocks\n")
    print("| setting | accuracy | difference to s0 | to 0.70, s | clocks/s | straggler clocks/s "
          "| slowed to 0.70, s | staleness |")
    print("|---|---|---|---|---|---|---|---|")
    for setting in settings:
        results = results_of(work, f"clocks{clocks}", setting)
        slowed = results_of(work, f"straggler{straggler_clocks}", setting)
        whole = results_of(work, f"slowed{clocks}", setting)
        row = [setting] + ["-"] * 7
        if results:
            row[1] = f"{statistics.mean(r['accuracy'] for r in results.values()):.4f}"
            row[2] = difference(results, base) if setting != "s0" else "-"
            row[3] = mean_goal(results)
            row[4] = f"{statistics.mean(r['clocks_per_second'] for r in results.values()):.1f}"
            row[7] = mean_staleness(results)
        if slowed:
            row[5] = f"{statistics.median(r['clocks_per_second'] for r in slowed.values()):.1f}"
        if whole:
            row[6] = mean_goal(whole)
        print("| " + " | ".join(row) + " |")


def smoothed(values, window=20):
    """Means of the last `window` values, fewer at the start."""
    return [statistics.mean(values[max(0, i + 1 - window):i + 1]) for i in range(len(values))]


def draw(work, kind, settings, seed, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for setting in settings:
        result = results_of(work, kind, setting).get(seed, {})
        if not result.get("losses"):
            continue
        clocks, seconds, losses = zip(*result["losses"])
        for axis, along in zip(axes, (clocks, seconds)):
            axis.plot(along, smoothed(losses), label=setting)
    for axis, name in zip(axes, ("clocks", "seconds")):
        axis.set_xlabel(name)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("training loss, mean over the workers")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("batches", type=pathlib.Path)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--clocks", type=int, default=5000)
    parser.add_argument("--straggler-clocks", type=int, default=400)
    parser.add_argument("--slowed", action="store_true")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--table-only", action="store_true")
    parser.add_argument("--draw", type=pathlib.Path)
    args = parser.parse_args()
    settings = args.settings.split(",")
    mode = "GPU" if args.gpu else "CPU"
    for setting in settings:
        if setting not in SETTINGS:
            sys.exit(f"no setting '{setting}'; known are {', '.join(SETTINGS)}")
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not args.table_only:
        prepare(args.batches.resolve(), work)
        for seed in map(int, args.seeds.split(",")):
            for setting in settings:  # interleaved: the machine's moods hit all alike
                kinds = {"clocks": args.clocks, "straggler": args.straggler_clocks,
                         "slowed": args.clocks if args.slowed else 0}
                for kind, clocks in kinds.items():
                    if clocks > 0:
                        run_missing(work, kind, setting, seed, clocks, mode)
    print_table(work, settings, args.clocks, args.straggler_clocks)
    if args.draw:
        kind = "slowed" if args.slowed else "clocks"
        draw(work, f"{kind}{args.clocks}", settings, int(args.seeds.split(",")[0]), args.draw)


if __name__ == "__main__":
    main()
