"""How coordinates of one top map to those of another, and the Crop that aligns
them: for fully convolutional nets made with NetSpec.

A map is (axis, a, b): coordinate x becomes a x + b, on all axes behind `axis`;
None as axis: on every one.
"""
import numpy as np

from .net_spec import layers as L

# Layers that leave coordinates as they are.
PASS_THROUGH_LAYERS = frozenset((
    "AbsVal", "BatchNorm", "Bias", "BNLL", "Clip", "Dropout", "Eltwise", "ELU", "Exp", "Log",
    "LRN", "MVN", "Power", "PReLU", "ReLU", "ReLU6", "Scale", "Sigmoid", "Split", "Swish",
    "TanH", "Threshold"))

_IDENTITY = (None, 1, 0)


class UndefinedMapException(Exception):
    """A layer whose coordinates have no linear map."""


class AxisMismatchException(Exception):
    """Maps of different axes."""


class CropError(AssertionError):
    """Tops that no crop can align."""


def _param(fn, name):
    return fn.params.get(name, fn.params)


def _extents(param, name, default, stem=None):
    """A field given once, per axis, or as STEM_h and STEM_w."""
    stem = stem or name
    if f"{stem}_h" in param or f"{stem}_w" in param:
        return np.array([param.get(f"{stem}_h", default), param.get(f"{stem}_w", default)])
    return np.array(param.get(name, default), ndmin=1)


def conv_params(fn):
    """axis, stride, kernel (dilated) and pad of a sliding window's layer."""
    if fn.type_name == "Pooling":
        param = _param(fn, "pooling_param")
    else:
        param = _param(fn, "convolution_param")
    kernel = _extents(param, "kernel_size", 1, "kernel")
    kernel = (kernel - 1) * np.array(param.get("dilation", 1), ndmin=1) + 1
    return (param.get("axis", 1), _extents(param, "stride", 1), kernel,
            _extents(param, "pad", 0))


def crop_params(fn):
    """axis and offset of a Crop."""
    param = _param(fn, "crop_param")
    return param.get("axis", 2), np.array(param.get("offset", 0), ndmin=1)


def coord_map(fn):
    """Where a layer puts coordinates: from its first bottom's to its top's."""
    if fn.type_name in ("Convolution", "DepthwiseConvolution", "Pooling", "Im2col"):
        axis, stride, kernel, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (kernel - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, kernel, pad = conv_params(fn)
        return axis, stride, (kernel - 1) / 2 - pad
    if fn.type_name in PASS_THROUGH_LAYERS:
        return _IDENTITY
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset  # a map's axis is the one before
    raise UndefinedMapException(fn.type_name)


def compose(base_map, next_map):
    """First next_map, then base_map."""
    axis1, a1, b1 = base_map
    axis2, a2, b2 = next_map
    if axis1 is not None and axis2 is not None and axis1 != axis2:
        raise AxisMismatchException(f"axes {axis1} and {axis2}")
    return (axis2 if axis1 is None else axis1), a1 * a2, a1 * b2 + b1


def inverse(coord_map):
    axis, a, b = coord_map
    return axis, 1 / a, -b / a


def _walk(top):
    """Yields (ancestor, map from it to `top`) for `top` and what it is made of,
    nearest first, as far as maps are defined."""
    maps, frontier = {top: _IDENTITY}, [top]
    while frontier:
        here = frontier.pop(0)
        yield here, maps[here]
        # A crop's second bottom only gives a size.
        bottoms = here.fn.inputs[:1] if here.fn.type_name == "Crop" else here.fn.inputs
        try:
            for bottom in bottoms:
                if bottom not in maps:
                    maps[bottom] = compose(maps[here], coord_map(here.fn))
                    frontier.append(bottom)
        except UndefinedMapException:
            pass


def coord_map_from_to(top_from, top_to):
    """Where coordinates of top_from lie in top_to; they have an ancestor in
    common."""
    from_maps = dict(_walk(top_from))
    for top, to_map in _walk(top_to):
        if top in from_maps:
            return compose(to_map, inverse(from_maps[top]))
    raise RuntimeError("the tops have no ancestor in common by layers whose "
                       "coordinates are known")


def crop(top_from, top_to):
    """A Crop of top_from that aligns it with top_to, whose size it takes."""
    axis, a, b = coord_map_from_to(top_from, top_to)
    a, b = np.asarray(a), np.asarray(b, float)
    if not (a == 1).all():
        raise CropError(f"scale mismatch on crop (a = {a})")
    if not (b <= 0).all():
        raise CropError(f"cannot crop negative offset (b = {b})")
    if not (np.round(b) == b).all():
        raise CropError(f"cannot crop noninteger offset (b = {b})")
    offset = [int(value) for value in np.atleast_1d(-np.round(b))]
    return L.Crop(top_from, top_to,
                  crop_param=dict(axis=(1 if axis is None else axis) + 1, offset=offset))
