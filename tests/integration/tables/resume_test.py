"""Checkpoints of tables: made while programs run, of one clock over all servers, and
what a job begins from when its server was lost (durability CHECKPOINT)."""
import pathlib
import re
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.fault_cluster import FaultCluster  # noqa: E402

CLOCKS = 300


class Resume(unittest.TestCase):

    def setUp(self):
        work = pathlib.Path(tempfile.mkdtemp(prefix="cssp-tables-"))
        self.addCleanup(shutil.rmtree, work, ignore_errors=True)
        self.cluster = FaultCluster(work)
        self.addCleanup(self.cluster.close)

    def sums(self, folder):
        return [(folder / f"held-{rank}.sums").read_text().split()
                for rank in range(self.cluster.workers)]

    def test_from_the_checkpoint_before_a_servers_death(self):
        cluster = self.cluster
        cluster.submit_tables(10 * CLOCKS, "--staleness=2", "--checkpoint_clocks=40")
        first = cluster.job
        cluster.await_clock(50)
        asked = cluster.psctl("checkpoint", first)
        clock = int(re.search(rf"{first}/(\d+)", asked).group(1))
        self.assertGreater(clock, 50)
        cluster.processes["ps-1"].kill()
        self.assertTrue(programs.wait_for(cluster.watch.ended, 30), cluster.report())
        self.assertEqual(cluster.watch.state, "JOB_FAILED")
        hint = re.search(rf"resume from ({first}/(\d+))", cluster.watch.message)
        self.assertTrue(hint, cluster.report())
        self.assertGreaterEqual(int(hint.group(2)), clock)
        cluster.await_servers(2)
        end = int(hint.group(2)) + CLOCKS
        # Each program finds of every one the increments of the clocks before, or it
        # says so and fails.
        folder = cluster.submit_tables(end, "--staleness=1", f"--resume={hint.group(1)}")
        cluster.await_end()
        self.assertEqual(self.sums(folder), [[str(end)] * 2] * 2, cluster.report())
        cluster.psctl("submit", "--tables=counts:5x2,wide:3x20001", "--workers=2",
                      f"--resume={hint.group(1)}", rc=2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
