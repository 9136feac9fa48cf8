#!/usr/bin/python3
"""Writes servers.json and workers.json for Prometheus' file_sd_configs.

usage: targets.py PSCTL COORDINATOR OUTPUT_DIR
"""
import json
import os
import pathlib
import subprocess
import sys


def psctl(program, coordinator, *arguments):
    done = subprocess.run([program, f"--coordinator={coordinator}", *arguments,
                           "-o", "json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def write(path, addresses):
    """Atomically: Prometheus reads the file whenever it likes."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([{"targets": sorted(addresses)}]) + "\n")
    os.replace(partial, path)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    program, coordinator, out = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    servers = psctl(program, coordinator, "servers").get("servers", [])
    # The dead, too: PsServerDown is about them.
    write(out / "servers.json",
          {s["metrics_address"] for s in servers if s.get("metrics_address")})
    workers = set()
    for job in psctl(program, coordinator, "list").get("jobs", []):
        if job.get("state") not in ("JOB_RUNNING", "JOB_FINISHING"):
            continue
        status = psctl(program, coordinator, "describe", job["job_id"])
        workers |= {w["metrics_address"] for w in status.get("workers", [])
                    if w.get("metrics_address") and w.get("state") != "dead"}
    write(out / "workers.json", workers)


if __name__ == "__main__":
    main()
