"""The faults: each takes a running job of a FaultCluster, hurts something at a
moment drawn from `rng`, and leaves the cluster as its keeper mends it. Run by
tests/integration/faults (two injections each) and tests/soak/faults.py."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from testing import fault_cluster, namespaces, programs
from testing.fault_cluster import FaultCluster, model_bytes

CLOCKS = 80
CUTS = "--checkpoint_clocks=10"
LOG = "--durability=LOG"
PUSH = "--ssp_update=PER_PUSH"
CLIP = "clip_gradients: 0.5"


class Fault:
    """`hurt(cluster, rng)` does the damage; the rest is how the job is run, and what
    its end is held against: `exact`, the bits of an undisturbed run (with the flags
    `like`), or `check(stem)`."""

    def __init__(self, hurt, flags=(), exact=True, solver="", wait=True, pace_ms=3,
                 model=fault_cluster.PLAIN, like=(), check=None, **cluster):
        self.hurt, self.flags, self.exact = hurt, list(flags), exact
        self.solver, self.wait, self.cluster = solver, wait, cluster
        self.pace_ms, self.model, self.like, self.check = pace_ms, model, list(like), check


class TableFault(Fault):
    """A job of tables: in the end every row holds each program's every increment,
    once. The programs see on their way that no read breaks its bound."""


def equal_rows(stem):
    """Every chunk, whichever server held it, has had the same updates."""
    rows = fault_cluster.model_rows(stem)
    assert len(rows) == 600 and any(rows[0]), len(rows)
    differing = [i for i, row in enumerate(rows) if row != rows[0]]
    assert not differing, f"rows {differing[0]}..{differing[-1]} had other updates"


def somewhen(cluster, rng, last=CLOCKS - 20):
    cluster.await_clock(rng.randrange(2, last))
    time.sleep(rng.random() * 0.02)


def kill(*names):
    def hurt(cluster, rng):
        somewhen(cluster, rng)
        for name in names:
            cluster.processes[name].kill()
    return hurt


def kill_any_worker(cluster, rng):
    somewhen(cluster, rng)
    cluster.processes[f"worker-{rng.randrange(cluster.workers)}"].kill()


def kill_another_worker(cluster, rng):
    somewhen(cluster, rng)
    cluster.processes[f"worker-{rng.randrange(1, cluster.workers)}"].kill()


def kill_after_newcomer(cluster, rng):
    """A server dies soon after a worker has come to a job that trains."""
    cluster.await_clock(rng.randrange(2, 10))
    cluster.psctl("scale", cluster.job, cluster.workers + 1)
    cluster.add_worker(-1, again=False, name="worker-new")
    assert programs.wait_for(lambda: cluster.watch.noted("trains from clock"), 30), \
        cluster.report()
    time.sleep(rng.random())
    cluster.processes["ps-1"].kill()


def kill_evaluator(cluster, rng):
    """Rank 0 starts it again; the end waits for it."""
    somewhen(cluster, rng)
    os.kill(cluster.evaluator(), signal.SIGKILL)


def old_epoch(cluster, rng):
    """A worker that stood still while the job went back to a checkpoint goes on
    in the epoch before: nothing of that is taken."""
    somewhen(cluster, rng)
    worker = cluster.processes[f"worker-{rng.randrange(cluster.workers)}"]
    worker.signal(signal.SIGSTOP)
    try:
        cluster.processes["ps-1"].kill()
        assert programs.wait_for(lambda: cluster.watch.noted("it goes on from"), 30), \
            cluster.report()
        time.sleep(rng.uniform(0, 1))
    finally:
        worker.signal(signal.SIGCONT)


def kill_everything(cluster, rng):
    somewhen(cluster, rng)
    for process in list(cluster.processes.values()):
        process.kill()


def kill_in_checkpoint(cluster, rng):
    """Cuts come every three clocks: one is always being written."""
    somewhen(cluster, rng)
    cluster.processes[rng.choice(["ps-0", "ps-1"])].kill()


def stop(kind, seconds):
    def hurt(cluster, rng):
        somewhen(cluster, rng)
        names = [n for n in cluster.processes if n.startswith(kind)]
        process = cluster.processes[rng.choice(sorted(names))]
        process.signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.signal(signal.SIGCONT)
    return hurt


def twin(cluster, rng):
    """A second process of a rank that lives is turned away."""
    cluster.await_clock(rng.randrange(2, CLOCKS // 4))
    rank = rng.randrange(cluster.workers)
    cluster.add_worker(rank, again=False, name="worker-twin")
    assert cluster.processes["worker-twin"].popen.wait(20) != 0
    text = (cluster.folder / "worker-twin.log").read_text()
    assert "cannot take over a rank" in text, text


def server_twin(cluster, rng):
    """A second server of an id that lives is turned away."""
    somewhen(cluster, rng)
    done = subprocess.run(
        [str(programs.BIN / "ps-server"), "--set=id=ps-1",
         f"--set=coordinator={cluster.coordinator}", f"--set=state_dir={cluster.work}/twin"],
        capture_output=True, text=True, timeout=30, env=programs.environment())
    assert done.returncode == 2 and "ps-1" in done.stderr, done.stderr


def garbage(cluster, rng):
    """Bytes that are no protocol, on every port of a server."""
    somewhen(cluster, rng)
    out = cluster.psctl("servers", "-o", "json")
    server = rng.choice(json.loads(out)["servers"])
    for address in (server["data_address"], server["control_address"]):
        host, port = address.rsplit(":", 1)
        for _ in range(3):
            with socket.create_connection((host, int(port)), timeout=5) as link:
                link.sendall(rng.randbytes(rng.randrange(1, 5000)))


def corrupt_checkpoint(cluster, rng):
    """The newest cut of a dead server has a flipped bit: the one before it is
    used, or an earlier one."""
    assert programs.wait_for(lambda: len(cluster.watch.checkpoints) >= 3, 60)
    process = cluster.processes["ps-1"]
    process.again = False
    process.kill()
    process.popen.wait()
    folder = cluster.work / "ps-1/store"
    newest = max(cluster.watch.checkpoints)
    key = f"cut/{cluster.job}/{newest:020d}/".encode()
    hit = 0
    for path in sorted(folder.glob("*.log")) + sorted(folder.glob("*.sst")):
        data = bytearray(path.read_bytes())
        at = data.find(key)
        while at >= 0:
            where = at + len(key) + 200 + rng.randrange(500)
            if where < len(data):
                data[where] ^= 1 << rng.randrange(8)
                hit += 1
            at = data.find(key, at + 1)
        path.write_bytes(data)
    assert hit, "no record of the cut was found"
    process.start()
    process.again = True


def fill_disk(cluster, rng):
    """The disk of one server is full for a second: checkpoints fail with a line,
    or the log waits; nothing is lost."""
    somewhen(cluster, rng, CLOCKS // 2)
    filler = cluster.work / "ps-1/filler"
    with open(filler, "wb") as out:
        try:
            while True:
                out.write(bytes(1 << 20))
                out.flush()
        except OSError:
            pass
    time.sleep(1)
    filler.unlink()


def read_only_disk(cluster, rng):
    """A server finds its disk read-only (as after an error of the device) when it
    starts again: it says so and ends; mended, the job goes on."""
    somewhen(cluster, rng)
    process, mount = cluster.processes["ps-1"], cluster.work / "ps-1"
    process.again = False
    process.kill()
    process.popen.wait()
    subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
    try:
        process.start()
        assert process.popen.wait(20) != 0
    finally:
        subprocess.run(["mount", "-o", "remount,rw", mount], check=True)
    last = (cluster.work / "ps-1.log").read_text().strip().splitlines()[-1].lower()
    assert "read-only" in last and str(mount).lower() in last, last
    process.start()
    process.again = True


def restart(*names):
    """What systemctl restart does: nothing that was trained is lost."""
    def hurt(cluster, rng):
        somewhen(cluster, rng)
        for name in names:
            code = cluster.processes[name].restart()
            assert code == 0, f"{name} ended with {code}: {cluster.report()}"
    return hurt


def partition(pairs, shortest, longest):
    """One of `pairs` of hosts hear nothing of one another for a while."""
    def hurt(cluster, rng):
        somewhen(cluster, rng)
        one, other = rng.choice(pairs)
        cluster.network.part(one, other)
        time.sleep(rng.uniform(shortest, longest))
        cluster.network.heal(one, other)
    return hurt


DATA = [("worker-0", "ps-1"), ("worker-1", "ps-1"), ("worker-0", "ps-0"), ("worker-1", "ps-0")]
CONTROL = [("ps-1", "ps-0")]

FAULTS = {
    "worker-wait": Fault(kill_any_worker, [CUTS]),
    "worker-wait-log-clip": Fault(kill_any_worker, [LOG, CUTS], solver=CLIP),
    "worker-continue": Fault(kill_another_worker, exact=False, wait=False, workers=3),
    "evaluator": Fault(kill_evaluator, [CUTS]),
    "old-epoch": Fault(old_epoch, [CUTS]),
    "server-checkpoint": Fault(kill("ps-1"), [CUTS]),
    "server-checkpoint-clip": Fault(kill("ps-1"), [CUTS], solver=CLIP),
    "server-no-checkpoint": Fault(kill("ps-1")),
    "server-log": Fault(kill("ps-1"), [LOG, CUTS]),
    "server-log-clip": Fault(kill("ps-1"), [LOG, CUTS], solver=CLIP),
    "server-log-alone": Fault(kill("ps-1"), [LOG]),
    "server-log-newcomer": Fault(
        kill_after_newcomer, [LOG, CUTS, "--staleness=1", "--max_workers=3"], exact=False,
        wait=False, model=fault_cluster.ROWS, check=equal_rows, pace_ms=50),
    # Pushes in the order of their arrival: of one worker to the bit, of several each
    # once; backup workers: every clock of the same workers on both servers.
    "server-log-push": Fault(kill("ps-1"), [LOG, CUTS, PUSH, "--staleness=1"],
                             model=fault_cluster.COUNTS),
    "server-log-push-alone": Fault(kill("ps-1"), [LOG, CUTS, PUSH], like=[PUSH, "--staleness=0"],
                                   workers=1),
    "server-log-async": Fault(kill("ps-1"), [LOG, PUSH, "--staleness=-1"],
                              model=fault_cluster.COUNTS),
    "coordinator-log-push": Fault(kill("ps-0"), [LOG, CUTS, PUSH, "--staleness=1"],
                                  model=fault_cluster.COUNTS),
    "cluster-log-push": Fault(kill_everything, [LOG, CUTS, PUSH, "--staleness=1"],
                              model=fault_cluster.COUNTS),
    "server-log-backup": Fault(kill("ps-1"), [LOG, CUTS, "--backup=1"], exact=False,
                               model=fault_cluster.ROWS, check=equal_rows, workers=3),
    "coordinator-log-backup": Fault(kill("ps-0"), [LOG, CUTS, "--backup=1"], exact=False,
                                    model=fault_cluster.ROWS, check=equal_rows, workers=3),
    "tables-server-log": TableFault(kill("ps-1"), [LOG, CUTS, "--staleness=1"]),
    "tables-server-log-alone": TableFault(kill("ps-1"), [LOG, "--staleness=2"]),
    "tables-coordinator-log": TableFault(kill("ps-0"), [LOG, CUTS]),
    "tables-in-checkpoint-log": TableFault(kill_in_checkpoint, [LOG, "--checkpoint_clocks=3"]),
    "tables-servers-log": TableFault(kill("ps-0", "ps-1"), [LOG, CUTS, "--staleness=1"]),
    "tables-restart-server-log": TableFault(restart("ps-1"), [LOG, CUTS]),
    "tables-stop-server": TableFault(stop("ps-1", 1), [CUTS]),
    "coordinator": Fault(kill("ps-0"), [CUTS], servers=3, hold_shards=False),
    "coordinator-shard": Fault(kill("ps-0"), [CUTS]),
    "coordinator-log": Fault(kill("ps-0"), [LOG, CUTS]),
    "in-checkpoint": Fault(kill_in_checkpoint, ["--checkpoint_clocks=3"]),
    "in-checkpoint-log": Fault(kill_in_checkpoint, [LOG, "--checkpoint_clocks=3"]),
    "cluster": Fault(kill_everything, [CUTS]),
    "cluster-log": Fault(kill_everything, [LOG, CUTS]),
    "restart-server": Fault(restart("ps-1"), [CUTS]),
    "restart-server-log": Fault(restart("ps-1"), [LOG, CUTS]),
    "restart-coordinator": Fault(restart("ps-0"), [CUTS]),
    "restart-coordinator-log": Fault(restart("ps-0"), [LOG, CUTS]),
    "restart-coordinator-alone": Fault(restart("ps-0"), [CUTS], servers=3, hold_shards=False),
    "restart-all": Fault(restart("ps-1", "ps-0"), [CUTS]),
    "stop-worker": Fault(stop("worker", 1), [CUTS]),
    "stop-server": Fault(stop("ps-1", 1), [CUTS]),
    "twin-worker": Fault(twin, [CUTS], pace_ms=40),
    "twin-server": Fault(server_twin, [CUTS]),
    "garbage": Fault(garbage, [CUTS]),
    "corrupt-checkpoint": Fault(corrupt_checkpoint, [CUTS]),
    # Shorter than the lease of three seconds, and longer.
    "partition-data": Fault(partition(DATA, 0.2, 2), [CUTS], apart=True),
    "partition-data-long": Fault(partition(DATA, 4, 8), [CUTS], apart=True),
    "partition-data-log": Fault(partition(DATA, 4, 8), [LOG, CUTS], apart=True),
    "partition-server": Fault(partition(CONTROL, 0.2, 2), [CUTS], apart=True),
    "partition-server-long": Fault(partition(CONTROL, 4, 8), [CUTS], apart=True),
    "partition-server-log": Fault(partition(CONTROL, 4, 8), [LOG, CUTS], apart=True),
    # Slow enough that the last checkpoint finds room again.
    "disk-full": Fault(fill_disk, [CUTS], pace_ms=50, tmpfs_mib=480),
    "disk-full-log": Fault(fill_disk, [LOG, CUTS], pace_ms=50, tmpfs_mib=480),
    "disk-read-only": Fault(read_only_disk, [CUTS], tmpfs_mib=480),
    "disk-read-only-log": Fault(read_only_disk, [LOG, CUTS], tmpfs_mib=480),
}
# One of each kind, for the default tier.
QUICK = ["worker-wait", "worker-continue", "evaluator", "old-epoch", "server-checkpoint-clip",
         "server-log-clip", "server-log-push", "server-log-push-alone", "server-log-backup",
         "tables-server-log", "tables-coordinator-log", "coordinator", "coordinator-shard",
         "coordinator-log", "in-checkpoint",
         "cluster", "twin-worker", "garbage", "corrupt-checkpoint", "restart-server",
         "restart-coordinator", "partition-data", "partition-server"]
# Longer: for the soak script.
LONG_FAULTS = {
    "stop-worker-10s": Fault(stop("worker", 10), [CUTS]),
    "stop-server-10s": Fault(stop("ps-1", 10), [CUTS]),
}


def may_mount():
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "cssp-probe", folder],
                              check=False, capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", folder], check=False)
        return done.returncode == 0


class Session:
    """Injects faults. Clusters are kept from one fault to the next, and so is what
    the undisturbed job of a solver ends with."""

    def __init__(self, folder, say=print):
        self.folder, self.say = pathlib.Path(folder), say
        self.clusters, self.expected, self.made = {}, {}, 0

    def cluster(self, fault):
        key = tuple(sorted(fault.cluster.items()))
        if key not in self.clusters:
            self.made += 1
            self.clusters[key] = FaultCluster(self.folder / f"cluster-{self.made}",
                                              **fault.cluster)
        return self.clusters[key]

    @staticmethod
    def lacking(name):
        """What this machine lacks for a fault, or None."""
        needs = {**FAULTS, **LONG_FAULTS}[name].cluster
        if needs.get("apart") and not namespaces.permitted():
            return "network namespaces are not permitted here"
        if needs.get("tmpfs_mib") and not may_mount():
            return "mounts are not permitted here"
        return None

    def undisturbed(self, fault):
        key = (fault.model, fault.solver, *fault.like)
        if key not in self.expected:
            cluster = self.cluster(fault)
            stem = cluster.submit(CLOCKS, *fault.like, solver=fault.solver, pace_ms=1,
                                  model=fault.model)
            cluster.await_end()
            self.expected[key] = model_bytes(stem)
        return self.expected[key]

    def inject_tables(self, fault, rng):
        cluster = self.cluster(fault)
        folder = cluster.submit_tables(CLOCKS, *fault.flags)
        fault.hurt(cluster, rng)
        cluster.await_end(120)
        for rank in range(cluster.workers):
            code = cluster.processes[f"worker-{rank}"].popen.returncode
            assert code == 0, f"program {rank} ended with {code}: {cluster.report()}"
            sums = (folder / f"held-{rank}.sums").read_text().split()
            assert sums == [str(CLOCKS)] * cluster.workers, f"{sums}: {cluster.report()}"
        shutil.rmtree(folder, ignore_errors=True)
        return cluster.watch.still

    def inject(self, fault, rng):
        """Gives the longest stop in seconds; AssertionError: something is lost."""
        if isinstance(fault, TableFault):
            return self.inject_tables(fault, rng)
        cluster = self.cluster(fault)
        stem = cluster.submit(CLOCKS, *fault.flags, solver=fault.solver, wait=fault.wait,
                              pace_ms=fault.pace_ms, model=fault.model)
        fault.hurt(cluster, rng)
        cluster.await_end(120)
        assert stem.with_name(stem.name + ".caffemodel").exists(), \
            f"nothing was exported: {cluster.report()}"
        assert "Optimization Done." in (stem.parent / "worker-0.log").read_text(), \
            f"the evaluator did not see the end: {cluster.report()}"
        assert not fault.exact or model_bytes(stem) == self.undisturbed(fault), \
            f"the end differs from the undisturbed run's: {cluster.report()}"
        if fault.check:
            fault.check(stem)
        shutil.rmtree(stem.parent, ignore_errors=True)
        return cluster.watch.still

    def run(self, name, injections, seed):
        """Each injection has a seed of its own. Gives how long each stopped the job."""
        fault = {**FAULTS, **LONG_FAULTS}[name]
        if fault.exact and not isinstance(fault, TableFault):
            self.undisturbed(fault)
        times = []
        for i in range(injections):
            begun = time.monotonic()
            times.append(self.inject(fault, fault_cluster.seeded(f"{name} {seed} {i}")))
            self.say(f"{name} seed {seed} injection {i}: ok, stood still {times[-1]:.2f} s, "
                     f"{time.monotonic() - begun:.1f} s in all")
        return times

    def close(self):
        for cluster in self.clusters.values():
            cluster.close()
        self.clusters = {}
