"""The service path with the real programs: jobs submitted with psctl, run by
mpirun, checkpointed, resumed elsewhere, cancelled, and their workers killed."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import BIN  # noqa: E402

NET = """name: "service"
layer { name: "data" type: "DummyData" top: "data" top: "label" include { phase: TRAIN }
  dummy_data_param {
    shape { dim: 8 dim: 3 dim: 12 dim: 12 } shape { dim: 8 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 2 } } }
layer { name: "data" type: "DummyData" top: "data" top: "label" include { phase: TEST }
  dummy_data_param {
    shape { dim: 4 dim: 3 dim: 12 dim: 12 } shape { dim: 4 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 64 weight_filler { type: "xavier" } } }
layer { name: "ip2" type: "InnerProduct" bottom: "ip" top: "ip2"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy"
  include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""
SOLVER = """net: "net.prototxt"
base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.001
max_iter: %d display: 50 test_interval: 50 test_iter: 2 snapshot: %d
snapshot_prefix: "%s" solver_mode: CPU random_seed: 1
"""


class Service(programs.ProgramTest):

    def setUp(self):
        (self.work / "net.prototxt").write_text(NET)

    def psctl(self, *arguments, rc=0, timeout=120):
        out, _ = self.run_program(BIN / "psctl", f"--coordinator={self.coordinator}",
                                  *arguments, rc=rc, timeout=timeout)
        return out

    def describe(self, job):
        return json.loads(self.psctl("describe", job, "-o", "json"))

    def solver(self, name, clocks, snapshot):
        path = self.work / f"{name}.prototxt"
        path.write_text(SOLVER % (clocks, snapshot, name))
        return f"--solver={path}"

    def submit(self, name, clocks, snapshot, *more, rc=0, timeout=120):
        job_file = self.work / f"{name}.job"
        self.psctl("submit", self.solver(name, clocks, snapshot), f"--name={name}",
                   "--launch=mpirun", f"--job_file={job_file}",
                   f"--log={self.work}/{name}.log", *more, rc=rc, timeout=timeout)
        return job_file.read_text().strip()

    def start_job(self, name, clocks, snapshot, *more):
        job_file = self.work / f"{name}.job"
        client = self.start(
            BIN / "psctl", f"--coordinator={self.coordinator}", "submit",
            self.solver(name, clocks, snapshot), f"--name={name}", "--launch=mpirun",
            f"--job_file={job_file}", f"--log={self.work}/{name}.log", *more,
            log=self.work / f"{name}.psctl")
        self.assertTrue(programs.wait_for(
            lambda: job_file.exists() and job_file.read_text().strip(), 20),
            (self.work / f"{name}.psctl").read_text())
        return client, job_file.read_text().strip()

    def wait_clock(self, job, clock, seconds=60):
        self.assertTrue(programs.wait_for(
            lambda: int(self.describe(job).get("clock", 0)) >= clock, seconds),
            f"{job} did not reach clock {clock}: {self.describe(job)}")

    def test_a_job_from_submit_to_files(self):
        _, self.coordinator = self.start_servers(2, tag="whole")
        job = self.submit("whole", 100, 50, "--workers=3", "--staleness=1")
        status = self.describe(job)
        self.assertEqual(status["state"], "JOB_SUCCEEDED", status)
        self.assertEqual(len(status["workers"]), 3)
        clocks = [int(c["clock"]) for c in status["checkpoints"]]
        self.assertEqual(clocks, [50, 100])
        self.assertEqual([int(t.get("clock", 0)) for t in status["tests"]][-1], 100)
        for end in ("50.caffemodel", "50.solverstate", "100.caffemodel", "100.solverstate"):
            self.assertTrue((self.work / f"whole_iter_{end}").exists(), end)
        log = (self.work / "whole.log").read_text()
        self.assertRegex(log, r"\] Iteration 50 .*loss = ")
        self.assertRegex(log, r"\] Iteration 100, Testing net \(#0\)")
        self.assertRegex(log, r"\]     Test net output #0: accuracy = ")
        listed = json.loads(self.psctl("list", "-o", "json"))
        self.assertEqual([j["job_id"] for j in listed["jobs"]], [job])
        servers = json.loads(self.psctl("servers", "-o", "json"))["servers"]
        self.assertEqual(len(servers), 2)
        self.assertIn(job, self.psctl("list"))
        self.psctl("watch", job)

    def test_a_checkpoint_resumes_on_other_counts(self):
        _, self.coordinator = self.start_servers(3, tag="first")
        client, job = self.start_job("resume", 100000, 0, "--workers=2")
        self.wait_clock(job, 30)
        taken = json.loads(self.psctl("checkpoint", job, "-o", "json"))
        clock = int(taken["checkpoint"]["clock"])
        self.assertGreater(clock, 30)
        model = self.work / f"resume_iter_{clock}.caffemodel"
        self.assertTrue(programs.wait_for(model.exists, 20), "no export")
        self.psctl("cancel", job)
        client.wait(30)
        again = self.submit("again", clock + 40, 0, "--workers=3",
                            f"--resume={job}/{clock}")
        status = self.describe(again)
        self.assertEqual(status["state"], "JOB_SUCCEEDED", status)
        self.assertEqual(int(status["start_clock"]), clock)
        self.assertTrue((self.work / f"again_iter_{clock + 40}.caffemodel").exists())

    def test_cancel_ends_everything(self):
        _, self.coordinator = self.start_servers(1, tag="cancel")
        client, job = self.start_job("cancel", 100000, 0, "--workers=2")
        self.wait_clock(job, 10)
        self.psctl("cancel", job)
        self.assertNotEqual(client.wait(30), 0)
        self.assertEqual(self.describe(job)["state"], "JOB_CANCELLED")
        self.assertTrue(programs.wait_for(lambda: not workers_of(job), 10), workers_of(job))

    def test_a_server_of_another_user(self):
        """A daemon with a user of its own, as systemd starts it: what the two cannot
        share they send, and say so once."""
        if os.geteuid() != 0 or shutil.which("setpriv") is None:
            self.skip("needs root and setpriv")
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if subprocess.run([*as_nobody, BIN / "ps-server", "--version"], check=False,
                          capture_output=True).returncode != 0:
            self.skip("the programs cannot be run by another user")
        with tempfile.TemporaryDirectory(prefix="cssp-nobody-") as state:
            os.chmod(state, 0o777)
            ready = pathlib.Path(state) / "ready"
            self.start(*as_nobody, BIN / "ps-server", f"--set=state_dir={state}/state",
                       f"--set=ready_file={ready}", log=self.work / "nobody.log")
            self.assertTrue(programs.wait_for(ready.exists, 20),
                            (self.work / "nobody.log").read_text())
            self.coordinator = programs.addresses(ready)["control"]
            job = self.submit("users", 50, 0, "--workers=2", timeout=30)
        self.assertEqual((self.work / "users.log").read_text().count(
            "belongs to user 65534, this process to 0: no shared memory"), 1,
            "rank 0 says so, once")
        self.assertTrue((self.work / "users_iter_50.caffemodel").exists(), job)

    def test_a_worker_that_is_killed_before_it_joins(self):
        _, self.coordinator = self.start_servers(1, tag="unborn")
        worker, once = self.work / "worker.sh", self.work / "killed"
        worker.write_text(f"""#!/bin/sh
if [ "$OMPI_COMM_WORLD_RANK" = 1 ] && ! [ -e {once} ]; then touch {once}; kill -9 $$; fi
exec {BIN}/caffe-worker "$@"
""")
        worker.chmod(0o755)
        self.submit("again", 30, 0, "--workers=2", f"--worker_binary={worker}",
                    "--dead_workers=wait", "--join_wait=2", timeout=60)
        self.assertTrue(once.exists())
        self.assertTrue((self.work / "again_iter_30.caffemodel").exists())
        once.unlink()
        job = self.submit("never", 30, 0, "--workers=2", f"--worker_binary={worker}",
                          "--join_wait=2", rc=1, timeout=60)
        self.assertEqual(self.describe(job)["state"], "JOB_CANCELLED")

    def test_a_killed_worker_stops_nobody(self):
        servers, self.coordinator = self.start_servers(2, tag="kill")
        client, job = self.start_job("kill", 6000, 0, "--workers=3")
        self.wait_clock(job, 40)
        before = self.describe(job)
        victim = [w for w in before["workers"] if int(w.get("rank", 0)) == 2][0]
        os.kill(int(victim["pid"]), signal.SIGKILL)
        client.wait(120)
        status = self.describe(job)
        self.assertEqual(status["state"], "JOB_SUCCEEDED", status)
        states = {int(w.get("rank", 0)): w["state"] for w in status["workers"]}
        self.assertEqual(states[2], "dead")
        self.assertEqual(int(status["clock"]), 6000)
        for server in servers:
            self.assertIsNone(server.poll(), "a server went down with the worker")

    def test_metrics_are_served(self):
        _, self.coordinator = self.start_servers(2, tag="metrics")
        client, job = self.start_job("metrics", 100000, 0, "--workers=2", "--staleness=1")
        self.wait_clock(job, 20)
        for i in range(2):
            address = programs.addresses(self.work / f"metrics-{i}.ready")["metrics"]
            text = urllib.request.urlopen(f"http://{address}/metrics", timeout=5).read().decode()
            for name in ("cssp_shard_min_clocks", "cssp_shard_parked_pulls",
                         "cssp_transport_bytes_total"):
                self.assertRegex(text, re.compile(rf"^{name}[{{ ]", re.M))
        self.psctl("cancel", job)
        client.wait(30)


def workers_of(job):
    """Live caffe-worker processes of a job."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "caffe-worker" in line[0] and any(job in word for word in line):
            found.append(" ".join(line))
    return found


if __name__ == "__main__":
    programs.main()
