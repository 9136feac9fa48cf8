#!/usr/bin/python3
"""Training speed on the CPU beside torch: forward, backward and update, one
process each, two threads, rounds interleaved in one run.

usage: cpu_training.py [--rounds N] [--threads N] [NET...]

The processes live through the whole run of a net and take turns, so that what
else the machine does hits all alike; the figure of a process is the median over
rounds of a round's median, the ratio is the median of the rounds' ratios.  Where
others want the cores too, wall times say little: the processor time that all
threads used, divided by their number, is the second figure.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import nets

HERE = pathlib.Path(__file__).resolve().parent
BENCH = HERE.parents[2] / "build/bin/cpu_training_bench"
# Milliseconds seen together on one machine (the issue's): torch NCHW, BVLC Caffe
# on OpenBLAS.  BVLC's is scaled by the run's torch figure.
SEEN = {"lenet": (20, 20), "cifar10_quick": (37, 142), "alexnet": (680, 603),
        "googlenet": (1900, 1360)}
ITERATIONS = {"lenet": 20, "cifar10_quick": 10, "alexnet": 2, "googlenet": 1}


class Process:
    def __init__(self, command, threads, header=False):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), OMP_WAIT_POLICY="passive")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, env=env,
                                        stdout=subprocess.PIPE, text=True)
        self.header = self.process.stdout.readline() if header else ""

    def run(self, iterations):
        self.process.stdin.write(f"{iterations}\n")
        self.process.stdin.flush()
        times = [float(t) for t in self.process.stdout.readline().split()]
        if len(times) != 2 * iterations:
            sys.exit("a process of the benchmark has died")
        return statistics.median(times[::2]), statistics.median(times[1::2])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(name, rounds, threads, peak):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "net.prototxt"
        path.write_text(nets.prototxt(nets.NETS[name]()))
        ours = Process([BENCH, str(path), str(threads)], threads, header=True)
        torch = [Process(["/usr/bin/python3", HERE / "torch_training.py", name, layout,
                          str(threads)], threads) for layout in ("nchw", "channels_last")]
        processes = [ours, *torch]
        for process in processes:
            process.run(2)  # warm-up
        times = [[p.run(ITERATIONS[name]) for p in processes] for _ in range(rounds)]
        for process in processes:
            process.close()
    for i, what in enumerate(("wall", "processor")):
        share = threads if i else 1
        report(name, what, [[t[i] / share for t in turn] for turn in times],
               float(ours.header) / 1e6, peak)


def report(name, what, times, mflops, peak):
    own, nchw, last = (statistics.median(t[i] for t in times) for i in range(3))
    torch_seen, bvlc_seen = SEEN[name]
    bvlc = min(1, bvlc_seen / torch_seen)
    beside_nchw = statistics.median(t[1] * bvlc / t[0] for t in times)
    beside_last = statistics.median(t[2] / t[0] for t in times)
    speed = mflops / own
    print(f"{name:14} {what:9} ours {own:8.1f} ms  torch NCHW {nchw:8.1f}  channels-last {last:8.1f}  "
          f"| {beside_nchw:5.2f}x of the better of NCHW and BVLC, {beside_last:5.2f}x of "
          f"channels-last | {speed:6.1f} GFLOP/s, {100 * speed / peak:4.1f} % of peak", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("nets", nargs="*", default=list(nets.NETS))
    options = parser.parse_args()
    peak = float(subprocess.run([BENCH, "--peak", str(options.threads)], check=True, text=True,
                                capture_output=True).stdout)
    print(f"{options.threads} threads, {options.rounds} rounds; AVX-512 multiply-add peak "
          f"{peak:.0f} GFLOP/s")
    for name in options.nets:
        measure(name, options.rounds, options.threads, peak)


main()
