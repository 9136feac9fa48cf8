"""Caffe's command line for nets with layers in Python: python3 -m caffe train|test|time.

The `caffe` program hands such nets over by itself. Flags, log lines and exit codes
are its own; what it has for jobs of several processes is in caffe.ps."""
import argparse
import os
import pathlib
import signal
import sys
import time

from google.protobuf import text_format

import caffe

EFFECTS = ("snapshot", "stop", "none")


class Stopped(Exception):
    """A signal asked for the end of training."""


class Actions:
    """What signals ask for, done where an iteration begins."""

    def __init__(self, sigint, sighup):
        self.asked = set()
        for number, effect in ((signal.SIGINT, sigint), (signal.SIGHUP, sighup)):
            signal.signal(number, lambda *_, effect=effect: self.asked.add(effect))

    def attach(self, solver):
        def begin():
            if "snapshot" in self.asked:
                solver.snapshot()
            stop = "stop" in self.asked
            self.asked.clear()
            if stop:
                raise Stopped
        solver.add_callback(begin, None)


def parse_arguments(argv):
    parser = argparse.ArgumentParser(prog="caffe", description=__doc__, allow_abbrev=False)
    parser.add_argument("action", choices=["train", "test", "time"])

    def add(name, **options):
        parser.add_argument("--" + name, "-" + name, **options)

    for name, text in (("solver", "the solver definition (prototxt)"),
                       ("model", "the model definition (prototxt)"),
                       ("snapshot", "the .solverstate to resume from"),
                       ("weights", "trained weights (.caffemodel), separated by ','"),
                       ("stage", "network stages, separated by ','"),
                       ("gpu", "GPU to run on: a device number")):
        add(name, default="", help=text)
    add("phase", choices=["TRAIN", "TEST"], help="time: network phase")
    add("level", type=int, default=0, help="network level")
    add("iterations", type=int, default=50, help="test, time: batches to run")
    add("sigint_effect", choices=EFFECTS, default="stop", help="on SIGINT")
    add("sighup_effect", choices=EFFECTS, default="snapshot", help="on SIGHUP")
    add("threads", type=int, default=0, help="compute threads; 0: all cores")
    flags = parser.parse_args(argv)
    if flags.gpu and not flags.gpu.isdigit():
        parser.error("--gpu must be a device number for a net with layers in Python")
    return flags


def use_device(flags, wanted=False, ordinal=0):
    """The GPU of --gpu, or of the solver where there is one, or the CPU."""
    caffe.set_num_threads(flags.threads)
    if flags.gpu:
        caffe.set_device(int(flags.gpu))
        caffe.set_mode_gpu()
    elif wanted:
        try:
            caffe.set_device(ordinal)
            caffe.set_mode_gpu()
        except caffe.Error as error:
            caffe.log(f"solver_mode is GPU: {error}; going on on the CPU")


def stages(flags):
    return [stage for stage in flags.stage.split(",") if stage]


def read_solver(flags):
    """The solver as its file, unless flags change it, and as a message."""
    if not flags.solver:
        raise ValueError("Need a solver definition to train: --solver")
    if flags.snapshot and flags.weights:
        raise ValueError("Give a snapshot to resume training or weights to finetune but not both")
    param = caffe.proto.caffe_pb2.SolverParameter()
    text_format.Parse(pathlib.Path(flags.solver).read_text(), param)
    if not param.snapshot_prefix:
        param.snapshot_prefix = str(pathlib.Path(flags.solver).with_suffix(""))
    replaces_weights = bool(param.weights and (flags.snapshot or flags.weights))
    if not (flags.level or flags.stage or replaces_weights):
        return flags.solver, param
    param.train_state.level = flags.level
    param.train_state.stage.extend(stages(flags))
    if replaces_weights:
        param.ClearField("weights")
    return param, param


def train(flags):
    source, param = read_solver(flags)
    actions = Actions(flags.sigint_effect, flags.sighup_effect)
    use_device(flags, param.solver_mode == param.GPU, param.device_id)
    solver = caffe.get_solver(source)
    actions.attach(solver)
    if flags.snapshot:
        solver.restore(flags.snapshot)
    for path in flags.weights.split(",") if flags.weights else []:
        solver.net.copy_from(path)
    caffe.log("Starting Optimization")
    try:
        solver.solve()
    except Stopped:
        if param.snapshot_after_train:
            solver.snapshot()
        caffe.log("Optimization stopped early.")
    caffe.log("Optimization Done.")


def make_net(flags, phase):
    if not flags.model:
        raise ValueError(f"Need a model definition to {flags.action}: --model")
    use_device(flags)
    net = caffe.Net(flags.model, phase, level=flags.level, stages=stages(flags))
    for path in flags.weights.split(",") if flags.weights else []:
        net.copy_from(path)
    return net


def test(flags):
    if not flags.weights:
        raise ValueError("Need model weights to score: --weights")
    net = make_net(flags, caffe.TEST)
    caffe.log(f"Running for {flags.iterations} iterations.")
    sums = {}
    for batch in range(flags.iterations):
        for name, value in net.forward().items():
            for i, element in enumerate(value.ravel()):
                caffe.log(f"Batch {batch}, {name} = {element:g}")
                sums[name, i] = sums.get((name, i), 0) + float(element) / flags.iterations
    weights = net.blob_loss_weights
    caffe.log(f"Loss: {sum(weights[name] * mean for (name, _), mean in sums.items()):g}")
    for (name, _), mean in sums.items():
        weight = weights[name]
        loss = f" (* {weight:g} = {weight * mean:g} loss)" if weight else ""
        caffe.log(f"{name} = {mean:g}{loss}")


def time_net(flags):
    net = make_net(flags, caffe.TEST if flags.phase == "TEST" else caffe.TRAIN)
    spent = {"forward": {}, "backward": {}}
    began = [0.0]

    def begin(_):
        began[0] = time.perf_counter()

    for direction, before, after in (("forward", net.before_forward, net.after_forward),
                                     ("backward", net.before_backward, net.after_backward)):
        def end(layer, layers=spent[direction]):
            layers[layer] = layers.get(layer, 0) + time.perf_counter() - began[0]
        before(begin)
        after(end)
    net.forward()
    net.backward()
    for layers in spent.values():
        layers.clear()
    caffe.log("*** Benchmark begins ***")
    caffe.log(f"Testing for {flags.iterations} iterations.")
    start = time.perf_counter()
    for _ in range(flags.iterations):
        net.forward()
        net.backward()
    total = (time.perf_counter() - start) * 1000
    caffe.log("Average time per layer: ")
    scale = 1000 / flags.iterations
    for i, name in enumerate(net._layer_names):
        for direction, layers in spent.items():
            caffe.log(f"{name:>10}\t{direction}: {layers.get(i, 0) * scale:g} ms.")
    for direction, layers in spent.items():
        caffe.log(f"Average {direction.capitalize()} pass: {sum(layers.values()) * scale:g} ms.")
    caffe.log(f"Average Forward-Backward: {total / flags.iterations:g} ms.")
    caffe.log(f"Total Time: {total:g} ms.")
    caffe.log("*** Benchmark ends ***")


def main():
    flags = parse_arguments(sys.argv[1:])
    if flags.action == "train" and int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
        sys.exit("caffe: a net with layers in Python trains in a job of Python workers: "
                 "psctl submit --launch none, and caffe.ps.solver in each")
    caffe.init_log()
    try:
        {"train": train, "test": test, "time": time_net}[flags.action](flags)
    except (RuntimeError, OSError, ValueError, text_format.ParseError) as error:
        print(f"caffe: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
