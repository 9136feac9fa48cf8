"""Checks ssp.pml exhaustively at several sizes, and that the checker objects
as soon as one of the rules is left out.

    spin_test.py            the default tier
    spin_test.py --slow     the largest sizes (minutes, 4 GiB)
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

MODEL = pathlib.Path(__file__).resolve().parent / "ssp.pml"
SLOW = "--slow" in sys.argv

# (policy, staleness, clocks): nobody dies; `wait`; `continue`.
SIZES = [(0, 0, 3), (0, 2, 3), (1, 0, 3), (1, 1, 2), (2, 0, 3), (2, 1, 1)]
SLOW_SIZES = [(0, 1, 3), (1, 1, 3), (1, 2, 3), (2, 1, 2), (2, 1, 3), (2, 2, 3)]

# A left-out rule, the policy under which it matters, what the checker says.
BROKEN = [
    (1, 0, "ticked", "a tick counts without the pushes it covers"),
    (2, 1, "parts", "a part is counted again when it comes again"),
    (3, 2, "order", "an accepted order does not hold its clocks back"),
    (4, 0, "clock[w]", "the gate lets a reader in one clock early"),
    (5, 1, "invalid end state", "a worker comes back at the maximum of its done"),
    (6, 2, "order", "an order is committed that one shard refused"),
]


def check(policy, staleness, clocks, broken=0):
    """What the exhaustive search says (its whole report)."""
    with tempfile.TemporaryDirectory(prefix="cssp-spin-") as folder:
        defines = [f"-DPOLICY={policy}", f"-DSTALENESS={staleness}",
                   f"-DCLOCKS={clocks}", f"-DBROKEN={broken}"]
        subprocess.run(["spin", "-a", *defines, MODEL], cwd=folder, check=True)
        # Every shard writes what every worker reads: no partial order to reduce.
        subprocess.run(["cc", "-w", "-O2" if SLOW else "-O1", "-DSAFETY",
                        "-DNOREDUCE", "-DMEMLIM=12000", "-o", "pan", "pan.c"],
                       cwd=folder, check=True)
        return subprocess.run(["./pan", "-m100000"], cwd=folder, check=True,
                              stdout=subprocess.PIPE, text=True).stdout


class SpinTest(unittest.TestCase):
    def setUp(self):
        self.assertTrue(shutil.which("spin"), "spin is not installed (deploy/setup.sh)")

    def test_the_contract_holds(self):
        for policy, staleness, clocks in SLOW_SIZES if SLOW else SIZES:
            with self.subTest(policy=policy, staleness=staleness, clocks=clocks):
                report = check(policy, staleness, clocks)
                states = int(re.search(r"(\d+) states, stored", report)[1])
                print(f"policy {policy} staleness {staleness} clocks {clocks}: "
                      f"{states} states", flush=True)
                self.assertIn("errors: 0", report)
                # A search that was cut off proves nothing.
                self.assertNotIn("max search depth too small", report)
                self.assertNotIn("Search not completed", report)
                self.assertGreater(states, 100)

    def test_without_one_rule_it_does_not(self):
        for broken, policy, says, rule in [] if SLOW else BROKEN:
            with self.subTest(rule=rule):
                report = check(policy, 0, 2, broken)
                self.assertIn("errors: 1", report)
                complaint = re.search(r"pan:1: (.*)", report)[1]
                self.assertIn(says, complaint)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
