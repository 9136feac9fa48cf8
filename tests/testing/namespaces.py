"""Hosts as network namespaces on one bridge, that can lose one another: no packet
passes between two that are parted, nobody is told. Needs root and iproute2."""
import json
import os
import subprocess


def run(*command, check=True):
    return subprocess.run([str(c) for c in command], check=check, capture_output=True,
                          text=True)


def permitted():
    """Whether namespaces can be made here."""
    if os.geteuid() != 0:
        return False
    name = f"cssp-probe-{os.getpid()}"
    try:
        made = run("ip", "netns", "add", name, check=False).returncode == 0
    except FileNotFoundError:
        return False
    if made:
        run("ip", "netns", "del", name, check=False)
    return made


class Network:
    """Namespaces by the name of their host; `hub` holds the bridge and is for
    whoever looks on. 10.211.0.0/24, apart from the machine's own network."""

    def __init__(self, hosts, tag):
        self.tag, self.addresses, self.macs = tag, {}, {}
        self.made = []
        try:
            self.add_namespace("hub")
            self.inside("hub", "ip", "link", "add", "bridge", "type", "bridge")
            self.inside("hub", "ip", "addr", "add", "10.211.0.254/24", "dev", "bridge")
            self.inside("hub", "ip", "link", "set", "bridge", "up")
            for i, host in enumerate(hosts):
                self.add_host(host, f"10.211.0.{i + 1}", i)
        except BaseException:
            self.close()
            raise

    def name(self, host):
        return f"cssp-{self.tag}-{host}"

    def prefix(self, host):
        return ["ip", "netns", "exec", self.name(host)]

    def inside(self, host, *command):
        return run(*self.prefix(host), *command).stdout

    def add_namespace(self, host):
        run("ip", "netns", "add", self.name(host))
        self.made.append(host)
        self.inside(host, "ip", "link", "set", "lo", "up")

    def add_host(self, host, address, i):
        self.add_namespace(host)
        self.inside("hub", "ip", "link", "add", f"port{i}", "type", "veth", "peer", "name",
                    "eth0", "netns", self.name(host))
        self.inside("hub", "ip", "link", "set", f"port{i}", "master", "bridge", "up")
        self.inside(host, "ip", "addr", "add", f"{address}/24", "dev", "eth0")
        self.inside(host, "ip", "link", "set", "eth0", "up")
        self.addresses[host] = address
        self.macs[host] = json.loads(
            self.inside(host, "ip", "-j", "link", "show", "eth0"))[0]["address"]

    def part(self, one, other):
        """Each sends to where nobody is."""
        for here, there in ((one, other), (other, one)):
            self.inside(here, "ip", "neigh", "replace", self.addresses[there], "lladdr",
                        "02:00:00:00:00:ff", "nud", "permanent", "dev", "eth0")

    def heal(self, one, other):
        for here, there in ((one, other), (other, one)):
            self.inside(here, "ip", "neigh", "replace", self.addresses[there], "lladdr",
                        self.macs[there], "nud", "permanent", "dev", "eth0")

    def close(self):
        for host in self.made:
            run("ip", "netns", "del", self.name(host), check=False)
        self.made = []
