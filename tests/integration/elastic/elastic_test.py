"""Workers that come and go while a job runs, with the real programs: nobody else
stops, and every clock from an order on has the contributors that it says."""
import json
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import BIN, wait_for  # noqa: E402

SOLVER = """net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: %d
snapshot_after_train: false snapshot_prefix: "%s" solver_mode: CPU
"""


class Elastic(programs.ProgramTest):
    CLOCKS = 1000  # of the job that workers join and leave: 10 s and more

    def setUp(self):
        (self.work / "net.prototxt").write_text(programs.SLEEPER_NET)
        _, self.coordinator = self.start_servers(2, tag=self._testMethodName)

    def psctl(self, *arguments, rc=0):
        out, _ = self.run_program(BIN / "psctl", f"--coordinator={self.coordinator}",
                                  *arguments, rc=rc, timeout=60)
        return out

    def describe(self):
        return json.loads(self.psctl("describe", self.job, "-o", "json"))

    def submit(self, name, clocks, *flags):
        (self.work / f"{name}.prototxt").write_text(SOLVER % (clocks, name))
        job_file, self.events = self.work / f"{name}.job", self.work / f"{name}.events"
        self.log = self.work / f"{name}.psctl"
        self.client = self.start(
            BIN / "psctl", f"--coordinator={self.coordinator}", "submit",
            f"--solver={name}.prototxt", f"--name={name}", "--launch=mpirun",
            "--threads=1", "--fresh_wait=0", f"--job_file={job_file}",
            f"--events={self.events}", f"--log={self.work}/{name}.log", *flags,
            log=self.log)
        self.assertTrue(wait_for(lambda: job_file.exists() and job_file.read_text().strip(), 30))
        self.job = job_file.read_text().strip()
        self.reach(20)

    def clock(self):
        return int(self.describe().get("clock", 0))

    def reach(self, clock):
        self.assertTrue(wait_for(lambda: self.clock() >= clock, 60),
                        f"clock {clock} was not reached: {self.describe()}\n"
                        f"{self.log.read_text()[-2000:]}")

    def worker(self, rank):
        return next(w for w in self.describe()["workers"] if int(w.get("rank", 0)) == rank)

    def notes(self):
        return [event["note"] for event in map(json.loads, self.events.read_text().splitlines())
                if "note" in event]

    def finish(self):
        self.assertEqual(self.client.wait(90), 0, self.log.read_text()[-3000:])

    def contributors(self):
        """clock -> workers that reported it."""
        return {int(p.get("clock", 0)): int(p["workers"])
                for p in (event.get("progress")
                          for event in map(json.loads, self.events.read_text().splitlines()))
                if p}

    def deals(self):
        return sorted((int(o["effective_clock"]), o["membership"])
                      for o in self.describe().get("orders", []) if "membership" in o)

    def check_records(self, size):
        """Positions are dealt without gap or overlap, `size` a clock at first."""
        position, since = 0, 0
        for clock, deal in self.deals():
            position += (clock - since) * size
            self.assertEqual(int(deal.get("first_record", 0)), position)
            since, size = clock, sum(deal["batch"])

    def test_batches_follow_speed(self):
        self.make_records()
        (self.work / "net.prototxt").write_text(programs.RECORDS_NET)
        self.submit("balance", 900, "--workers=4", "--max_workers=5", "--balance",
                    "--straggler=3:4@10")
        self.assertTrue(wait_for(lambda: len(self.deals()) == 1, 30), self.notes())
        deal = self.deals()[0][1]
        self.assertEqual(sum(deal["batch"]), 52)
        self.assertLessEqual(deal["batch"][3], 8)  # 4, were nothing but sleep in a clock
        self.assertTrue(any("records a pass, by measured speed" in n for n in self.notes()))
        self.assertIn(f"3: {deal['batch'][3]}", self.psctl("describe", self.job))
        # Whoever comes or goes, they are dealt anew.
        os.kill(int(self.worker(0)["pid"]), signal.SIGKILL)
        self.assertTrue(wait_for(lambda: len(self.deals()[-1][1]["ranks"]) == 3, 20), self.notes())
        self.psctl("scale", self.job, "5")
        self.assertTrue(wait_for(lambda: len(self.deals()[-1][1]["ranks"]) == 5, 40), self.notes())
        self.finish()
        self.check_records(52)
        for _, deal in self.deals():
            self.assertEqual(sum(deal["batch"]), 13 * len(deal["ranks"]))
            slow = deal["batch"][deal["ranks"].index(3)]
            self.assertEqual(slow, min(deal["batch"]))
        self.assertEqual(sorted(self.contributors()), list(range(900)))

    def test_a_net_that_cannot_follow_is_named(self):
        (self.work / "fixed.prototxt").write_text(SOLVER % (10, "fixed"))
        _, err = self.run_program(
            BIN / "psctl", f"--coordinator={self.coordinator}", "submit",
            "--solver=fixed.prototxt", "--workers=2", "--balance", "--launch=mpirun",
            f"--log={self.work}/fixed.log", rc=1, timeout=60)
        self.assertIn("--balance", err)
        self.assertIn("'data'", err)

    def test_workers_come_and_go(self):
        self.submit("elastic", self.CLOCKS, "--workers=3", "--max_workers=4",
                    "--straggler=0:1@10")
        # A notice: the worker finishes its clock and leaves in order.
        os.kill(int(self.worker(1)["pid"]), signal.SIGTERM)
        self.assertTrue(wait_for(lambda: self.worker(1)["state"] == "done", 20), self.notes())
        left = self.clock()
        self.reach(left + 20)
        # Killed: taken out by the coordinator.
        os.kill(int(self.worker(2)["pid"]), signal.SIGKILL)
        self.assertTrue(wait_for(lambda: self.worker(2)["state"] == "dead", 20))
        self.reach(self.clock() + 20)
        # Three more than are left, of which one is new.
        self.psctl("scale", self.job, "4")
        self.assertTrue(wait_for(
            lambda: sum(w["state"] == "running" for w in self.describe()["workers"]) == 4, 40),
            f"{self.describe()}\n{self.notes()}")
        # A newcomer runs before the clock that it contributes from.
        self.reach(max(int(w.get("clock", 0)) for w in self.describe()["workers"]) + 20)
        out = self.psctl("drain-worker", self.job, "3")
        self.assertIn("leaves before clock", out)
        self.assertTrue(wait_for(lambda: self.worker(3)["state"] == "done", 20))
        self.finish()
        counts = self.contributors()
        self.assertEqual(sorted(counts), list(range(self.CLOCKS)))  # no clock is lost
        self.assertEqual(counts[5], 3)
        self.assertEqual(max(counts.values()), 4)
        self.assertEqual(counts[self.CLOCKS - 1], 3)
        self.assertTrue(any("worker 1 leaves before clock" in n for n in self.notes()))
        # Nothing of a worker that left in order is missing anywhere.
        self.check_records(6)  # three workers of batch 2

    def test_staleness_is_set_while_it_runs(self):
        self.submit("set", 400, "--workers=2", "--straggler=0:3@5", "--fresh_wait=0")
        self.assertIn("staleness 2 from clock", self.psctl("set", self.job, "staleness", "2"))

        def two_clocks_late():
            return any(len(w.get("staleness_histogram", [])) > 2
                       for w in self.describe()["workers"])
        self.assertTrue(wait_for(two_clocks_late, 20), self.describe())
        self.psctl("set", self.job, "staleness", "0")  # tighter again: nobody is refused
        self.psctl("set", self.job, "staleness", "2000", rc=2)
        self.finish()

    def test_a_stall_names_the_worker(self):
        self.submit("stall", 150, "--workers=2", "--straggler=0:1@10", "--stall_seconds=1")
        pid = int(self.worker(1)["pid"])
        os.kill(pid, signal.SIGSTOP)
        try:
            self.assertTrue(wait_for(
                lambda: any(f"pid {pid}) at clock" in n and "holds back worker 0" in n
                            for n in self.notes()), 30), self.notes())
        finally:
            os.kill(pid, signal.SIGCONT)
        self.finish()


if __name__ == "__main__":
    programs.main()
