#!/usr/bin/python3
"""Says what came of a job: summary.py JOB.json PLOT.png (from psctl describe)."""
import json
import sys


def main():
    with open(sys.argv[1]) as source:
        job = json.load(source)
    tests = [t for t in job.get("tests", []) if not int(t.get("net", 0))]
    if tests:
        last = max(tests, key=lambda t: int(t.get("clock", 0)))
        values = {o["name"]: float(o.get("value", 0)) for o in last["outputs"]}
        print(f"test accuracy      {values.get('accuracy', 0):.4f} at clock "
              f"{int(last.get('clock', 0))} (test loss {values.get('loss', 0):.4f})")
    workers = sorted(job.get("workers", []), key=lambda w: int(w.get("rank", 0)))
    rate = sum(float(w.get("samples_per_second", 0)) for w in workers)
    print(f"images/s           {rate:.0f}")
    for worker in workers:
        print(f"worker {int(worker.get('rank', 0)):<3} waited  "
              f"{100 * float(worker.get('wait_share', 0)):.1f} % of its time")
    histogram = {}
    for worker in workers:
        for staleness, count in enumerate(worker.get("staleness_histogram", [])):
            histogram[staleness] = histogram.get(staleness, 0) + int(count)
    total = sum(histogram.values()) or 1
    print("staleness of reads " + ", ".join(
        f"{k}: {100 * v / total:.1f} %" for k, v in sorted(histogram.items()) if v))
    for files in job.get("exports", []):
        print(f"model              {files.get('caffemodel')}")
        print(f"solver state       {files.get('solverstate')}")
    print(f"plot               {sys.argv[2]}")


if __name__ == "__main__":
    main()
