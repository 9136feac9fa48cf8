#!/usr/bin/python3
"""What a staleness bound buys under the rotating straggler.

4 workers, one of them 4 times slower in turn; compute is replaced by sleep (the
same durations in both arms), fresh_wait is 0. Prints clocks/s at s=0 and s=2 and
their ratio beside the virtual-time figure (2.29).

usage: straggler_bench.py [CLOCKS [BASE_MS [ROUNDS]]]
"""
import json
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import BIN  # noqa: E402

NET = """name: "sleeper"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {
    shape { dim: 2 dim: 8 } shape { dim: 2 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
VIRTUAL = {0: 1.0, 1: 2.00, 2: 2.29, 4: 2.29}


class Bench(programs.ProgramTest):
    clocks, base_ms, rounds = 200, 20, 3

    def clocks_per_second(self, coordinator, staleness, round_):
        name = f"s{staleness}-{round_}"
        (self.work / "solver.prototxt").write_text(
            f'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: {self.clocks}\n'
            f'snapshot_after_train: false snapshot_prefix: "{name}" solver_mode: CPU\n')
        events = self.work / f"{name}.events"
        self.run_program(
            BIN / "psctl", f"--coordinator={coordinator}", "submit",
            "--solver=solver.prototxt", f"--name={name}", "--workers=4",
            f"--staleness={staleness}", "--fresh_wait=0", "--threads=1",
            f"--straggler=rotating:4@{self.base_ms}", "--launch=mpirun",
            f"--events={events}", f"--log={self.work}/{name}.log")
        times = {}
        for line in events.read_text().splitlines():
            progress = json.loads(line).get("progress")
            if progress:
                times[int(progress.get("clock", 0))] = float(progress["unix_seconds"])
        first, last = min(times) + 8, max(times)  # start-up left out
        return (last - first) / (times[last] - times[first])

    def test_rotating(self):
        (self.work / "net.prototxt").write_text(NET)
        _, coordinator = self.start_servers(2)
        rates = {0: [], 2: []}
        for round_ in range(self.rounds):
            for staleness in rates:
                rates[staleness].append(
                    self.clocks_per_second(coordinator, staleness, round_))
        medians = {s: statistics.median(values) for s, values in rates.items()}
        ratio = medians[2] / medians[0]
        print(f"rotating 4x, P=4, {self.base_ms} ms: s=0 {medians[0]:.1f} clocks/s, "
              f"s=2 {medians[2]:.1f} clocks/s, ratio {ratio:.2f} "
              f"(virtual time {VIRTUAL[2]:.2f})", flush=True)
        self.assertGreaterEqual(ratio, 1.5)


if __name__ == "__main__":
    if len(sys.argv) > 4:
        sys.exit(__doc__)
    for field, text in zip(("clocks", "base_ms", "rounds"), sys.argv[1:]):
        setattr(Bench, field, int(text))
    programs.main()
