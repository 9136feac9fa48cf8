"""caffe.ps: tables on real ps-servers, and a job whose workers are Python's."""
import subprocess
import sys

from support import HERE, main

from programs import BIN, ProgramTest

# Every clock adds 1 to one's own column of each row, and checks the bound.
TABLES = """
rank, clocks = int(sys.argv[4]), 20
with caffe.ps.join(*sys.argv[1:4], rank=rank, timeout=60) as tables:
    counts = tables.table("counts")
    assert (counts.rows, counts.width, tables.workers) == (4, 2, 2)
    delta = np.zeros(2)
    delta[rank] = 1
    for clock in range(clocks):
        for row in range(counts.rows):
            seen = counts.get(row)
            assert seen[rank] == clock, seen                      # one's own
            other = seen[1 - rank]
            low, high = clock - tables.staleness, clock + tables.staleness + 1
            assert low <= other <= high, (clock, seen)
            counts.inc(row, delta)
        counts.clock()
    for _ in range(tables.staleness):
        tables.clock()
    print("total", *counts.get(0))
    try:
        tables.table("no_such_table")
    except caffe.Error as error:
        print(error.code)
"""

# A net with a Python layer, trained by two Python processes.
SOLVE = """
solver = caffe.ps.solver(*sys.argv[1:4], rank=int(sys.argv[4]))
losses = []
solver.add_callback(None, lambda: losses.append(float(solver.net.blobs["loss"].data)))
try:
    solver.net.forward()
    solver.net.backward()
except caffe.Error as error:
    print(error.code)
solver.solve()
solver.net.forward()
print("trained", solver.iter, losses[-1] < 0.1 * losses[0],
      hashlib.sha1(solver.net.params["w"][0].data.tobytes()).hexdigest())
"""

HEAD = """
import hashlib, sys
sys.path.insert(0, {here!r})
import numpy as np
from support import caffe
"""

NET = """
layer { name: "data" type: "DummyData" top: "data" top: "goal" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 dim: 3 }
  data_filler { type: "constant" value: 1 } data_filler { type: "constant" value: 7 } } }
layer { name: "w" type: "Python" bottom: "data" top: "top"
  python_param { module: "python_layers" layer: "Weighted" } }
layer { name: "loss" type: "EuclideanLoss" bottom: "top" bottom: "goal" top: "loss" }
"""


class ParameterService(ProgramTest):
    def submit(self, tag, coordinator, *options):
        job, token = self.work / f"{tag}.job", self.work / f"{tag}.token"
        self.run_program(BIN / "psctl", f"--coordinator={coordinator}", "submit", "--launch=none",
                         "--workers=2", f"--token_file={token}", f"--job_file={job}", *options)
        return [coordinator, job.read_text().strip(), token.read_text().strip()]

    def workers(self, code, arguments):
        code = HEAD.format(here=str(HERE)) + code
        running = [subprocess.Popen([sys.executable, "-c", code, *arguments, str(rank)],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                   for rank in range(2)]
        outputs = []
        try:
            for process in running:
                out, err = process.communicate(timeout=120)
                self.assertEqual(process.returncode, 0, err[-3000:])
                outputs.append(out.split("\n"))
        finally:
            for process in running:
                process.kill()
                process.wait()
        return outputs

    def test_tables(self):
        _, coordinator = self.start_servers(2, "tables")
        arguments = self.submit("tables", coordinator, "--tables=counts:4x2", "--staleness=1")
        for lines in self.workers(TABLES, arguments):
            self.assertEqual(lines[:2], ["total 20.0 20.0", "NOT_FOUND"])

    def test_a_job_of_python_layers(self):
        net, solver = self.work / "net.prototxt", self.work / "solver.prototxt"
        net.write_text(NET)
        solver.write_text(f'net: "{net}" base_lr: 0.1 lr_policy: "fixed" max_iter: 60 '
                          f'random_seed: 3 snapshot_prefix: "{self.work}/job"')
        _, coordinator = self.start_servers(2, "solve")
        # psctl checks what it can without Python's layers.
        arguments = self.submit("solve", coordinator, f"--solver={solver}", "--staleness=0")
        first, second = self.workers(SOLVE, arguments)
        self.assertEqual(first[0], "FAILED_PRECONDITION")
        self.assertTrue(first[1].startswith("trained 60 True"), first)
        self.assertEqual(first[1], second[1])


if __name__ == "__main__":
    main()
