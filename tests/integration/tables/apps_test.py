"""The programs of examples/ssp_tables converge, exact and two clocks stale, beside a
rotating straggler.  (How much waiting the two clocks take away: examples/ssp_tables.)"""
import csv
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing.programs import BIN, BUILD, ProgramTest, main  # noqa: E402

APPS = BUILD / "examples/ssp_tables"
WORKERS, CLOCKS = 4, 24
# Program, table, share of the first objective that the last is below.
PROGRAMS = [
    ("matrix_factorization", "items:600x8", 0.1),
    ("lda", "words:1001x20:sparse=1001", 0.75),
    ("lasso", "fit:8x64", 0.5),
]


class Apps(ProgramTest):
    def run_app(self, coordinator, app, table, staleness):
        """The objective by clock."""
        tag = f"{app}-{staleness}"
        token, job = self.work / f"{tag}.token", self.work / f"{tag}.job"
        self.run_program(BIN / "psctl", f"--coordinator={coordinator}", "submit", "--launch=none",
                         f"--tables={table}", f"--workers={WORKERS}", f"--staleness={staleness}",
                         f"--token_file={token}", f"--job_file={job}")
        running = [self.start(APPS / app, coordinator, job.read_text().strip(), token, rank, CLOCKS,
                              15, 4, self.work / f"{tag}-{rank}.csv", log=self.work / f"{tag}-{rank}.log")
                   for rank in range(WORKERS)]
        rows = []
        for rank, process in enumerate(running):
            code = process.wait(120)
            self.assertEqual(code, 0, (self.work / f"{tag}-{rank}.log").read_text())
            with open(self.work / f"{tag}-{rank}.csv", encoding="utf-8") as file:
                rows.append([{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)])
        self.assertEqual([len(r) for r in rows], [CLOCKS] * WORKERS)
        return [sum(r[c]["objective"] for r in rows) for c in range(CLOCKS)]

    def test_they_converge(self):
        _, coordinator = self.start_servers(2)
        for app, table, share in PROGRAMS:
            for staleness in (0, 2):
                with self.subTest(app=app, staleness=staleness):
                    objective = self.run_app(coordinator, app, table, staleness)
                    self.assertLess(objective[-1], share * objective[0])


if __name__ == "__main__":
    main()
