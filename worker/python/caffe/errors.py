"""The exception that what goes wrong inside a net or a solver becomes."""
import re
import sys
import traceback

_PLACE = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):(?:\d+:)? ")
_FILE = re.compile(r"^(?P<file>[^:'\n]+): ")
_LAYER = re.compile(r"layer '(?P<layer>[^']*)'")


class Error(RuntimeError):
    """A mistake in a prototxt, a file that does not fit, a net used wrongly.

    code        the kind: INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED, ...
    file, line  where the mistake is, or None
    layer       the layer's name, or None
    """

    def __init__(self, message, code="UNKNOWN", file=None, line=None, layer=None):
        super().__init__(message)
        self.code = code
        self.file = file
        self.line = line
        self.layer = layer


def one_line(error, trace, module=""):
    """'layers.py:31: ValueError: text' for what was raised: the last place in
    `module`'s file that it came through, else where it was raised."""
    frames = traceback.extract_tb(trace)
    file = getattr(sys.modules.get(module), "__file__", None)
    own = [frame for frame in frames if frame.filename == file] or frames
    place = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}:{error.lineno}: "
    text = " ".join([f"{type(error).__name__}:", *str(error).split()])
    if isinstance(error, ModuleNotFoundError) and error.name == module:
        text += "; is its folder in PYTHONPATH?"
    return place + text[:1000].rstrip(":")


def from_status(code, message):
    """The exception for a status of the engine: places are in its message."""
    place = _PLACE.match(message) or _FILE.match(message)
    found = place.groupdict() if place else {}
    layer = _LAYER.search(message)
    file = found.get("file")
    if file is not None and file.startswith("layer "):
        file = None
    return Error(message, code, file,
                 int(found["line"]) if found.get("line") else None,
                 layer.group("layer") if layer else None)
