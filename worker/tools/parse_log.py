#!/usr/bin/python3
"""Turns a training log into two tables, LOG.train and LOG.test: iteration, seconds
since the start, learning rate, and a column an output."""
import argparse
import csv
import datetime
import os
import re
import sys

_NUMBER = r"[-+]?(?:nan|inf|\d*\.?\d+(?:[eE][-+]?\d+)?)"
_ITERATION = re.compile(r"Iteration (\d+)")
_RATE = re.compile(rf"lr = ({_NUMBER})", re.I)
_OUTPUT = {kind: re.compile(rf"{kind} net output #(\d+): (\S+) = ({_NUMBER})", re.I)
           for kind in ("Train", "Test")}
# glog's: severity, month and day, time of day; a year may stand before.
_TIME = re.compile(r"^[IWEF](?:\d{4})?(\d\d)(\d\d) (\d\d):(\d\d):(\d\d(?:\.\d+)?)")


class _Clock:
    """Seconds since the line that says "Solving"; over New Year, too."""

    def __init__(self, year):
        self._year, self._last, self.start = year, None, None

    def read(self, line):
        found = _TIME.match(line)
        if not found:
            return None
        month, day, hour, minute, second = found.groups()
        now = datetime.datetime(self._year, int(month), int(day), int(hour), int(minute)) \
            + datetime.timedelta(seconds=float(second))
        if self._last and now < self._last - datetime.timedelta(days=180):
            self._year += 1
            now = now.replace(year=self._year)
        self._last = now
        if "Solving" in line and self.start is None:
            self.start = now
        return (now - self.start).total_seconds() if self.start else None


def parse_log(path_to_log):
    """(rows of training, rows of testing): dicts with NumIters, Seconds,
    LearningRate and the outputs, in the log's order."""
    rows = {"Train": [], "Test": []}
    iteration, seconds, rate = -1, None, float("nan")
    year = datetime.datetime.fromtimestamp(os.path.getmtime(path_to_log)).year
    clock = _Clock(year)
    with open(path_to_log, errors="replace") as log:
        for line in log:
            now = clock.read(line)
            if now is not None:
                seconds = now
            found = _ITERATION.search(line)
            if found:
                iteration = int(found.group(1))
            if iteration < 0:
                continue  # before the first
            found = _RATE.search(line)
            if found:
                rate = float(found.group(1))
                # Training's rows come before their rate is said.
                for row in reversed(rows["Train"]):
                    if row["NumIters"] != iteration:
                        break
                    row["LearningRate"] = rate
            for kind, pattern in _OUTPUT.items():
                found = pattern.search(line)
                if found:
                    _add(rows[kind], iteration, seconds, rate, found)
    _fill_first_rate(rows)
    return rows["Train"], rows["Test"]


def _add(rows, iteration, seconds, rate, found):
    """Into the iteration's row: output 0 begins one."""
    if not rows or rows[-1]["NumIters"] != iteration or found.group(2) in rows[-1]:
        rows.append({"NumIters": iteration,
                     "Seconds": seconds if seconds is not None else float("nan"),
                     "LearningRate": rate})
    rows[-1][found.group(2)] = float(found.group(3))


def _fill_first_rate(rows):
    """A test before the first iteration has that one's rate."""
    if rows["Train"]:
        for row in rows["Test"]:
            if row["LearningRate"] != row["LearningRate"]:
                row["LearningRate"] = rows["Train"][0]["LearningRate"]


def save_csv_files(logfile_path, output_dir, train_dict_list, test_dict_list, delimiter=",",
                   verbose=False):
    """Writes output_dir/<log's name>.train and .test."""
    name = os.path.basename(logfile_path)
    for kind, table in (("train", train_dict_list), ("test", test_dict_list)):
        path = os.path.join(output_dir, f"{name}.{kind}")
        write_csv(path, table, delimiter)
        if verbose:
            print(f"Wrote {path}")


def write_csv(path, rows, delimiter=","):
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logfile_path")
    parser.add_argument("output_dir")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--delimiter", default=",")
    arguments = parser.parse_args(argv)
    train, test = parse_log(arguments.logfile_path)
    save_csv_files(arguments.logfile_path, arguments.output_dir, train, test,
                   arguments.delimiter, arguments.verbose)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"parse_log.py: {error}")
