"""A cluster under random kills for a long time: nothing of a ps-server may grow.

    tests/soak/soak.py --minutes 30 --workers 8 --kill_every 20 [--servers 2]
        [--job net|tables] [--staleness 1] [--seed 1] [--policy wait|continue] [--csv FILE]

Every --kill_every seconds one worker at random dies by SIGKILL and is started again
with the same rank. Policy `wait` takes it back. Where a job does not (policy `continue`,
tables) it goes on with the others; a job that has fewer than two workers left, or has ended, is cancelled
and the next one submitted. Every two seconds resident memory, threads and open files of
each server are read from /proc; at the end the last third is held against the second.
Exit code 1: something grew, a server died, or no clock was made for a minute.
"""
import argparse
import csv
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from testing.programs import BIN, BUILD, addresses, environment, take_down, wait_for  # noqa: E402

NET = """
net_param { name: "soak"
  layer { name: "data" type: "DummyData" top: "data" top: "goal" dummy_data_param {
    shape { dim: 16 dim: 64 } shape { dim: 16 dim: 64 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
  layer { name: "ip1" type: "InnerProduct" bottom: "data" top: "ip1"
    inner_product_param { num_output: 512 weight_filler { type: "xavier" } } }
  layer { name: "relu" type: "ReLU" bottom: "ip1" top: "ip1" }
  layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
    inner_product_param { num_output: 64 weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "EuclideanLoss" bottom: "ip2" bottom: "goal" top: "loss" } }
base_lr: 0.0001 lr_policy: "fixed" max_iter: 100000000 display: 0 random_seed: 1
snapshot_after_train: false snapshot_prefix: "soak" solver_mode: CPU
"""
# Growth that is no leak: allocators keep pages, a reconnect has its sockets.
SLACK = {"rss_mib": (1.05, 8), "threads": (1, 2), "files": (1, 8)}


class Soak:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.random = random.Random(options.seed)
        self.servers, self.coordinator = [], None
        self.workers, self.job, self.jobs = {}, None, 0
        self.kills = self.returns = self.refusals = 0
        self.samples, self.problems = [], []

    # ---- The cluster ---------------------------------------------------------
    def start(self, command, log):
        with open(self.work / log, "ab") as out:
            return subprocess.Popen([str(c) for c in command], stdout=out, stderr=out,
                                    cwd=self.work, env=environment({"OMP_NUM_THREADS": "1"}),
                                    start_new_session=True)

    def start_servers(self):
        for i in range(self.options.servers):
            ready = self.work / f"{i}.ready"
            sets = [f"--set=id=ps-{i}", f"--set=state_dir={self.work}/state-{i}",
                    f"--set=ready_file={ready}"]
            if self.coordinator:
                sets.append(f"--set=coordinator={self.coordinator}")
            self.servers.append(self.start([BIN / "ps-server", *sets], f"ps-{i}.log"))
            if not wait_for(ready.exists, 30):
                raise SystemExit(f"ps-{i} did not start")
            if i == 0:
                self.coordinator = addresses(ready)["control"]

    def psctl(self, *arguments):
        return subprocess.run([BIN / "psctl", f"--coordinator={self.coordinator}", *arguments],
                              capture_output=True, text=True, timeout=60, cwd=self.work,
                              env=environment())

    def submit(self):
        self.jobs += 1
        solver = self.work / "solver.prototxt"
        solver.write_text(NET)
        what = ([f"--solver={solver}"] if self.options.job == "net" else
                ["--tables=counts:64x8,wide:16x4096"])
        if self.options.policy == "wait" and self.options.job == "net":
            what.append("--dead_workers=wait")
        done = self.psctl("submit", "--launch=none", *what, f"--name=soak{self.jobs}",
                          f"--workers={self.options.workers}",
                          f"--staleness={self.options.staleness}",
                          f"--token_file={self.work}/token", f"--job_file={self.work}/job")
        if done.returncode != 0:
            raise SystemExit(f"psctl submit: {done.stderr}")
        self.job = (self.work / "job").read_text().strip()
        for rank in range(self.options.workers):
            self.start_worker(rank)

    def start_worker(self, rank):
        if self.options.job == "net":
            command = [BIN / "caffe-worker", f"--job={self.job}", f"--rank={rank}",
                       f"--coordinator={self.coordinator}", f"--token_file={self.work}/token"]
        else:
            command = [BUILD / "tests/bin/table_worker", self.coordinator, self.job,
                       self.work / "token", rank, 100000000]
        self.workers[rank] = self.start(command, "workers.log")

    def state(self):
        done = self.psctl("describe", self.job, "-o", "json")
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {}

    # ---- What happens --------------------------------------------------------
    def kill_one(self):
        live = [r for r, p in self.workers.items() if p.poll() is None]
        if not live:
            return
        rank = self.random.choice(live)
        take_down_now(self.workers[rank])
        self.kills += 1
        self.start_worker(rank)
        # A worker that is not taken back ends by itself.
        if wait_for(lambda: self.workers[rank].poll() is not None, 5):
            self.refusals += 1
        else:
            self.returns += 1

    def next_job_if_need_be(self):
        live = [p for p in self.workers.values() if p.poll() is None]
        if len(live) >= 2:
            return
        self.end_job()
        self.submit()

    def end_job(self):
        self.psctl("cancel", self.job)
        for process in self.workers.values():
            take_down_now(process)

    def sample(self, begin):
        for i, server in enumerate(self.servers):
            if server.poll() is not None:
                self.problems.append(f"ps-{i} died with {server.returncode}")
                continue
            proc = pathlib.Path(f"/proc/{server.pid}")
            status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
            self.samples.append({
                "seconds": round(time.monotonic() - begin, 1), "server": i,
                "rss_mib": int(status["VmRSS"].split()[0]) / 1024,
                "threads": int(status["Threads"]),
                "files": sum(1 for _ in (proc / "fd").iterdir())})

    def run(self):
        begin = time.monotonic()
        end, next_kill = begin + 60 * self.options.minutes, begin + self.options.kill_every
        next_sample, progress = begin, (None, -1, begin)
        while time.monotonic() < end and not self.problems:
            now = time.monotonic()
            if now >= next_kill:
                next_kill += self.options.kill_every
                self.kill_one()
                self.next_job_if_need_be()
            if now >= next_sample:
                next_sample = now + 2
                self.sample(begin)
                clock = int(self.state().get("clock", 0))
                if (self.job, clock) != progress[:2]:
                    progress = (self.job, clock, now)
                elif now - progress[2] > 60:
                    self.problems.append(f"job {self.job} stands at clock {clock} for a minute")
            time.sleep(0.2)
        self.end_job()

    def judge(self):
        total = max(s["seconds"] for s in self.samples)
        for i in range(self.options.servers):
            mine = [s for s in self.samples if s["server"] == i]
            for what, (factor, slack) in SLACK.items():
                before = statistics.median(s[what] for s in mine
                                           if total / 3 <= s["seconds"] < 2 * total / 3)
                after = statistics.median(s[what] for s in mine if s["seconds"] >= 2 * total / 3)
                print(f"ps-{i} {what}: {before:.1f} in the second third, {after:.1f} in the last")
                if after > factor * before + slack:
                    self.problems.append(f"ps-{i}: {what} grew from {before:.1f} to {after:.1f}")


def take_down_now(process):
    if process.poll() is None:
        process.kill()
    process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--kill_every", type=float, default=20)
    parser.add_argument("--staleness", type=int, default=1)
    parser.add_argument("--job", choices=["net", "tables"], default="net")
    parser.add_argument("--policy", choices=["wait", "continue"], default="wait",
                        help="of a net's job for dead workers; tables know only continue")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--csv", default="soak.csv")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cssp-soak-") as work:
        soak = Soak(options, pathlib.Path(work))
        try:
            soak.start_servers()
            soak.submit()
            soak.run()
            soak.judge()
        finally:
            for process in soak.workers.values():
                take_down_now(process)
            for process in reversed(soak.servers):
                take_down(process)
            tail = "".join(f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}\n"
                           for log in sorted(pathlib.Path(work).glob("*.log")))
        with open(options.csv, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, soak.samples[0].keys())
            writer.writeheader()
            writer.writerows(soak.samples)
    print(f"{options.minutes:g} minutes, seed {options.seed}: {soak.jobs} jobs, {soak.kills} kills, "
          f"{soak.returns} came back, {soak.refusals} were not taken back")
    for problem in soak.problems:
        print("FAILED:", problem)
    if soak.problems:
        print(tail, file=sys.stderr)
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
