#!/usr/bin/python3
"""What the parameter service costs: clocks/s of one worker on loopback against a
single process, cifar10_quick at batch 100, interleaved rounds in one run.

And what the tick's way over gRPC costs: of one worker both update modes make the
same updates; PER_CLOCK applies a chunk when its part is in, PER_PUSH when the tick
is there, too.

usage: overhead_bench.py [CLOCKS [ROUNDS]]
"""
import json
import pathlib
import re
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import BIN, CAFFE, ROOT  # noqa: E402


class Bench(programs.ProgramTest):
    clocks, rounds = 200, 5

    def prepare(self):
        net = (ROOT / "examples/cifar10/cifar10_quick_train_test.prototxt").read_text()
        # The data layers would measure the disk: constant images instead.
        body = net[net.index('layer {\n  name: "conv1"'):]
        (self.work / "net.prototxt").write_text("""name: "quick"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {
    shape { dim: 100 dim: 3 dim: 32 dim: 32 } shape { dim: 100 }
    data_filler { type: "constant" value: 1 } data_filler { type: "constant" value: 3 } } }
""" + body)
        (self.work / "solver.prototxt").write_text(
            f'net: "net.prototxt" base_lr: 0.0001 momentum: 0.9 weight_decay: 0.004\n'
            f'lr_policy: "fixed" max_iter: {self.clocks} display: 20\n'
            f'snapshot_after_train: false snapshot_prefix: "quick" solver_mode: CPU\n')

    def single(self):
        """From the log's own stamps, first display to last."""
        _, log = self.run_program(CAFFE, "train", "-solver=solver.prototxt",
                                  env={"OMP_NUM_THREADS": "2"})
        stamps = re.findall(r"^I\d{4,8} (\d+):(\d+):([\d.]+) .*\] Iteration (\d+)\D.*loss = ",
                            log, re.M)
        points = [(int(n), int(h) * 3600 + int(m) * 60 + float(s)) for h, m, s, n in stamps]
        points = [p for p in points if 20 <= p[0] < self.clocks]
        return (points[-1][0] - points[0][0]) / (points[-1][1] - points[0][1])

    def served(self, coordinator, round_, *flags):
        events = self.work / f"{round_}.events"
        self.run_program(
            BIN / "psctl", f"--coordinator={coordinator}", "submit",
            "--solver=solver.prototxt", f"--name=served-{round_}", "--workers=1",
            "--staleness=0", "--threads=2", "--launch=mpirun", f"--events={events}",
            f"--log={self.work}/{round_}.log", *flags)
        times = {}
        for line in events.read_text().splitlines():
            progress = json.loads(line).get("progress")
            if progress:
                times[int(progress.get("clock", 0)) + 1] = float(progress["unix_seconds"])
        first, last = 20, max(t for t in times if t < self.clocks)
        return (last - first) / (times[last] - times[first])

    def test_overhead(self):
        self.prepare()
        _, coordinator = self.start_servers(1)
        single, served = [], []
        for round_ in range(self.rounds):
            single.append(self.single())
            served.append(self.served(coordinator, round_))
        a, b = statistics.median(single), statistics.median(served)
        print(f"cifar10_quick, batch 100, 2 threads: single process {a:.2f} clocks/s, "
              f"1 worker + 1 server on loopback {b:.2f} clocks/s: {100 * (1 - b / a):.1f} % "
              f"slower (rounds: {', '.join(f'{y / x:.3f}' for x, y in zip(single, served))})",
              flush=True)
        self.assertGreaterEqual(b, 0.9 * a)

    def test_tick_hop(self):
        self.prepare()
        _, coordinator = self.start_servers(1, tag="hop")
        ratios = []
        for round_ in range(self.rounds):
            without = self.served(coordinator, f"clock-{round_}")
            hop = self.served(coordinator, f"push-{round_}", "--ssp_update=PER_PUSH")
            ratios.append(hop / without)
        ratio = statistics.median(ratios)
        print(f"tick hop: cifar10_quick with the tick awaited (PER_PUSH) runs at {ratio:.3f} of "
              f"PER_CLOCK's clocks/s: {100 * (1 - ratio):.1f} % (rounds: "
              f"{', '.join(f'{r:.3f}' for r in ratios)})", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        sys.exit(__doc__)
    for field, text in zip(("clocks", "rounds"), sys.argv[1:]):
        setattr(Bench, field, int(text))
    programs.main()
