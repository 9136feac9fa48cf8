"""Caffe for Python: nets, solvers, layers written in Python, and their tools.

Arrays of blobs and parameters are views of the memory that the net computes
with. Mistakes are caffe.Error with file, line and layer; nothing aborts the
interpreter, and Ctrl-C ends a solver's solve() and step().
"""
import os as _os

# OpenMP reads this when it is loaded: threads that wait must not spin while
# Python runs.
_os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Imported from the sources (PYTHONPATH=worker/python): the module is the build's.
_here = _os.path.dirname(_os.path.abspath(__file__))
if not any(name.startswith("_caffe.") and name.endswith(".so") for name in _os.listdir(_here)):
    _build = _os.environ.get("CSSP_BUILD_DIR") or _os.path.join(_here, *[".."] * 3, "build")
    __path__.append(_os.path.join(_os.path.abspath(_build), "python", "caffe"))

from .errors import Error
from ._caffe import (__version__, init_log, layer_type_list, log, set_device,
                     set_mode_cpu, set_mode_gpu, set_num_threads,
                     set_random_seed)
from .proto.caffe_pb2 import TEST, TRAIN
from .pycaffe import (NCCL, AdaDeltaSolver, AdaGradSolver, AdamSolver, Blob,
                      Layer, Net, NesterovSolver, RMSPropSolver, SGDSolver,
                      Solver, Timer, get_solver, has_nccl, set_multiprocess,
                      set_solver_count, set_solver_rank, solver_count,
                      solver_rank)
from .net_spec import NetSpec, layers, params, to_proto
from .classifier import Classifier
from .detector import Detector
from . import io, ps

__all__ = [
    "AdaDeltaSolver", "AdaGradSolver", "AdamSolver", "Blob", "Classifier",
    "Detector", "Error", "Layer", "NCCL", "NesterovSolver", "Net", "NetSpec",
    "RMSPropSolver", "SGDSolver", "Solver", "TEST", "TRAIN", "Timer",
    "get_solver", "has_nccl", "init_log", "io", "layer_type_list", "layers",
    "log", "params", "ps", "set_device", "set_mode_cpu", "set_mode_gpu",
    "set_multiprocess", "set_num_threads", "set_random_seed",
    "set_solver_count", "set_solver_rank", "solver_count", "solver_rank",
    "to_proto",
]
