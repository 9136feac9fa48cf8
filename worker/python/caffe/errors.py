"""The exception that what goes wrong inside a net or a solver becomes."""
import re

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
