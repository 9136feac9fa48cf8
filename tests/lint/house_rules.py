#!/usr/bin/python3
"""House rules that a script can see: environment access, device switches, file
sizes, thread classes in headers, and the metric catalogue."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAX_LINES = 500


def sources(*sides):
    for side in sides:
        for path in sorted((ROOT / side).rglob("*")):
            if path.suffix in (".h", ".cc", ".cu", ".cuh"):
                yield path, path.read_text()


def check_getenv(errors):
    for path, text in sources("common", "server", "worker"):
        name = str(path.relative_to(ROOT))
        if name.startswith("common/config/"):
            continue
        if re.search(r"\b(secure_)?getenv\s*\(", text):
            errors.append(f"{name}: the environment is read in common/config only")


def check_device_switch(errors):
    for path, text in sources("common", "server", "worker"):
        # Not the guards of the headers of cuda/.
        if re.search(r"^\s*#\s*if(?!ndef \w+_(?:H|CUH)_$).*CUDA", text, re.M):
            errors.append(f"{path.relative_to(ROOT)}: no #if for a device: "
                          "use the cuda/ folder and its null file")


def check_sizes(errors):
    for path, text in sources("common", "server", "worker", "tests"):
        lines = text.count("\n")
        # A file may be longer when it says why at its head.
        if lines > MAX_LINES and "Long because" not in text[:1500]:
            errors.append(f"{path.relative_to(ROOT)}: {lines} lines: split it, "
                          "or say 'Long because ...' at its head")


def check_metrics(errors):
    catalogue = (ROOT / "monitoring/README.md").read_text()
    listed = set(re.findall(r"`(cssp_[a-z0-9_]+)`", catalogue))
    defined = {}
    for path, text in sources("common", "server", "worker"):
        for name in re.findall(r'"(cssp_[a-z0-9_]+)"', text):
            defined.setdefault(name, path.relative_to(ROOT))
    for name in sorted(set(defined) - listed):
        errors.append(f"{defined[name]}: {name} is not in monitoring/README.md")
    for name in sorted(listed - set(defined)):
        errors.append(f"monitoring/README.md: {name} is defined nowhere")


def main():
    errors = []
    for check in (check_getenv, check_device_switch, check_sizes,
                  check_metrics):
        check(errors)
    print("\n".join(errors) if errors else "the house rules hold")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
