#!/usr/bin/env python3
"""Random injections of a fault into real jobs; each must end with the bits of the
undisturbed run where that is promised.

tests/soak/faults.py [--fault NAME ...] [--injections 20] [--seed S] [--work FOLDER]"""
import argparse
import contextlib
import pathlib
import random
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from testing import faults  # noqa: E402


def main():
    known = {**faults.FAULTS, **faults.LONG_FAULTS}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fault", nargs="*", default=list(known), choices=list(known))
    parser.add_argument("--injections", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--keep_going", action="store_true")
    parser.add_argument("--work", type=pathlib.Path, help="stores and logs stay here")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    broken = []
    with (contextlib.nullcontext(options.work) if options.work else
          tempfile.TemporaryDirectory(prefix="cssp-faults-")) as folder:
        session = faults.Session(folder, say=lambda line: print(line, flush=True))
        for name in options.fault:
            lacking = session.lacking(name)
            if lacking:
                print(f"{name}: skipped, {lacking}", flush=True)
                continue
            try:
                times = session.run(name, options.injections, options.seed)
            except AssertionError as error:
                session.close()
                print(f"{name} seed {options.seed}: BROKEN\n{error}", flush=True)
                broken.append(name)
                if not options.keep_going:
                    break
                continue
            print(f"{name}: {len(times)} injections, stood still: median "
                  f"{statistics.median(times):.2f} s, longest {max(times):.2f} s", flush=True)
        session.close()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
