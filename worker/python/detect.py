#!/usr/bin/python3
"""Scores windows of images, as R-CNN does. The windows come from a CSV file with
the columns filename, ymin, xmin, ymax, xmax, or (a list of files) from selective
search. The scores go to an .npz file: filename, window, prediction."""
import argparse
import csv
import sys
import time

import numpy as np

import caffe
from classify import add_net_arguments, load_mean


def parse_arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input_file", help=".csv of windows, or .txt: a file name a line")
    parser.add_argument("output_file", help=".npz")
    add_net_arguments(parser)
    parser.add_argument("--crop_mode", choices=["list", "selective_search"], default="list")
    parser.add_argument("--context_pad", type=int, default=16,
                        help="pixels of context that the net's input shows")
    return parser.parse_args(argv)


def read_windows(path):
    """[(file, windows)] of a CSV file, in its order."""
    images = {}
    with open(path, newline="") as file:
        rows = csv.DictReader(file)
        missing = {"filename", "ymin", "xmin", "ymax", "xmax"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: has no column {', '.join(sorted(missing))}")
        for row in rows:
            window = [int(float(row[side])) for side in ("ymin", "xmin", "ymax", "xmax")]
            images.setdefault(row["filename"], []).append(window)
    return [(name, np.array(windows)) for name, windows in images.items()]


def main(argv=None):
    arguments = parse_arguments(argv)
    if arguments.gpu:
        caffe.set_mode_gpu()
    mean = load_mean(arguments.mean_file)
    if mean is not None and mean.ndim == 3:
        mean = mean.mean(axis=(1, 2))
    detector = caffe.Detector(
        arguments.model_def, arguments.pretrained_model, mean=mean,
        input_scale=arguments.input_scale, raw_scale=arguments.raw_scale,
        channel_swap=arguments.channel_swap, context_pad=arguments.context_pad)
    start = time.time()
    if arguments.crop_mode == "list":
        found = detector.detect_windows(read_windows(arguments.input_file))
    else:
        with open(arguments.input_file) as file:
            found = detector.detect_selective_search(file.read().split())
    print(f"Scored {len(found)} windows in {time.time() - start:.2f} s.")
    np.savez(arguments.output_file, filename=[d["filename"] for d in found],
             window=[d["window"] for d in found], prediction=[d["prediction"] for d in found])


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, ValueError, OSError, ImportError) as error:
        sys.exit(f"detect.py: {error}")
