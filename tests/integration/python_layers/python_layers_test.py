"""Nets with layers in Python, trained by caffe-worker and by caffe under mpirun."""
import re
import sys

import numpy as np

from python_jobs import CLOCKS, HERE, PythonJob, net, programs
from testing.programs import BUILD, CAFFE

sys.path.insert(0, str(BUILD / "python"))
from caffe.proto import caffe_pb2  # noqa: E402


class PythonWorkers(PythonJob):

    def weights(self, folder):
        trained = caffe_pb2.NetParameter()
        trained.ParseFromString((folder / f"out_iter_{CLOCKS}.caffemodel").read_bytes())
        return [np.array(blob.data) for layer in trained.layer for blob in layer.blobs]

    def same(self, folder, log, single, single_log):
        """Losses, tests and weights of the two runs."""
        def values(text):
            losses = re.findall(r"Iteration (\d+).* loss = (\S+)", text)
            tests = re.findall(r"Test net output #0: loss = (\S+)", text)
            self.assertGreaterEqual(len(tests), 2, text[-3000:])
            # The last loss is of a pass of its own, for which a layer that counts
            # passes has other records in the evaluator.
            return [float(loss) for clock, loss in losses if int(clock) < CLOCKS] + [
                float(tests[0]), float(tests[-1])]
        ours, theirs = values(log), values(single_log)
        self.assertEqual(len(theirs), CLOCKS + 2)
        self.assertLess(theirs[-1], theirs[-2] / 2)  # it learns
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        pairs = list(zip(self.weights(folder), self.weights(single)))
        self.assertEqual(len(pairs), 5)
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)

    def test_two_workers_are_the_single_process(self):
        single = self.folder("single", net(16))
        single_log = self.run_program(CAFFE, "train", f"-solver={single}/solver.prototxt")[1]
        self.assertIn("Optimization Done.", single_log)
        job = self.folder("job", net(8))
        self.coordinator = self.start_servers(1, "job")[1]
        self.submit(job, "--staleness=0")
        self.same(job, (job / "log").read_text(), single, single_log)
        ranks = self.folder("ranks", net(8))
        log = self.run_program(
            "mpirun", "-n", 3, "--oversubscribe", "--bind-to", "none",
            CAFFE, "train", f"--solver={ranks}/solver.prototxt")[1]
        self.same(ranks, log, single, single_log)

    def test_what_a_layer_raises_ends_the_job(self):
        self.coordinator = self.start_servers(1, "raises")[1]
        folder = self.folder("raises", net(8, "Raises", "calls"), clocks=100000)
        err = self.submit(folder, rc=1)[1]
        source = (HERE / "layers.py").read_text().splitlines()
        line = next(i for i, text in enumerate(source, 1) if "no more" in text)
        says = (f"{folder}/solver.prototxt: layer 'middle' (Python): "
                f"{folder}/layers.py:{line}: ValueError: no more of this")
        self.assertRegex(err, r"failed: worker 1 \(.*\): " + re.escape(says))
        lines = [text for text in (folder / "log").read_text().splitlines()
                 if text.startswith("caffe-worker: worker 1: ")]
        self.assertEqual(lines, ["caffe-worker: worker 1: " + says])

        folder = self.folder("missing", net(8).replace('module: "layers"', 'module: "no_such"'))
        err = self.submit(folder, rc=1)[1]
        self.assertRegex(err, r"worker \d \(.*/missing/solver.prototxt: layer 'data' \(Python\): "
                              r"ModuleNotFoundError: No module named 'no_such'")


if __name__ == "__main__":
    programs.main()
