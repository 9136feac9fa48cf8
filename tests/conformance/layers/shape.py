"""Layers that move, copy, select or fold elements."""
import numpy as np

from case import Case
from norm import per_channel
from values import away_from, distinct, labels, normal


def concat_case(name, text, shapes, axis, later=None):
    sets = [shapes] + ([later] if later else [])
    steps = [[normal(*s, seed=i + 10 * j) for i, s in enumerate(group)]
             for j, group in enumerate(sets)]
    return Case(name, f"concat_param {{ {text} }}", steps,
                lambda bottoms, params: [np.concatenate(bottoms, axis)])


def slice_case(name, text, shape, axis, points, later=()):
    steps = [[normal(*s, seed=i)] for i, s in enumerate((shape, *later))]
    if isinstance(points, int):
        tops, cut = points, lambda x: np.split(x, points, axis)
    else:
        tops, cut = len(points) + 1, lambda x: np.split(x, points, axis)
    return Case(name, f"slice_param {{ {text} }}", steps,
                lambda bottoms, params: cut(bottoms[0]), tops=tops)


def crop_case(name, text, shape, size, axis, offsets):
    def crop(bottoms, params):
        x, like = bottoms
        cut = [slice(None)] * x.ndim
        for i in range(axis % x.ndim, x.ndim):
            k = i - axis % x.ndim
            offset = offsets[k if len(offsets) > 1 else 0] if offsets else 0
            cut[i] = slice(offset, offset + like.shape[i])
        return [x[tuple(cut)]]
    return Case(name, f"crop_param {{ {text} }}", [[normal(*shape), normal(*size, seed=1)]], crop,
                flows=[True, False])


def view_case(name, text, shapes, reference):
    return Case(name, text, [[normal(*s)] for s in shapes],
                lambda bottoms, params: [reference(bottoms[0])], net_only=True)


def reshape_case(name, dims, shapes, result, extra=""):
    text = " ".join(f"dim: {d}" for d in dims)
    return view_case(name, f"reshape_param {{ shape {{ {text} }} {extra} }}", shapes,
                     lambda x: x.reshape(result(x.shape)))


def eltwise_case(name, text, function, shapes=((2, 3, 4, 5),), bottoms=3, make=normal, torch=None):
    def all_distinct(shape, seed):
        # One draw for all bottoms, so that no maximum is a tie.
        return list(distinct(bottoms, *shape, seed=seed))
    steps = [all_distinct(s, i) if make is distinct else
             [normal(*s, seed=10 * i + j) for j in range(bottoms)] for i, s in enumerate(shapes)]
    return Case(name, f"eltwise_param {{ {text} }}", steps,
                lambda b, params: [function(np.stack(b))])


def weighted(*coefficients):
    return lambda x: np.tensordot(np.array(coefficients), x, 1)


OPERATIONS = {
    "SUM": lambda x, axes: x.sum(axes),
    "ASUM": lambda x, axes: np.abs(x).sum(axes),
    "SUMSQ": lambda x, axes: (x ** 2).sum(axes),
    "MEAN": lambda x, axes: x.mean(axes),
}


def reduction_case(operation, axis, coeff, shapes):
    def reduce(bottoms, params):
        x = bottoms[0]
        axes = tuple(range(axis % x.ndim, x.ndim))
        return [coeff * OPERATIONS[operation](x, axes)]
    text = f"reduction_param {{ operation: {operation} axis: {axis} coeff: {coeff} }}"
    return Case(f"{operation} from axis {axis}, coeff {coeff}", text,
                [[away_from(normal(*s, seed=i), 0)] for i, s in enumerate(shapes)], reduce)


def reductions():
    four = ((2, 3, 4, 5), (1, 2, 3, 3))
    return [reduction_case(op, axis, coeff, shapes)
            for op in OPERATIONS
            for axis, coeff, shapes in ((0, 1, four), (1, 2.3, four), (2, 0.5, four),
                                        (-1, 1, ((3, 4),)), (0, -1.5, ((6,),)))]


def argmax(top_k, axis, values):
    """Indices of the largest entries, largest first; over each flattened item where
    there is no axis, and then index and value lie on axis 1."""
    def run(bottoms, params):
        x = bottoms[0]
        if axis is None:
            flat = x.reshape(x.shape[0], -1)
            order = np.argsort(-flat, axis=1)[:, :top_k]
            parts = [order] + ([np.take_along_axis(flat, order, 1)] if values else [])
            y = np.stack(parts, axis=1).astype(float)
            return [y.reshape(y.shape + (1,) * (max(x.ndim, 3) - 3))]
        order = np.take(np.argsort(-x, axis=axis), np.arange(top_k), axis)
        return [np.take_along_axis(x, order, axis) if values else order.astype(float)]
    return run


def argmax_case(top_k, axis, values, shapes):
    text = f"argmax_param {{ top_k: {top_k} out_max_val: {str(values).lower()}"
    text += " }" if axis is None else f" axis: {axis} }}"
    return Case(f"top {top_k}, axis {axis}, values {values}", text,
                [[distinct(*s)] for s in shapes], argmax(top_k, axis, values), backward=False)


def tile_case(name, axis, tiles, shapes):
    def tile(bottoms, params):
        x = bottoms[0]
        return [np.concatenate([x] * tiles, axis)]
    return Case(name, f"tile_param {{ axis: {axis} tiles: {tiles} }}",
                [[normal(*s)] for s in shapes], tile)


def reindex_case(name, shape, indices):
    return Case(name, "", [[normal(*shape), np.array(indices, np.float32)]],
                lambda b, params: [b[0][b[1].astype(int)]], flows=[True, False])


def filter_case(name, shapes, selectors):
    """Keeps the items whose selector is not 0, of every bottom but the last."""
    steps = [[normal(len(s), *shape, seed=10 * j + i) for i, shape in enumerate(shapes)] +
             [np.array(s, np.float32)] for j, s in enumerate(selectors)]
    return Case(name, "", steps,
                lambda b, params: [x[b[-1].reshape(-1) != 0] for x in b[:-1]],
                tops=len(shapes), flows=[True] * len(shapes) + [False], layer_only=True)


def permute_case(name, order, shapes):
    text = " ".join(f"order: {o}" for o in order)

    def permute(bottoms, params):
        x = bottoms[0]
        rest = [i for i in range(x.ndim) if i not in order]
        return [x.transpose([*order, *rest])]
    return Case(name, f"permute_param {{ {text} }}", [[normal(*s)] for s in shapes], permute)


def shuffle_channel(group):
    """Channels seen as group x C/group, transposed."""
    def run(bottoms, params):
        x = bottoms[0]
        n, c, *rest = x.shape
        return [x.reshape(n, group, c // group, *rest).swapaxes(1, 2).reshape(x.shape)]
    return run


def torch_shuffle(group):
    def run(bottoms, params):
        # Debian's torch has no derivative of its own channel_shuffle.
        x = bottoms[0]
        grouped = x.reshape(len(x), group, x.shape[1] // group, *x.shape[2:])
        return [grouped.transpose(1, 2).reshape(x.shape)]
    return run


def upsample(scale):
    return lambda bottoms, params: [bottoms[0].repeat(scale, 2).repeat(scale, 3)]


def torch_interpolate(mode, **options):
    def run(bottoms, params):
        import torch
        return [torch.nn.functional.interpolate(bottoms[0], mode=mode, **options)]
    return run


def bilinear(x, height, width):
    """Corners meet corners: row q reads q (H - 1) / (height - 1)."""
    def weights(n, m):
        w = np.zeros((m, n))
        for q in range(m):
            at = q * (n - 1) / (m - 1) if m > 1 else 0.0
            low = min(int(at), n - 1)
            high = min(low + 1, n - 1)
            w[q, low] += 1 - (at - low)
            w[q, high] += at - low
        return w
    return np.einsum("ph,qw,nchw->ncpq", weights(x.shape[2], height), weights(x.shape[3], width), x)


def interp_case(name, text, shapes, size, crop=(0, 0), torch=True):
    """size(n) is the new extent of one that is n after cropping."""
    def interp(bottoms, params):
        x = bottoms[0]
        x = x[:, :, crop[0]:x.shape[2] - crop[1], crop[0]:x.shape[3] - crop[1]]
        return [bilinear(x, size(x.shape[2], 0), size(x.shape[3], 1))]

    def by_torch(bottoms, params):
        import torch as t
        x = bottoms[0]
        return [t.nn.functional.interpolate(x, (size(x.shape[2], 0), size(x.shape[3], 1)),
                                            mode="bilinear", align_corners=True)]
    return Case(name, f"interp_param {{ {text} }}", [[normal(*s, seed=i)] for i, s in
                                                     enumerate(shapes)], interp,
                torch=by_torch if torch and crop == (0, 0) else None)


def axpy(bottoms, params):
    a, x, y = bottoms
    return [a.reshape(a.shape[0], a.shape[1], 1, 1) * x + y]


CASES = {
    "Concat": [
        concat_case("channels", "", [(2, 3, 4, 5), (2, 5, 4, 5), (2, 1, 4, 5)], 1,
                    [(1, 2, 3, 3), (1, 4, 3, 3), (1, 1, 3, 3)]),
        concat_case("whole blocks", "", [(2, 16, 3, 2), (2, 32, 3, 2)], 1),
        concat_case("items", "axis: 0", [(2, 3, 2, 2), (4, 3, 2, 2)], 0),
        concat_case("last axis", "axis: -1", [(2, 3, 4), (2, 3, 2)], -1),
        concat_case("concat_dim", "concat_dim: 0", [(2, 3, 2, 2), (1, 3, 2, 2)], 0),
        concat_case("one bottom", "", [(2, 3, 4, 5)], 1),
    ],
    "Slice": [
        slice_case("equal parts", "", (2, 6, 3, 4), 1, 3, [(1, 9, 2, 2)]),
        slice_case("points", "slice_point: 1 slice_point: 4", (2, 6, 3, 4), 1, (1, 4)),
        slice_case("whole blocks", "slice_point: 16", (2, 32, 2, 3), 1, (16,)),
        slice_case("items", "axis: 0", (6, 3, 2, 2), 0, 2),
        slice_case("last axis", "axis: -1 slice_point: 2", (2, 3, 5), -1, (2,)),
        slice_case("slice_dim", "slice_dim: 0", (4, 3, 2, 2), 0, 2),
        slice_case("one top", "", (2, 6, 3, 4), 1, 1),
    ],
    "Crop": [
        crop_case("offsets", "axis: 2 offset: 1 offset: 2", (2, 3, 6, 7), (2, 3, 4, 3), 2, (1, 2)),
        crop_case("one offset", "axis: 2 offset: 1", (2, 3, 6, 7), (2, 3, 4, 3), 2, (1,)),
        crop_case("no offset, default axis", "", (2, 3, 5, 6), (1, 1, 3, 4), 2, ()),
        crop_case("all axes", "axis: 0 offset: 1", (3, 4, 5, 6), (2, 3, 2, 4), 0, (1,)),
        crop_case("channels on", "axis: 1 offset: 2 offset: 0 offset: 1", (2, 5, 3, 4),
                  (2, 2, 3, 2), 1, (2, 0, 1)),
        crop_case("five axes", "axis: 2 offset: 1", (1, 2, 4, 4, 3), (1, 2, 2, 3, 2), 2, (1,)),
        crop_case("negative axis", "axis: -1 offset: 1", (2, 2, 3, 6), (2, 2, 3, 4), -1, (1,)),
    ],
    "Flatten": [
        view_case("default", "", [(2, 3, 4, 5), (1, 2, 3, 3)],
                  lambda x: x.reshape(x.shape[0], -1)),
        view_case("axis 2", "flatten_param { axis: 2 }", [(2, 3, 4, 5)],
                  lambda x: x.reshape(2, 3, 20)),
        view_case("end axis", "flatten_param { axis: 0 end_axis: -2 }", [(2, 3, 4, 5)],
                  lambda x: x.reshape(24, 5)),
        view_case("middle", "flatten_param { axis: 1 end_axis: 2 }", [(2, 3, 4, 5)],
                  lambda x: x.reshape(2, 12, 5)),
    ],
    "Reshape": [
        reshape_case("copy and infer", (0, -1), [(2, 3, 4, 5), (3, 2, 2, 2)],
                     lambda s: (s[0], -1)),
        reshape_case("given", (2, 5, 12), [(2, 3, 4, 5)], lambda s: (2, 5, 12)),
        reshape_case("axis 1", (2, 6), [(2, 3, 4, 5)], lambda s: (2, 2, 6, 5),
                     "axis: 1 num_axes: 2"),
        reshape_case("an axis put in", (1, 1), [(2, 3, 4)], lambda s: (2, 1, 1, 3, 4),
                     "axis: 1 num_axes: 0"),
        # -1 is behind the last axis, so -2 is the last one.
        reshape_case("axis -2", (2, 2), [(2, 3, 4)], lambda s: (2, 3, 2, 2), "axis: -2"),
        reshape_case("axis -1", (1, 1), [(2, 3, 4)], lambda s: (2, 3, 4, 1, 1), "axis: -1"),
    ],
    "Split": [Case("two tops", "", [[normal(2, 3, 4, 5)], [normal(1, 17, 2, 2)]],
                   lambda b, params: [b[0]] * 2, tops=2, net_only=True),
              Case("three tops, two axes", "", [[normal(4, 3)]], lambda b, params: [b[0]] * 3,
                   tops=3, net_only=True)],
    "Eltwise": [
        eltwise_case("SUM", "", lambda x: x.sum(0), ((2, 3, 4, 5), (1, 17, 2, 3))),
        eltwise_case("SUM, coefficients", "coeff: 1 coeff: -0.5 coeff: 2", weighted(1, -0.5, 2)),
        eltwise_case("difference", "coeff: 1 coeff: -1", weighted(1, -1), bottoms=2),
        eltwise_case("PROD", "operation: PROD", lambda x: x.prod(0)),
        eltwise_case("PROD, two bottoms", "operation: PROD", lambda x: x.prod(0), bottoms=2),
        eltwise_case("PROD, by division", "operation: PROD stable_prod_grad: false",
                     lambda x: x.prod(0)),
        eltwise_case("MAX", "operation: MAX", lambda x: x.max(0), make=distinct),
        eltwise_case("MAX, two axes", "operation: MAX", lambda x: x.max(0), ((4, 7),), 2,
                     distinct),
        eltwise_case("SUM, 17 channels", "", lambda x: x.sum(0), ((2, 17, 3, 2),), 2),
    ],
    "Reduction": reductions(),
    "ArgMax": [
        argmax_case(1, None, False, [(3, 5), (2, 9)]),
        argmax_case(3, None, False, [(2, 3, 4, 2)]),
        argmax_case(1, None, True, [(3, 4, 2, 2)]),
        argmax_case(3, None, True, [(3, 8)]),
        argmax_case(1, 1, False, [(2, 5, 3, 4)]),
        argmax_case(2, 1, True, [(2, 5, 3, 4)]),
        argmax_case(3, 0, False, [(5, 3, 2, 2)]),
        argmax_case(2, -1, True, [(2, 3, 2, 6)]),
    ],
    "Tile": [tile_case("channels", 1, 3, [(2, 3, 4, 5), (1, 2, 2, 2)]),
             tile_case("items", 0, 2, [(2, 3, 2, 2)]),
             tile_case("last axis", -1, 4, [(2, 3, 5)]),
             tile_case("once", 2, 1, [(2, 3, 4, 2)])],
    "BatchReindex": [
        reindex_case("permutation and repeats", (5, 3, 2, 2), [2, 4, 4, 0, 1, 4]),
        reindex_case("fewer", (5, 4), [3]),
        reindex_case("one item many times", (2, 3, 2), [1] * 7),
    ],
    "Filter": [
        filter_case("one bottom", [(3, 2, 2)], [[1, 0, 1, 1], [0, 1, 0, 0]]),
        filter_case("two bottoms", [(3, 2, 2), (4,)], [[0, 1, 1, 0, 1]]),
        filter_case("all", [(5,)], [[1, 1, 1]]),
    ],
    "Permute": [
        permute_case("NHWC", (0, 2, 3, 1), [(2, 3, 4, 5), (1, 2, 3, 3)]),
        permute_case("order named in part", (1, 0), [(2, 3, 4, 2)]),
        permute_case("identity", (0, 1, 2, 3), [(2, 3, 2, 2)]),
        permute_case("three axes reversed", (2, 1, 0), [(2, 3, 4)]),
    ],
    "ShuffleChannel": [
        Case(f"{g} groups", f"shuffle_channel_param {{ group: {g} }}",
             [[normal(2, c, 2, 3)]], shuffle_channel(g), torch=torch_shuffle(g))
        for g, c in ((1, 4), (2, 6), (3, 6), (4, 32))],
    "Upsample": [
        Case(f"by {s}", f"upsample_param {{ scale: {s} }}", [[normal(2, 3, 3, 2)],
                                                             [normal(1, 17, 2, 2)]],
             upsample(s), torch=torch_interpolate("nearest", scale_factor=s)) for s in (1, 2, 3)],
    "Interp": [
        interp_case("to a size", "height: 7 width: 9", [(2, 3, 4, 5), (1, 2, 3, 3)],
                    lambda n, i: (7, 9)[i]),
        interp_case("smaller", "height: 3 width: 2", [(2, 3, 6, 5)], lambda n, i: (3, 2)[i]),
        interp_case("zoom_factor 3", "zoom_factor: 3", [(1, 2, 3, 4)],
                    lambda n, i: n + (n - 1) * 2),
        interp_case("shrink_factor 2", "shrink_factor: 2", [(1, 2, 7, 5)],
                    lambda n, i: (n - 1) // 2 + 1),
        interp_case("shrink, then zoom", "shrink_factor: 2 zoom_factor: 3", [(1, 2, 7, 5)],
                    lambda n, i: (n - 1) // 2 + 1 + ((n - 1) // 2) * 2),
        interp_case("cropped", "height: 5 width: 6 pad_beg: -1 pad_end: -2", [(1, 2, 8, 7)],
                    lambda n, i: (5, 6)[i], crop=(1, 2)),
        interp_case("same size", "height: 4 width: 5", [(1, 2, 4, 5)], lambda n, i: (4, 5)[i]),
    ],
    "Axpy": [Case("a factor per channel", "",
                  [[normal(2, 17, 1, 1), normal(2, 17, 3, 4, seed=1), normal(2, 17, 3, 4, seed=2)],
                   [normal(1, 17, 1, 1), normal(1, 17, 2, 2, seed=1), normal(1, 17, 2, 2, seed=2)]],
                  axpy)],
}
