#!/usr/bin/env python3
"""Scaling over the GPUs of one host, through the parameter service: images/s of W
workers, one GPU each, beside one worker's and beside one process without the
service. Interleaved rounds in one run, medians; images are constant, so that the
disk is not measured; the batch is per worker.

usage: multi_gpu.py [--nets alexnet,googlenet,resnet50] [--batch N] [--workers 1,2,4]
                    [--servers 4] [--clocks 60] [--rounds 3] [--staleness 0]
                    [--math fp32] [--submit FLAG ...]

$CSSP_BUILD_DIR names a build, or an unpacked bundle."""
import argparse
import json
import os
import pathlib
import re
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import BIN, BUILD, CAFFE, ROOT  # noqa: E402

OPTIONS = None
BATCHES = {"alexnet": 128, "googlenet": 64, "resnet50": 32}
FIRST = 20  # clocks before it are not timed


def constant_images(text, batch):
    """A net's text with its data layers replaced."""
    side = int(re.search(r"crop_size: (\d+)", text).group(1))
    layers = [body for body in re.split(r"(?m)^(?=layer \{)", text) if 'type: "Data"' not in body]
    return layers[0] + f"""layer {{ name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {{
    shape {{ dim: {batch} dim: 3 dim: {side} dim: {side} }} shape {{ dim: {batch} }}
    data_filler {{ type: "constant" value: 1 }} data_filler {{ type: "constant" value: 3 }} }} }}
""" + "".join(layers[1:])


class Bench(programs.ProgramTest):
    def prepare(self, net, batch):
        text = (ROOT / f"examples/imagenet/{net}/train_val.prototxt").read_text()
        (self.work / "net.prototxt").write_text(constant_images(text, batch))
        (self.work / "solver.prototxt").write_text(
            'net: "net.prototxt" base_lr: 0.00001 momentum: 0.9 weight_decay: 0.0002\n'
            f'lr_policy: "fixed" max_iter: {OPTIONS.clocks} display: 10 random_seed: 1\n'
            'snapshot_after_train: false snapshot_prefix: "net" solver_mode: GPU\n')

    def alone(self):
        """Clocks a second of one process; from its log's stamps."""
        _, log = self.run_program(CAFFE, "train", "--solver=solver.prototxt", "--gpu=0",
                                  f"--math={OPTIONS.math}")
        stamps = re.findall(r"^I\d{4,8} (\d+):(\d+):([\d.]+) .*\] Iteration (\d+)\D.*loss = ",
                            log, re.M)
        points = [(int(n), int(h) * 3600 + int(m) * 60 + float(s)) for h, m, s, n in stamps]
        points = [p for p in points if FIRST <= p[0] < OPTIONS.clocks]
        return (points[-1][0] - points[0][0]) / (points[-1][1] - points[0][1])

    def served(self, coordinator, workers, tag):
        """Clocks a second of a job."""
        files = {name: self.work / f"{tag}.{name}" for name in ("token", "job", "events", "log")}
        client = self.start(
            BIN / "psctl", f"--coordinator={coordinator}", "submit", "--solver=solver.prototxt",
            f"--name={tag}", f"--workers={workers}", f"--staleness={OPTIONS.staleness}",
            "--wait", f"--token_file={files['token']}", f"--job_file={files['job']}",
            f"--events={files['events']}", *OPTIONS.submit, log=files["log"])
        self.assertTrue(programs.wait_for(lambda: files["token"].exists() and files["job"].exists()
                                          and files["job"].read_text().strip(), 20),
                        files["log"].read_text())
        job = files["job"].read_text().strip()
        for rank in range(workers):
            self.start(BIN / "caffe-worker", f"--job={job}", f"--coordinator={coordinator}",
                       f"--token_file={files['token']}", f"--rank={rank}", f"--gpu={rank}",
                       f"--math={OPTIONS.math}", log=self.work / f"{tag}-{rank}.log")
        self.assertTrue(programs.wait_for(lambda: client.poll() is not None, 300))
        self.assertEqual(client.returncode, 0, files["log"].read_text() +
                         (self.work / f"{tag}-0.log").read_text()[-3000:])
        times = {}
        for line in files["events"].read_text().splitlines():
            progress = json.loads(line).get("progress")
            if progress:
                times[int(progress.get("clock", 0)) + 1] = float(progress["unix_seconds"])
        first = min(t for t in times if t >= FIRST)
        last = max(t for t in times if t < OPTIONS.clocks)
        return (last - first) / (times[last] - times[first])

    def test_scaling(self):
        for net in OPTIONS.nets:
            batch = OPTIONS.batch or BATCHES[net]
            self.prepare(net, batch)
            _, coordinator = self.start_servers(OPTIONS.servers, tag=f"{net}-ps")
            alone, served = [], {w: [] for w in OPTIONS.workers}
            for round_ in range(OPTIONS.rounds):
                alone.append(self.alone())
                for workers, clocks in served.items():
                    clocks.append(self.served(coordinator, workers, f"{net}-{workers}-{round_}"))
            base = statistics.median(alone)
            print(f"{net}, batch {batch} a GPU, {OPTIONS.math}, {OPTIONS.servers} ps-servers, "
                  f"s={OPTIONS.staleness}: without the service {base * batch:.0f} images/s", flush=True)
            for workers, clocks in served.items():
                rate = statistics.median(clocks)
                print(f"  {workers} workers: {rate * batch * workers:.0f} images/s, "
                      f"{100 * rate / base:.1f} % of {workers} such processes (rounds: "
                      f"{', '.join(f'{100 * c / a:.1f}' for c, a in zip(clocks, alone))})", flush=True)


def main():
    global OPTIONS
    parser = argparse.ArgumentParser(description=__doc__)
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--nets", type=names, default=list(BATCHES))
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--workers", type=lambda text: [int(n) for n in names(text)], default=[1, 2, 4])
    parser.add_argument("--servers", type=int, default=4)
    parser.add_argument("--clocks", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--staleness", type=int, default=0)
    parser.add_argument("--math", default="fp32")
    parser.add_argument("--submit", nargs="*", default=[], help="further flags of psctl submit")
    OPTIONS = parser.parse_args()
    programs.main()


if __name__ == "__main__":
    main()
