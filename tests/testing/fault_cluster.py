"""Real ps-servers and workers that die on command and are started again, as
systemd and a launcher would, and a small job whose end can be compared bit for
bit. For tests/integration/faults and tests/soak."""
import itertools
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time

from testing import namespaces, programs
from testing.programs import BIN

NET = """name: "faults"
layer { name: "data" type: "DummyData" top: "data" top: "label" include { phase: TRAIN }
  dummy_data_param {
    shape { dim: 4 dim: 3 dim: 10 dim: 10 } shape { dim: 4 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 32 weight_filler { type: "xavier" } } }
layer { name: "ip2" type: "InnerProduct" bottom: "ip" top: "ip2"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""
SOLVER = """net: "net.prototxt"
%s lr_policy: "fixed" %s
max_iter: %d snapshot_prefix: "%s" solver_mode: CPU random_seed: 1
"""
# Every weight has the gradient of its column alone, whatever the weights are.
FORMED_NET = """name: "formed"
layer { name: "data" type: "DummyData" top: "data" include { phase: TRAIN }
  dummy_data_param { shape { dim: 1 dim: 64 } data_filler { %s } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 600 bias_term: false } }
layer { name: "sum" type: "Reduction" bottom: "ip" top: "sum" loss_weight: 1 }
"""
COLUMNS = 64


class Model:
    """A net, and the rates that its solver has."""

    def __init__(self, net, rates='base_lr: 0.01 momentum: 0.9 weight_decay: 0.001'):
        self.net, self.rates = net, rates


PLAIN = Model(NET)
# Sums of powers of two: the end is the number of updates, in whatever order.
COUNTS = Model(FORMED_NET % 'type: "constant" value: 1', "base_lr: 0.0078125")
# Another gradient from each worker, the same for each row: rows that have not had
# the same workers' updates differ.
ROWS = Model(FORMED_NET % 'type: "gaussian"')
NETWORKS = itertools.count()
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """One program; started again by the keeper where `again` says so."""

    def __init__(self, name, command, log, cwd, again):
        self.name, self.command, self.log, self.cwd = name, command, log, cwd
        self.again = again
        self.starts = 0
        self.popen = None
        self.start()

    def start(self):
        self.starts += 1
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(
                [str(c) for c in self.command], stdout=out, stderr=out, cwd=self.cwd,
                env=programs.environment(QUIET), start_new_session=True)

    def signal(self, number):
        try:
            os.killpg(self.popen.pid, number)
        except ProcessLookupError:
            pass

    def kill(self):
        self.signal(signal.SIGKILL)

    def restart(self):
        """Asked to end, and started again: systemctl restart. Gives its exit code."""
        again, self.again = self.again, False
        self.signal(signal.SIGTERM)
        code = self.popen.wait(40)
        self.start()
        self.again = again
        return code

    def running(self):
        return self.popen.poll() is None


class Watch:
    """The job's events, by psctl watch. `still`: the longest that the job was not
    heard to move, in seconds, once it trained."""

    def __init__(self, coordinator, job, log, prefix=()):
        self.still, self.moved = 0.0, None
        self.clock, self.state, self.notes, self.checkpoints = 0, "", [], []
        self.message = ""
        self.popen = subprocess.Popen(
            [*prefix, str(BIN / "psctl"), f"--coordinator={coordinator}", "-o", "json", "watch",
             job], stdout=subprocess.PIPE, stderr=open(log, "ab"), text=True,
            env=programs.environment(), start_new_session=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.popen.stdout:
            event = json.loads(line)
            if "progress" in event or "status" in event and self.moved:
                now = time.monotonic()
                self.still = max(self.still, now - (self.moved or now))
                self.moved = now
            if "progress" in event:
                self.clock = int(event["progress"].get("clock", 0)) + 1
            if "note" in event:
                self.notes.append(event["note"])
            if "checkpoint" in event:
                self.checkpoints.append(int(event["checkpoint"]["clock"]))
            if "status" in event:
                self.state = event["status"]["state"]
                self.message = event["status"].get("message", "")

    def noted(self, words):
        return any(words in note for note in self.notes)

    def ended(self):
        return self.state in ("JOB_SUCCEEDED", "JOB_FAILED", "JOB_CANCELLED")


class FaultCluster:
    """`servers` ps-servers (ps-0 coordinates) and jobs of `workers` workers."""

    def __init__(self, work, servers=2, workers=2, hold_shards=True, sets=(), tmpfs_mib=0,
                 apart=False):
        self.work = pathlib.Path(work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.workers = workers
        self.jobs = 0
        self.folder = self.work
        self.processes = {}
        self.stopping = False
        self.coordinator = f"127.0.0.1:{free_port()}"
        self.network = None
        if apart:  # every process is a host of its own
            hosts = [f"ps-{i}" for i in range(servers)]
            hosts += [f"worker-{i}" for i in range(workers)]
            self.network = namespaces.Network(hosts, f"{os.getpid()}-{next(NETWORKS)}")
            self.coordinator = f"{self.network.addresses['ps-0']}:7400"
        self.mounted = None
        if tmpfs_mib:
            self.mounted = self.work / "ps-1"
            self.mounted.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={tmpfs_mib}m", "cssp-faults",
                            self.mounted], check=True)
        for i in range(servers):
            self.add_server(i, hold_shards, sets)
        self.await_servers(servers if hold_shards else servers - 1)
        self.keeper = threading.Thread(target=self.keep, daemon=True)
        self.keeper.start()

    def add_server(self, i, hold_shards, sets):
        command = [*self.on_host(f"ps-{i}"), BIN / "ps-server", f"--set=id=ps-{i}",
                   f"--set=state_dir={self.work}/ps-{i}", "--set=metrics_port=-1", "--set=lease.lease_ms=3000",
                   "--set=lease.heartbeat_ms=100"]
        if i == 0:
            command.append(f"--set=control_port={self.coordinator.split(':')[1]}")
            if not hold_shards:
                command.append("--set=hold_shards=false")
        else:
            command.append(f"--set=coordinator={self.coordinator}")
        if self.network:
            command += [f"--set=bind_host={self.network.addresses[f'ps-{i}']}",
                        "--set=transport.transports=tcp", "--set=transport.devices=eth0"]
        command += [f"--set={s}" for s in sets]
        self.processes[f"ps-{i}"] = Process(
            f"ps-{i}", command, self.work / f"ps-{i}.log", self.work, again=True)

    def on_host(self, host):
        return self.network.prefix(host) if self.network else []

    def psctl(self, *arguments, rc=0):
        done = subprocess.run(
            [*self.on_host("hub"), str(BIN / "psctl"), f"--coordinator={self.coordinator}", *map(str, arguments)],
            capture_output=True, text=True, timeout=60, cwd=self.work,
            env=programs.environment())
        assert rc is None or done.returncode == rc, (arguments, done.stdout, done.stderr)
        return done.stdout

    def await_servers(self, count):
        def live():
            out = self.psctl("servers", "-o", "json", rc=None)
            return out and sum(s["state"] == "live"
                               for s in json.loads(out).get("servers", [])) >= count
        assert programs.wait_for(live, 30), "the servers are not up"

    def keep(self):
        """What systemd and a launcher do: the dead are started again."""
        while not self.stopping:
            for process in list(self.processes.values()):
                if process.again and not process.running() and not self.stopping:
                    code = process.popen.returncode
                    if code != 0:
                        process.start()
                    else:
                        process.again = False
            time.sleep(0.05)

    def submit(self, clocks, *flags, solver="", wait=True, pace_ms=3, model=PLAIN):
        """A job, its workers and its events; `wait`: dead workers come back."""
        self.jobs += 1
        self.folder = folder = self.work / f"job-{self.jobs}"
        folder.mkdir()
        (folder / "net.prototxt").write_text(model.net)
        path = folder / "solver.prototxt"
        path.write_text(SOLVER % (model.rates, solver, clocks, "out"))
        token, job_file = folder / "token", folder / "job"
        self.psctl("submit", f"--solver={path}", f"--workers={self.workers}",
                   "--chunk_bytes=16384", f"--straggler=0:2@{pace_ms}",
                   f"--dead_workers={'wait' if wait else 'continue'}",
                   f"--token_file={token}", f"--job_file={job_file}", *flags)
        self.job = job_file.read_text().strip()
        self.token = token
        self.watch = Watch(self.coordinator, self.job, folder / "watch.log",
                           self.on_host("hub"))
        for name in [n for n in self.processes if n.startswith("worker")]:
            del self.processes[name]
        for rank in range(self.workers):
            self.add_worker(rank, again=wait)
        return folder / f"out_iter_{clocks}"

    def submit_tables(self, clocks, *flags):
        """A job of tables; every program (tests/integration/tables/table_worker) adds 1
        to its own column of each row, each clock, and checks what it reads. The even
        ones wait in each clock until that is held."""
        self.jobs += 1
        self.folder = folder = self.work / f"job-{self.jobs}"
        folder.mkdir()
        token, job_file = folder / "token", folder / "job"
        self.psctl("submit", f"--tables=counts:5x{self.workers},wide:3x20000",
                   f"--workers={self.workers}", "--launch=none", f"--token_file={token}",
                   f"--job_file={job_file}", *flags)
        self.job, self.token = job_file.read_text().strip(), token
        self.watch = Watch(self.coordinator, self.job, folder / "watch.log")
        for name in [n for n in self.processes if n.startswith("worker")]:
            del self.processes[name]
        for rank in range(self.workers):
            command = [programs.BIN.parent / "tests/bin/table_worker", self.coordinator, self.job,
                       token, rank, clocks,
                       f"{'sums' if rank % 2 else 'flush'}={folder}/held-{rank}"]
            self.processes[f"worker-{rank}"] = Process(
                f"worker-{rank}", command, folder / f"worker-{rank}.log", folder, again=False)
        return folder

    def add_worker(self, rank, again, name=None):
        """`rank` -1: one that comes while the job trains."""
        name = name or f"worker-{rank}"
        command = [*self.on_host(f"worker-{rank}"), BIN / "caffe-worker", f"--job={self.job}",
                   f"--rank={rank}" if rank >= 0 else "--set=join=true",
                   f"--coordinator={self.coordinator}",
                   f"--token_file={self.token}", "--threads=1", "--set=metrics_port=-1"]
        if self.network:
            command += [f"--set=bind_host={self.network.addresses[f'worker-{rank}']}",
                        "--set=transport.transports=tcp", "--set=transport.devices=eth0"]
        self.processes[name] = Process(
            name, command, self.folder / f"{name}.log", self.folder, again)

    def evaluator(self):
        """Its pid: the job's process that worker 0 has started."""
        for folder in pathlib.Path("/proc").iterdir():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"--evaluator" in words and f"--job={self.job}".encode() in words \
                    and f"--coordinator={self.coordinator}".encode() in words:
                return int(folder.name)
        raise AssertionError(f"no evaluator: {self.report()}")

    def await_clock(self, clock, seconds=60):
        assert programs.wait_for(lambda: self.watch.clock >= clock or self.watch.ended(),
                                 seconds), f"clock {clock} is not reached: {self.report()}"
        assert not self.watch.ended(), f"over too soon: {self.report()}"

    def await_end(self, seconds=90):
        assert programs.wait_for(self.watch.ended, seconds), f"it hangs: {self.report()}"
        for name, process in self.processes.items():
            if name.startswith("worker"):
                process.again = False
                try:
                    process.popen.wait(15)
                except subprocess.TimeoutExpired:
                    raise AssertionError(f"{name} does not end: {self.report()}") from None
        assert self.watch.state == "JOB_SUCCEEDED", self.report()

    def report(self):
        lines = [f"job {self.job} clock {self.watch.clock} state {self.watch.state} "
                 f"{self.watch.message}", *self.watch.notes]
        for log in sorted([*self.work.glob("*.log"), *self.folder.glob("*.log")]):
            lines += [f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-40:]]
        return "\n".join(lines)

    def close(self):
        self.stopping = True
        self.keeper.join()
        for process in self.processes.values():
            process.signal(signal.SIGCONT)
            process.kill()
        for process in self.processes.values():
            process.popen.wait()
        if self.mounted:
            subprocess.run(["umount", self.mounted], check=False)
        if self.network:
            self.network.close()

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.close()


def model_bytes(stem):
    """Weights and history: what two runs are compared by."""
    stem = pathlib.Path(stem)
    return [stem.with_name(stem.name + end).read_bytes()
            for end in (".caffemodel", ".solverstate")]


def fields(data):
    """(number, contents) of a serialised message's length-delimited fields."""
    def varint(at):
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                return value, at
    at = 0
    while at < len(data):
        tag, at = varint(at)
        if tag & 7 == 2:
            size, at = varint(at)
            yield tag >> 3, data[at:at + size]
            at += size
        elif tag & 7 == 0:
            _, at = varint(at)
        else:
            at += 4 if tag & 7 == 5 else 8


def model_rows(stem):
    """The rows of a FORMED_NET's weights, as bytes."""
    stem = pathlib.Path(stem)
    model = stem.with_name(stem.name + ".caffemodel").read_bytes()
    weights = b"".join(
        data for layer, text in fields(model) if layer == 100
        for blobs, blob in fields(text) if blobs == 7
        for number, data in fields(blob) if number == 5)
    size = COLUMNS * 4
    return [weights[i:i + size] for i in range(0, len(weights), size)]


def seeded(seed):
    return random.Random(seed)
