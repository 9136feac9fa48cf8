#!/usr/bin/python3
"""Checks the include table: who may include whom, and where third parties live.

Every edge must stand in ALLOWED, every edge must go down a level, worker and
server must not reach each other, and a third party's headers may be included
in its home only.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

LEVEL = {
    "proto": 0, "common/base": 0,
    "common/config": 1, "common/metrics": 1, "common/tensor": 1,
    "common/device": 1, "common/rpc": 1, "common/launch": 1,
    "common/optim": 2, "common/transport": 2, "common/ps": 2,
    "common/model_file": 2, "server/storage": 2,
    "worker/net": 3, "worker/data": 3, "server/shard": 3,
    "server/checkpoint": 3,
    "worker/layers": 4, "worker/sync": 4, "server/coordinator": 4,
    "worker/solver": 5, "server/service": 5,
    "server/psctl": 6, "worker/caffe": 6, "worker/tools": 7,
    "worker/python": 7, "server": 7, "worker": 7,
}

# Beyond common/base and proto, which everyone may use.
ALLOWED = {
    "common/config": set(), "common/metrics": set(), "common/rpc": set(),
    "common/launch": set(), "common/tensor": set(),
    "common/device": {"common/tensor"},
    "common/optim": {"common/tensor"},
    "common/ps": {"common/tensor"},
    "common/transport": {"common/metrics"},
    "common/model_file": {"common/tensor"},
    "worker/data": {"common/tensor", "common/device", "common/model_file"},
    "worker/net": {"common/tensor", "common/device", "common/model_file"},
    "worker/layers": {"worker/net", "worker/data", "common/device",
                      "common/tensor", "common/model_file"},
    "worker/sync": {"worker/net", "common/device", "common/tensor",
                    "common/ps", "common/optim", "common/transport",
                    "common/rpc", "common/metrics"},
    "worker/solver": {"worker/net", "worker/sync", "worker/data", "common/device",
                      "common/ps", "common/optim", "common/model_file",
                      "common/tensor", "common/metrics"},
    "server/storage": {"common/tensor"},
    "server/shard": {"server/storage", "common/ps", "common/optim",
                     "common/device", "common/tensor", "common/metrics"},
    "server/checkpoint": {"server/storage", "common/ps", "common/tensor"},
    "server/coordinator": {"server/storage", "server/checkpoint",
                           "common/ps", "common/optim", "common/metrics",
                           "common/model_file"},
    "server/service": {"server/shard", "server/checkpoint",
                       "server/coordinator", "server/storage", "common/ps",
                       "common/optim", "common/transport", "common/rpc",
                       "common/metrics"},
    "server/psctl": {"common/rpc", "common/ps", "common/config",
                     "common/model_file"},
}
SOLVER_AND_BELOW = {part for part, level in LEVEL.items()
                    if level <= 5 and not part.startswith("server")}
for tool in ("worker/caffe", "worker/tools", "worker/python"):
    ALLOWED[tool] = SOLVER_AND_BELOW | {"worker/caffe"}
# The main.cc files wire everything of their side.
ALLOWED["server"] = {p for p in LEVEL if not p.startswith("worker")}
ALLOWED["worker"] = {p for p in LEVEL if not p.startswith("server")}

THIRD_PARTY = {
    r"ucp/|ucs/|uct/": {"common/transport"},
    r"grpcpp/|grpc/|proto/.*\.grpc\.pb\.h": {"common/rpc", "server/service"},
    r"rocksdb/": {"server/storage"},
    r"prometheus/": {"common/metrics"},
    r"oneapi/|dnnl": {"worker/layers"},
    r"pmix": {"common/launch"},
    r"hdf5": {"common/model_file"},
    r"lmdb\.h|leveldb/|jpeglib|jerror|png\.h": {"worker/data"},
    r"cuda|cudnn|cublas": {"common/device", "worker/layers", "worker/sync",
                           "server/shard"},
    r"pybind11/|Python\.h": {"worker/python"},
    r"mpi\.h": set(),
}

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)


def part_of(path):
    pieces = path.split("/")
    if pieces[0] in ("common", "server", "worker") and len(pieces) > 2:
        return "/".join(pieces[:2])
    return pieces[0]


def check_file(path, errors):
    name = str(path.relative_to(ROOT))
    source = part_of(name)
    for quoted, angled in INCLUDE.findall(path.read_text()):
        header = quoted or angled
        for pattern, homes in THIRD_PARTY.items():
            if re.match(pattern, header) and source not in homes:
                errors.append(f"{name}: {header} may be included in "
                              f"{', '.join(sorted(homes)) or 'no folder'} only")
        target = part_of(header) if quoted else None
        if target not in LEVEL or target == source:
            continue
        if target in ("proto", "common/base"):
            continue
        if target not in ALLOWED.get(source, set()):
            errors.append(f"{name}: {source} may not include {target}")
        elif LEVEL[target] >= LEVEL.get(source, 99):
            errors.append(f"{name}: {source} -> {target} does not go down")


def main():
    for part, targets in ALLOWED.items():
        for target in targets:
            assert {part.split("/")[0], target.split("/")[0]} != {
                "server", "worker"}, (part, target)
    errors = []
    count = 0
    for side in ("common", "server", "worker"):
        for path in sorted((ROOT / side).rglob("*")):
            if path.suffix in (".h", ".cc", ".cu", ".cuh"):
                check_file(path, errors)
                count += 1
    print("\n".join(errors) if errors else f"{count} files follow the table")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
