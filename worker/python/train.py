#!/usr/bin/python3
"""Trains a solver from Python, so that Python layers work: on the CPU, or on one
GPU. Several GPUs or hosts: one worker each, which meet in a ps-server (see
README.md, "A worker of a job")."""
import argparse
import sys
from collections import defaultdict

import caffe


def add_timing(solver):
    """Prints each layer's milliseconds, means since the last time, every
    `display` iterations."""
    net = solver.net
    spent = {"forward": defaultdict(float), "backward": defaultdict(float)}
    timer, total, count = caffe.Timer(), caffe.Timer(), [0]

    def stop(direction):
        def after(layer):
            timer.stop()
            spent[direction][layer] += timer.ms
        return after

    def report():
        count[0] += 1
        if not solver.param.display or solver.iter % solver.param.display:
            return
        total.stop()
        lines = [f"{name:<24} {layer.type:<20} forward {spent['forward'][i] / count[0]:8.3f} ms, "
                 f"backward {spent['backward'][i] / count[0]:8.3f} ms"
                 for i, (name, layer) in enumerate(net.layer_dict.items())]
        caffe.log("\n".join([f"Iteration {solver.iter}, {count[0]} timed"] + lines +
                            [f"whole iteration {total.ms / count[0]:.3f} ms"]))
        for times in spent.values():
            times.clear()
        count[0] = 0
        total.start()

    for before, after, direction in ((net.before_forward, net.after_forward, "forward"),
                                     (net.before_backward, net.after_backward, "backward")):
        before(lambda layer: timer.start())
        after(stop(direction))
    total.start()
    solver.add_callback(None, report)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--solver", required=True, help="solver's prototxt")
    parser.add_argument("--snapshot", help=".solverstate to go on from")
    parser.add_argument("--gpus", type=int, nargs="*", default=[], help="device; none: the CPU")
    parser.add_argument("--timing", action="store_true", help="time every layer")
    arguments = parser.parse_args(argv)
    if len(arguments.gpus) > 1:
        parser.error("one GPU a process: start a worker of a job for each")
    caffe.init_log()
    if arguments.gpus:
        caffe.set_device(arguments.gpus[0])
        caffe.set_mode_gpu()
    solver = caffe.get_solver(arguments.solver)
    if arguments.snapshot:
        solver.restore(arguments.snapshot)
    if arguments.timing:
        add_timing(solver)
    solver.solve()


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as error:
        sys.exit(f"train.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
