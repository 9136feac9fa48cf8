#!/usr/bin/python3
"""What helps against stragglers.

4 workers; compute is replaced by sleep (the same durations in all arms),
fresh_wait is 0, rounds are interleaved. Prints clocks/s of each arm and the ratio
beside the virtual-time figure:
- rotating: one of them 4 times slower in turn; s=0 against s=2 (2.29);
- backup: one of them always 2 times slower; s=0 against --backup 1 (2.00);
- balance: one of them always 4 times slower; s=0 against --balance (3.25: three
  workers of speed 1 and one of a quarter share what took 4), the second half of
  the clocks;
- table: the rows of four workers in tests/sim/cluster/straggler_test.cc, every model
  and staleness; each has to reach 90 % of its virtual-time figure.

usage: straggler_bench.py [CLOCKS [BASE_MS [ROUNDS [rotating|backup|balance|table]]]]
"""
import json
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import BIN  # noqa: E402

# Speed-up over s=0 in virtual time, P=4, by staleness.
TABLE = {
    "rotating:4": {1: 2.00, 2: 2.29, 4: 2.29, 8: 2.29},
    "random:4": {1: 1.12, 2: 1.21, 4: 1.27, 8: 1.30},
    "exponential:1.5": {1: 1.25, 2: 1.30, 4: 1.32, 8: 1.34},
}


class Bench(programs.ProgramTest):
    clocks, base_ms, rounds = 200, 20, 3

    def clocks_per_second(self, coordinator, name, *flags, half=False):
        (self.work / "solver.prototxt").write_text(
            f'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: {self.clocks}\n'
            f'snapshot_after_train: false snapshot_prefix: "{name}" solver_mode: CPU\n')
        events = self.work / f"{name}.events"
        self.run_program(
            BIN / "psctl", f"--coordinator={coordinator}", "submit",
            "--solver=solver.prototxt", f"--name={name}", "--workers=4",
            "--fresh_wait=0", "--threads=1", "--launch=mpirun", *flags,
            f"--events={events}", f"--log={self.work}/{name}.log")
        times = {}
        for line in events.read_text().splitlines():
            progress = json.loads(line).get("progress")
            if progress:
                times[int(progress.get("clock", 0))] = float(progress["unix_seconds"])
        last = max(times)
        first = last // 2 if half else min(times) + 8  # start-up left out
        return (last - first) / (times[last] - times[first])

    def compare(self, what, straggler, arms, virtual, net=programs.SLEEPER_NET, half=False):
        """`arms`: name -> flags, the plain one first; gives the ratio."""
        (self.work / "net.prototxt").write_text(net)
        _, coordinator = self.start_servers(2, tag=what)
        rates = {name: [] for name in arms}
        for round_ in range(self.rounds):
            for name, flags in arms.items():
                rates[name].append(self.clocks_per_second(
                    coordinator, f"{what}-{round_}-{list(arms).index(name)}",
                    f"--straggler={straggler}@{self.base_ms}", *flags, half=half))
        medians = {name: statistics.median(values) for name, values in rates.items()}
        plain, better = medians.values()
        text = ", ".join(f"{name} {rate:.1f} clocks/s" for name, rate in medians.items())
        print(f"{what} ({straggler}), P=4, {self.base_ms} ms: {text}, ratio "
              f"{better / plain:.2f} (virtual time {virtual:.2f})", flush=True)
        return better / plain

    def test_rotating(self):
        ratio = self.compare("rotating", "rotating:4",
                             {"s=0": ["--staleness=0"], "s=2": ["--staleness=2"]}, 2.29)
        self.assertGreaterEqual(ratio, 1.5)

    def test_backup(self):
        ratio = self.compare("backup", "3:2", {"s=0": [], "--backup 1": ["--backup=1"]}, 2.0)
        self.assertGreaterEqual(ratio, 1.6)

    def test_balance(self):
        self.make_records()
        ratio = self.compare("balance", "3:4", {"s=0": [], "--balance": ["--balance"]}, 3.25,
                             net=programs.RECORDS_NET, half=True)
        self.assertGreaterEqual(ratio, 2.6)

    def test_table(self):
        for straggler, row in TABLE.items():
            for s, virtual in row.items():
                with self.subTest(straggler=straggler, s=s):
                    ratio = self.compare(
                        f"{straggler.split(':')[0]}-s{s}", straggler,
                        {"s=0": ["--staleness=0"], f"s={s}": [f"--staleness={s}"]},
                        virtual)
                    self.assertGreaterEqual(ratio, 0.9 * virtual)


if __name__ == "__main__":
    if len(sys.argv) > 5:
        sys.exit(__doc__)
    for field, text in zip(("clocks", "base_ms", "rounds"), sys.argv[1:4]):
        setattr(Bench, field, int(text))
    only = [f"Bench.test_{name}" for name in sys.argv[4:]]
    programs.unittest.main(argv=[sys.argv[0], *only], verbosity=2)
