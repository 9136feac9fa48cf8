"""Net, solvers and layers: the extension module's classes made comfortable."""
import time
from collections import OrderedDict
from itertools import zip_longest

import numpy as np

from . import _caffe
from ._caffe import Blob, Net, Solver
from .errors import Error


# ---- looking into a net ----

def _cached(name, make):
    """A property that is made when it is first asked for."""
    attribute = "_cached_" + name

    def get(self):
        if not hasattr(self, attribute):
            setattr(self, attribute, make(self))
        return getattr(self, attribute)

    return property(get)


def _make_params(self):
    found = ((name, self._layer_params(i)) for i, name in enumerate(self._layer_names))
    return OrderedDict((name, blobs) for name, blobs in found if blobs)


def _by_layer(names_of):
    def make(self):
        return OrderedDict((name, names_of(self, i))
                           for i, name in enumerate(self._layer_names))
    return make


def _no_device_pointer(_):
    # Not an AttributeError: hasattr would hide what to do instead.
    raise Error("blobs are seen through host memory; there is no device pointer to them: "
                "take .data or .diff, or DLPack", code="UNIMPLEMENTED")


Blob._gpu_data_ptr = property(_no_device_pointer)
Blob._gpu_diff_ptr = property(_no_device_pointer)

Net.blobs = _cached("blobs", Net._blobs)
Net.blobs.__doc__ = "Blobs by name, in the net's order."
Net.params = _cached("params", _make_params)
Net.params.__doc__ = "Parameter blobs by layer: 0 is the weights, 1 the bias."
Net.layers = _cached("layers", lambda self: [self._layer(i) for i in range(len(self._layer_names))])
Net.layer_dict = _cached("layer_dict",
                         lambda self: OrderedDict(zip(self._layer_names, self.layers)))
Net.top_names = _cached("top_names", _by_layer(Net._tops))
Net.bottom_names = _cached("bottom_names", _by_layer(Net._bottoms))
Net.blob_loss_weights = _cached(
    "blob_loss_weights", lambda self: OrderedDict(
        (name, self._loss_weight(name)) for name in self._blob_names))


def _to_proto(self, diffs=False):
    """The net with its parameters as a NetParameter."""
    from .proto import caffe_pb2
    return caffe_pb2.NetParameter.FromString(self._net_parameter(diffs))


Net.to_proto = _to_proto


# ---- running it ----

def _layer_index(net, name):
    names = list(net._layer_names)
    if name not in names:
        raise ValueError(f"the net has no layer '{name}': it has {', '.join(names)}")
    return names.index(name)


def _fill(net, names, values, what, side):
    """Copies arrays into the data (or diff) of the blobs that `names` lists."""
    if set(values) != set(names):
        raise ValueError(f"{what} {sorted(values)} do not match the net's, {sorted(names)}")
    for name, value in values.items():
        blob = net.blobs[name]
        value = np.asarray(value)
        if value.ndim == 0 or blob.shape and value.shape[0] != blob.shape[0]:
            raise ValueError(f"{what[:-1]} '{name}' has shape {value.shape}: "
                             f"the first axis must be the batch's, {blob.shape[0]}")
        getattr(blob, side)[...] = value


def _forward(self, blobs=None, start=None, end=None, **kwargs):
    """Runs the net, or its layers `start` to `end` (both included).

    kwargs: input blobs' values. Gives {name: data} of the outputs (with `end`,
    of that layer's tops) and of the `blobs` named. The arrays are views: copy
    what must outlive the next pass.
    """
    first = _layer_index(self, start) if start is not None else 0
    last = _layer_index(self, end) if end is not None else len(self._layer_names) - 1
    wanted = self.top_names[end] if end is not None else self.outputs
    if kwargs:
        _fill(self, self.inputs, kwargs, "inputs", "data")
    self._forward(first, last)
    return {name: self.blobs[name].data for name in set(wanted) | set(blobs or ())}


def _backward(self, diffs=None, start=None, end=None, **kwargs):
    """Runs the net backward, or its layers `start` down to `end` (included).

    kwargs: output blobs' gradients. Gives {name: diff} of the inputs (with
    `end`, of that layer's bottoms) and of the `diffs` named.
    """
    last = _layer_index(self, start) if start is not None else len(self._layer_names) - 1
    first = _layer_index(self, end) if end is not None else 0
    wanted = self.bottom_names[end] if end is not None else self.inputs
    if kwargs:
        _fill(self, self.outputs, kwargs, "top diffs", "diff")
    self._backward(last, first)
    return {name: self.blobs[name].diff for name in set(wanted) | set(diffs or ())}


def _batches(net, values):
    """Cuts arrays into batches of the net's size; the last is filled with zeros."""
    size = next(iter(net.blobs.values())).shape[0]
    for start in range(0, len(next(iter(values.values()))), size):
        batch = {}
        for name, value in values.items():
            part = np.asarray(value[start:start + size])
            missing = size - len(part)
            if missing:
                part = np.concatenate([part, np.zeros((missing,) + part.shape[1:], part.dtype)])
            batch[name] = part
        yield batch


def _collect(results, count):
    """One array a name out of the batches' (copied) arrays, less the padding."""
    return {name: np.concatenate([batch[name] for batch in results])[:count]
            for name in (results[0] if results else ())}


def _copied(arrays):
    return {name: array.copy() if array.ndim else array.copy().reshape(1)
            for name, array in arrays.items()}


def _forward_all(self, blobs=None, **kwargs):
    """Runs any number of inputs, batch by batch. Gives {name: array}."""
    count = len(next(iter(kwargs.values())))
    results = [_copied(self.forward(blobs=blobs, **batch))
               for batch in _batches(self, kwargs)]
    return _collect(results, count)


def _forward_backward_all(self, blobs=None, diffs=None, **kwargs):
    """As forward_all, and backward. kwargs name inputs and output gradients.
    Gives ({name: data}, {name: diff})."""
    inputs = {name: kwargs[name] for name in self.inputs if name in kwargs}
    seeds = {name: value for name, value in kwargs.items() if name not in inputs}
    count = len(next(iter(kwargs.values())))
    datas, gradients = [], []
    for forward, backward in zip_longest(_batches(self, inputs) if inputs else (),
                                         _batches(self, seeds) if seeds else (), fillvalue={}):
        datas.append(_copied(self.forward(blobs=blobs, **forward)))
        gradients.append(_copied(self.backward(diffs=diffs, **backward)))
    return _collect(datas, count), _collect(gradients, count)


def _set_input_arrays(self, data, labels):
    """What a MemoryData layer, the net's first, gives from now on: float32,
    kept as long as the net reads them."""
    self._set_input_arrays(np.ascontiguousarray(data, np.float32),
                           np.ascontiguousarray(labels, np.float32))


Net.set_input_arrays = _set_input_arrays
Net.forward = _forward
Net.backward = _backward
Net.forward_all = _forward_all
Net.forward_backward_all = _forward_backward_all


# ---- layers written in Python ----

class Layer:
    """Base of layers of type "Python". The net sets, before __init__:

    param_str  python_param's, as it is
    phase      caffe.TRAIN or caffe.TEST
    name       the layer's
    blobs      parameters; setup() may add some by blobs.add_blob(*shape) and
               fill them through blobs[i].data

    A parameter's diff is to be added to (+=); a bottom's is to be set.
    """

    def setup(self, bottom, top):
        """Once, when the net is made: checks the layer's use."""

    def reshape(self, bottom, top):
        """Before each forward: gives every top its shape."""
        raise NotImplementedError(f"{type(self).__name__}.reshape(bottom, top)")

    def forward(self, bottom, top):
        raise NotImplementedError(f"{type(self).__name__}.forward(bottom, top)")

    def backward(self, top, propagate_down, bottom):
        raise NotImplementedError(
            f"{type(self).__name__}.backward(top, propagate_down, bottom)")


# ---- solvers ----

def _solver_class(name, text):
    def init(self, solver_file):
        Solver.__init__(self, solver_file, name)

    return type(f"{name}Solver", (Solver,), {"__init__": init, "__doc__": text})


SGDSolver = _solver_class("SGD", "Stochastic gradient descent with momentum.")
NesterovSolver = _solver_class("Nesterov", "Nesterov's accelerated gradient.")
AdaGradSolver = _solver_class("AdaGrad", "AdaGrad.")
RMSPropSolver = _solver_class("RMSProp", "RMSProp.")
AdaDeltaSolver = _solver_class("AdaDelta", "AdaDelta.")
AdamSolver = _solver_class("Adam", "Adam.")
_SOLVERS = {c.__name__[:-len("Solver")]: c
            for c in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver,
                      AdaDeltaSolver, AdamSolver)}


def get_solver(solver_file):
    """The solver that a solver's prototxt (or SolverParameter) asks for."""
    return _SOLVERS.get(_caffe._solver_type(solver_file), Solver)(solver_file)


# ---- time, and one process's place among several ----

class Timer:
    """Wall time between start() and stop(), in milliseconds."""

    def __init__(self):
        self._start = self._stop = None

    def start(self):
        self._start, self._stop = time.perf_counter(), None

    def stop(self):
        self._stop = time.perf_counter()

    @property
    def ms(self):
        if self._start is None:
            return 0.0
        end = self._stop if self._stop is not None else time.perf_counter()
        return (end - self._start) * 1e3


class _Place:
    count, rank, multiprocess = 1, 0, False


def solver_count():
    return _Place.count


def set_solver_count(count):
    _Place.count = int(count)


def solver_rank():
    return _Place.rank


def set_solver_rank(rank):
    _Place.rank = int(rank)


def set_multiprocess(multiprocess):
    """Kept for old programs: every worker is a process of its own here."""
    _Place.multiprocess = bool(multiprocess)


def has_nccl():
    """False: workers meet in a parameter service (caffe.ps), not in NCCL."""
    return False


class NCCL:
    """Not here: see has_nccl."""

    def __init__(self, solver, uid):
        raise RuntimeError("NCCL is not used from Python: start one worker per "
                           "GPU, which meet in a ps-server")

    @staticmethod
    def new_uid():
        raise RuntimeError("NCCL is not used from Python")
