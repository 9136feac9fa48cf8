"""A real job, scraped by a real Prometheus: every expression of the dashboard and
of the rules is evaluated."""
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import BIN, ROOT  # noqa: E402

MONITORING = ROOT / "monitoring"
NET = """name: "watched"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {
    shape { dim: 8 dim: 3 dim: 12 dim: 12 } shape { dim: 8 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """net: "net.prototxt" base_lr: 0.0001 lr_policy: "fixed" max_iter: 1000000
snapshot_prefix: "watched" solver_mode: CPU
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Monitoring(programs.ProgramTest):

    def test_dashboard_is_what_its_generator_writes(self):
        self.run_program(MONITORING / "grafana/make_dashboard.py", "--check")

    def test_dashboard_keeps_the_conventions(self):
        board = json.loads((MONITORING / "grafana/caffe-ssp.json").read_text())
        self.assertFalse(board["editable"])
        self.assertLessEqual(len(board["uid"]), 40)
        for panel in board["panels"]:
            if panel["type"] == "row":
                continue
            self.assertTrue(panel["description"], panel["title"])
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], panel["title"])
            self.assertEqual(panel["datasource"]["uid"], "${datasource}")
            for target in panel["targets"]:
                if "rate(" in target["expr"]:
                    self.assertIn("$__rate_interval", target["expr"])

    def test_rules(self):
        if shutil.which("promtool") is None:
            self.skip("no promtool")
        folder = MONITORING / "prometheus"
        self.run_program("promtool", "check", "rules", "--lint=all", folder / "rules.yml")
        self.run_program("promtool", "check", "config", folder / "prometheus.yml")
        self.run_program("promtool", "test", "rules", folder / "rules_test.yml")

    def query(self, expression):
        url = (f"http://127.0.0.1:{self.port}/api/v1/query?"
               + urllib.parse.urlencode({"query": expression}))
        return json.load(urllib.request.urlopen(url, timeout=5))

    def test_every_expression_on_a_real_job(self):
        if shutil.which("prometheus") is None:
            self.skip("no prometheus")
        (self.work / "net.prototxt").write_text(NET)
        (self.work / "solver.prototxt").write_text(SOLVER)
        _, coordinator = self.start_servers(2)
        job_file = self.work / "job"
        client = self.start(
            BIN / "psctl", f"--coordinator={coordinator}", "submit",
            "--solver=solver.prototxt", "--workers=2", "--staleness=1", "--launch=mpirun",
            f"--job_file={job_file}", log=self.work / "psctl.log")
        self.assertTrue(programs.wait_for(
            lambda: job_file.exists() and job_file.read_text().strip(), 20))
        job = job_file.read_text().strip()
        self.assertTrue(programs.wait_for(lambda: self.running(coordinator, job), 30))
        self.start_prometheus(coordinator)

        board = json.loads((MONITORING / "grafana/caffe-ssp.json").read_text())
        expressions = {(panel["title"], target["expr"])
                       for panel in board["panels"] for target in panel.get("targets", [])}
        for title, expression in sorted(expressions):
            expression = expression.replace("$__rate_interval", "10s")
            expression = re.sub(r"\$(job_id|worker|instance)", ".*", expression)
            self.check(title, expression, may_be_empty=False)
        rules = (MONITORING / "prometheus/rules.yml").read_text()
        records = re.findall(r"- record: \S+\n\s+expr: (.*)", rules)
        alerts = re.findall(r"- alert: (\S+)\n\s+expr: (.*)", rules)
        self.assertEqual((len(records), len(alerts)), (3, 9))
        for expression in records:
            self.check("record", expression, may_be_empty=False)
        for name, expression in alerts:
            self.check(name, expression, may_be_empty=True)
            for metric in re.findall(r"(?<![:\w])(?:cssp|process)_\w+", expression):
                self.check(name, metric, may_be_empty=False)
        page = self.scrape_text()
        if shutil.which("promtool"):
            done = subprocess.run(["promtool", "check", "metrics"], input=page,
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.run_program(BIN / "psctl", f"--coordinator={coordinator}", "cancel", job)
        client.wait(30)

    def running(self, coordinator, job):
        out, _ = self.run_program(BIN / "psctl", f"--coordinator={coordinator}", "describe",
                                  job, "-o", "json")
        return int(json.loads(out).get("clock", 0)) > 10

    def start_prometheus(self, coordinator):
        """Scrapes every second what targets.py found, until rates have points."""
        config = (MONITORING / "prometheus/prometheus.yml").read_text()
        (self.work / "prometheus.yml").write_text(
            config.replace("scrape_interval: 5s", "scrape_interval: 1s")
                  .replace("evaluation_interval: 15s", "evaluation_interval: 1s"))
        shutil.copy(MONITORING / "prometheus/rules.yml", self.work)
        self.run_program(MONITORING / "prometheus/targets.py", BIN / "psctl", coordinator,
                         self.work)
        self.port = free_port()
        self.start("prometheus", f"--config.file={self.work}/prometheus.yml",
                   f"--storage.tsdb.path={self.work}/tsdb",
                   f"--web.listen-address=127.0.0.1:{self.port}",
                   log=self.work / "prometheus.log")

        def up():
            try:
                answer = self.query("count(up == 1)")["data"]["result"]
            except OSError:
                return False
            return bool(answer) and float(answer[0]["value"][1]) >= 4
        self.assertTrue(programs.wait_for(up, 30), "fewer than 2 servers and 2 workers scraped")
        time.sleep(5)  # a few scrapes: rate() wants two points

    def check(self, title, expression, may_be_empty):
        answer = self.query(expression)
        self.assertEqual(answer["status"], "success", f"{title}: {expression}")
        result = answer["data"]["result"]
        if not may_be_empty:
            self.assertTrue(result, f"{title}: nothing for {expression}")
            self.assertTrue(any(series["value"][1] != "NaN" for series in result),
                            f"{title}: only NaN for {expression}")

    def scrape_text(self):
        address = json.loads((self.work / "servers.json").read_text())[0]["targets"][0]
        return urllib.request.urlopen(f"http://{address}/metrics", timeout=5).read().decode()


if __name__ == "__main__":
    programs.main()
