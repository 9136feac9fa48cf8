"""ps-server and psctl as a person meets them: configuration, registration,
submission, errors, exit codes, draining. No workers."""
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import BIN  # noqa: E402

NET = """name: "tiny"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 } } }
"""
SOLVER = """net: "net.prototxt"
base_lr: 0.01
lr_policy: "fixed"
max_iter: 10
"""


class Control(programs.ProgramTest):

    def setUp(self):
        (self.work / "net.prototxt").write_text(NET)
        (self.work / "solver.prototxt").write_text(SOLVER)

    def psctl(self, *arguments, rc=0):
        return self.run_program(BIN / "psctl", *arguments, rc=rc, timeout=30,
                                env={"CSSP_COORDINATOR": getattr(self, "coordinator", "")})

    def one_line(self, *arguments, rc=2):
        _, err = self.psctl(*arguments, rc=rc)
        self.assertEqual(len(err.strip().splitlines()), 1, err)
        return err

    def submit(self, *more):
        out, _ = self.psctl("submit", "--solver=solver.prototxt", "--workers=2", *more)
        return out.split()[1]

    def server_states(self):
        out, _ = self.psctl("servers", "-o", "json")
        return {s["id"]: s["state"] for s in json.loads(out).get("servers", [])}

    def test_print_config_shows_values_and_origins(self):
        conf = self.work / "server.conf"
        conf.write_text('id: "ps-7"\nlease { lease_ms: 4000 }\n')
        out, _ = self.run_program(BIN / "ps-server", f"--config={conf}", "-print_config",
                                  "--set", "lease.heartbeat_ms=200",
                                  env={"CSSP_DATA_PORT": "1234"})
        self.assertIn(f'id: "ps-7"  # {conf}:1\n', out)
        self.assertIn(f"lease.lease_ms: 4000  # {conf}:2\n", out)
        self.assertIn("lease.heartbeat_ms: 200  # --set\n", out)
        self.assertIn("data_port: 1234  # env CSSP_DATA_PORT\n", out)
        self.assertIn("control_port: 0  # default\n", out)

    def test_servers_register_and_leave(self):
        servers, self.coordinator = self.start_servers(3, tag="register")
        self.assertEqual(self.server_states(), {f"ps-{i}": "live" for i in range(3)})
        servers[2].send_signal(signal.SIGTERM)
        self.assertEqual(servers[2].wait(20), 0)
        self.assertTrue(programs.wait_for(lambda: self.server_states()["ps-2"] == "dead", 5))
        servers[1].send_signal(signal.SIGKILL)
        self.assertTrue(programs.wait_for(lambda: self.server_states()["ps-1"] == "dead", 5))
        servers[0].send_signal(signal.SIGTERM)
        self.assertEqual(servers[0].wait(20), 0)
        self.assertFalse((self.work / "register-0.ready").exists())

    def test_a_server_comes_back_after_its_coordinator(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        first, self.coordinator = self.start_servers(
            1, tag="back", extra=[f"--set=control_port={port}"])
        other = self.start(BIN / "ps-server", "--set=id=other", "--set=coordinator=" + self.coordinator,
                           f"--set=state_dir={self.work}/other", log=self.work / "other.log")
        self.assertTrue(programs.wait_for(lambda: "other" in self.server_states(), 10))
        first[0].send_signal(signal.SIGKILL)
        first[0].wait()
        self.assertIsNone(other.poll())
        self.start_servers(1, tag="back", extra=[f"--set=control_port={port}"])
        self.assertTrue(programs.wait_for(
            lambda: self.server_states().get("other") == "live", 15))
        other.send_signal(signal.SIGTERM)
        self.assertEqual(other.wait(20), 0)

    def test_an_id_that_is_taken_is_refused(self):
        _, self.coordinator = self.start_servers(1, tag="twin")
        _, err = self.run_program(BIN / "ps-server", f"--set=coordinator={self.coordinator}",
                                  f"--set=state_dir={self.work}/twin", rc=2, timeout=20)
        self.assertIn("'ps-0'", err.strip().splitlines()[-1])

    def test_a_state_dir_in_use_is_refused(self):
        self.start_servers(1, tag="lock")
        _, err = self.run_program(BIN / "ps-server", f"--set=state_dir={self.work}/lock-0",
                                  rc=2, timeout=20)
        self.assertIn("lock-0", err.strip().splitlines()[-1])

    def test_a_child_goes_with_its_parent(self):
        ready = self.work / "child.ready"
        parent = self.start(
            sys.executable, "-c",
            "import subprocess, sys, time\n"
            "subprocess.Popen(sys.argv[1:]); time.sleep(60)",
            BIN / "ps-server", "--set=exit_with_parent=true", f"--set=ready_file={ready}",
            f"--set=state_dir={self.work}/child", log=self.work / "child.log")
        self.assertTrue(programs.wait_for(ready.exists, 20))
        self.coordinator = programs.addresses(ready)["control"]
        parent.kill()
        self.assertTrue(programs.wait_for(lambda: not ready.exists(), 20))

    def test_submit_list_describe_cancel(self):
        _, self.coordinator = self.start_servers(1, tag="jobs")
        job = self.submit("--name=My Job", "--staleness=2")
        self.assertEqual(job, "my-job-1")
        token = self.work / "my-job-1.token"
        self.assertEqual(token.stat().st_mode & 0o777, 0o600)
        self.assertEqual(len(token.read_text()), 64)
        out, _ = self.psctl("list")
        self.assertRegex(out, r"my-job-1 +pending +0/10")
        out, _ = self.psctl("describe", job, "-o", "json")
        status = json.loads(out)
        self.assertEqual(status["spec"]["staleness"], 2)
        self.assertNotIn("net_param", status["spec"]["solver"])
        self.assertNotIn(token.read_text(), out)
        self.psctl("cancel", job)
        self.assertIn("cancelled", self.psctl("describe", job)[0])
        self.assertIn(job, self.one_line("watch", job, rc=8))
        # Another job of the same request is the same one.
        first = self.submit("--request_id=r1")
        self.assertEqual(self.submit("--request_id=r1"), first)

    def test_watch_can_be_left(self):
        _, self.coordinator = self.start_servers(1, tag="watch")
        job = self.submit()
        watcher = subprocess.Popen([BIN / "psctl", f"--coordinator={self.coordinator}",
                                    "watch", job], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.assertIn("pending", watcher.stdout.readline())
        watcher.send_signal(signal.SIGINT)
        _, err = watcher.communicate(timeout=10)
        self.assertEqual(watcher.returncode, 130)
        self.assertIn("goes on", err)
        self.assertIn("pending", self.psctl("describe", job)[0])

    def test_mistakes_are_one_line(self):
        _, self.coordinator = self.start_servers(1, tag="mistakes")
        self.assertIn("did you mean describe?", self.one_line("descibe", "x"))
        self.assertIn("needs a JOB", self.one_line("cancel"))
        self.assertIn("drain-worker needs JOB RANK", self.one_line("drain-worker", "x"))
        self.assertIn("--workers?", self.one_line("submit", "--worker=3"))
        self.assertIn("--launch slurm", self.one_line(
            "submit", "--solver=solver.prototxt", "--launch=slurm"))
        self.assertIn("absent.prototxt", self.one_line("submit", "--solver=absent.prototxt"))
        self.assertIn("per_push", self.one_line(
            "submit", "--solver=solver.prototxt", "--ssp_update=async"))
        self.assertIn("straggler", self.one_line(
            "submit", "--solver=solver.prototxt", "--straggler=9:2"))
        (self.work / "solver.prototxt").write_text(SOLVER.replace("fixed", "fxied"))
        self.assertIn("fxied", self.one_line("submit", "--solver=solver.prototxt"))
        (self.work / "solver.prototxt").write_text(SOLVER + 'type: "SDG"\n')
        self.assertIn("SDG", self.one_line("submit", "--solver=solver.prototxt"))
        self.assertEqual(json.loads(self.psctl("list", "-o", "json")[0]), {})

    def test_an_unreachable_coordinator_is_one_line_in_time(self):
        self.coordinator = "127.0.0.1:1"
        begin = time.monotonic()
        self.assertIn("127.0.0.1:1", self.one_line("list"))
        self.assertLess(time.monotonic() - begin, 5)
        self.coordinator = ""
        self.assertIn("CSSP_COORDINATOR", self.one_line("list"))
        self.coordinator = "nowhere"
        self.assertIn("HOST:PORT", self.one_line("list"))

    def test_a_job_that_cannot_be_launched_is_not_left_behind(self):
        _, self.coordinator = self.start_servers(1, tag="launch")
        out, err = self.psctl("submit", "--solver=solver.prototxt", "--launch=mpirun",
                              "--worker_binary=/bin/false", f"--log={self.work}/false.log", rc=1)
        self.assertIn("before the workers had joined", err)
        jobs = json.loads(self.psctl("list", "-o", "json")[0])["jobs"]
        self.assertEqual([j["state"] for j in jobs], ["JOB_CANCELLED"])

    def test_systemd_is_told(self):
        path = str(self.work / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            notify.settimeout(15)
            server = self.start(BIN / "ps-server", f"--set=state_dir={self.work}/notified",
                                log=self.work / "notified.log",
                                env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "600000"})
            heard = []

            def hear(word, times=1):
                while sum(word in message for message in heard) < times:
                    heard.append(notify.recv(4096).decode())

            hear("READY=1")
            hear("WATCHDOG=1", times=3)
            self.assertTrue(any("STATUS=coordinator, 0 jobs" in m for m in heard), heard)
            self.assertFalse(any("STOPPING=1" in m for m in heard), heard)
            server.send_signal(signal.SIGTERM)
            hear("STOPPING=1")
            self.assertEqual(server.wait(20), 0)

    def test_metrics_of_the_coordinator(self):
        self.start_servers(1, tag="metrics")
        address = programs.addresses(self.work / "metrics-0.ready")["metrics"]
        text = urllib.request.urlopen(f"http://{address}/metrics", timeout=5).read().decode()
        self.assertIn("cssp_coordinator_running_jobs 0", text)
        self.assertIn("cssp_coordinator_live_servers", text)


if __name__ == "__main__":
    programs.main()
