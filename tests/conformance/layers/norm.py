"""Normalisation, affine maps, products with learnt matrices, softmax."""
import numpy as np

from case import Case
from values import away_from, distinct, labels, normal, uniform


def per_channel(v, x):
    return v.reshape((1, -1) + (1,) * (x.ndim - 2)) if x.ndim > 1 else v


def lrn_across(size, alpha, beta, k):
    """y = x (k + alpha / n sum of n neighbouring channels' squares)^-beta."""
    def run(bottoms, params):
        x = bottoms[0]
        half = (size - 1) // 2
        padded = np.pad(x ** 2, [(0, 0), (half, half), (0, 0), (0, 0)])
        total = sum(padded[:, i:i + x.shape[1]] for i in range(size))
        return [x * (k + alpha / size * total) ** -beta]
    return run


def lrn_within(size, alpha, beta):
    """y = x (1 + alpha / n^2 sum of the n x n window's squares)^-beta."""
    def run(bottoms, params):
        x = bottoms[0]
        half = (size - 1) // 2
        padded = np.pad(x ** 2, [(0, 0), (0, 0), (half, half), (half, half)])
        total = sum(padded[:, :, i:i + x.shape[2], j:j + x.shape[3]]
                    for i in range(size) for j in range(size))
        return [x * (1 + alpha / size ** 2 * total) ** -beta]
    return run


def torch_lrn(size, alpha, beta, k):
    def run(bottoms, params):
        import torch
        return [torch.nn.functional.local_response_norm(bottoms[0], size, alpha, beta, k)]
    return run


def lrn_case(name, size, alpha, beta, k=1.0, within=False, x=None):
    text = f"lrn_param {{ local_size: {size} alpha: {alpha} beta: {beta} k: {k} "
    text += "norm_region: WITHIN_CHANNEL }" if within else "}"
    x = x or [normal(2, 7, 3, 4), normal(1, 9, 4, 2, seed=1)]
    return Case(name, text, [[b] for b in x],
                lrn_within(size, alpha, beta) if within else lrn_across(size, alpha, beta, k),
                torch=None if within else torch_lrn(size, alpha, beta, k))


def mvn(across, variance, eps):
    """(x - mean) / (standard deviation + eps), per item and, unless across, channel."""
    def run(bottoms, params):
        x = bottoms[0]
        axes = tuple(range(1 if across else 2, x.ndim))
        centred = x - x.mean(axes, keepdims=True)
        if variance:
            centred = centred / (np.sqrt((centred ** 2).mean(axes, keepdims=True)) + eps)
        return [centred]
    return run


def mvn_case(name, across=False, variance=True, x=None):
    text = (f"mvn_param {{ across_channels: {str(across).lower()} "
            f"normalize_variance: {str(variance).lower()} }}")
    x = x or [normal(2, 3, 4, 5, mean=1, scale=2), normal(1, 17, 3, 3, seed=1)]
    return Case(name, text, [[b] for b in x], mvn(across, variance, 1e-9))


# BatchNorm: three statistics (sums of means, of variances, and the factor that
# both are to be divided by); with scale_bias a scale and a bias behind them.


def batch_axes(x):
    return (0,) + tuple(range(2, x.ndim)) if x.ndim > 1 else (0,)


def batch_norm(eps, stored=False, affine=False):
    def run(bottoms, params):
        x = bottoms[0]
        axes = batch_axes(x)
        if stored:
            factor = 0 if params[2][0] == 0 else 1 / params[2][0]
            mean, variance = params[0] * factor, params[1] * factor
        else:
            mean, variance = x.mean(axes), x.var(axes)
        y = (x - per_channel(mean, x)) / np.sqrt(per_channel(variance, x) + eps)
        return [y * per_channel(params[3], x) + per_channel(params[4], x) if affine else y]
    return run


def torch_batch_norm(eps, affine=False):
    def run(bottoms, params):
        import torch
        return [torch.nn.functional.batch_norm(bottoms[0], None, None,
                                               *(params[3:] if affine else ()), training=True,
                                               eps=eps)]
    return run


def batch_statistics(bottoms):
    """The batch's mean, its unbiased variance, and one step."""
    x = bottoms[0]
    axes = batch_axes(x)
    m = x.size / (x.shape[1] if x.ndim > 1 else 1)
    return [x.mean(axes).reshape(-1), x.var(axes).reshape(-1) * m / (m - 1), np.ones(1)]


def batch_norm_case(name, x, phase="TRAIN", eps=1e-5, stored=False, text=""):
    channels = x[0].shape[1] if x[0].ndim > 1 else 1
    params = [normal(channels, seed=31, scale=3), uniform(channels, low=1, high=4, seed=32),
              np.array([2.5], np.float32)]
    return Case(name, f"batch_norm_param {{ eps: {eps} {text} }}", [[b] for b in x],
                batch_norm(eps, stored), params, None if stored else torch_batch_norm(eps),
                phase=phase,
                statistics=(lambda b: []) if stored or phase == "TEST" else batch_statistics)


def fused_batch_norm_case(name, x, phase="TRAIN"):
    case = batch_norm_case(name, x, phase, stored=phase == "TEST",
                           text="scale_bias: true scale_filler { value: 0.5 }")
    channels = x[0].shape[1]
    case.params += [normal(channels, seed=33), normal(channels, seed=34)]
    case.reference = batch_norm(1e-5, phase == "TEST", affine=True)
    case.torch = torch_batch_norm(1e-5, True) if phase == "TRAIN" else None
    case.learnt = (3, 4)
    return case


# Broadcast products and sums ------------------------------------------------


def spread(v, x, axis):
    """v, whose axes are x's from `axis` on, against x."""
    return v.reshape((1,) * axis + v.shape + (1,) * (x.ndim - axis - v.ndim))


def scale(axis=1, given=False, bias=False):
    def run(bottoms, params):
        x = bottoms[0]
        factor = bottoms[1] if given else params[0]
        axis_ = axis % x.ndim if factor.ndim else 0
        y = x * spread(factor, x, axis_)
        return [y + spread(params[-1], x, axis_) if bias else y]
    return run


def bias(axis=1, given=False):
    def run(bottoms, params):
        x = bottoms[0]
        term = bottoms[1] if given else params[0]
        return [x + spread(term, x, axis % x.ndim if term.ndim else 0)]
    return run


def broadcasts(kind):
    """Cases that Scale and Bias share; `kind` names the parameter message."""
    x = normal(2, 5, 3, 4)
    make = scale if kind == "scale" else bias

    def case(name, text, shape, axis=1, steps=None, **options):
        return Case(name, f"{kind}_param {{ {text} }}", steps or [[x]], make(axis, **options),
                    [normal(*shape, seed=41)])

    def two(name, text, other, axis=1):
        return Case(name, f"{kind}_param {{ {text} }}",
                    [[x, normal(*other, seed=42)]], make(axis, given=True))
    return [
        case("a factor per channel", "", (5,), steps=[[x], [normal(1, 5, 2, 2, seed=1)]]),
        case("axis 0", "axis: 0", (2,), 0),
        case("axis 2, two axes", "axis: 2 num_axes: 2", (3, 4), 2),
        case("axis 0, two axes", "axis: 0 num_axes: 2", (2, 5), 0),
        case("negative axis", "axis: -1", (4,), -1),
        case("all axes", "axis: 0 num_axes: -1", (2, 5, 3, 4), 0),
        case("a scalar", "num_axes: 0", ()),
        case("two axes of data", "", (6,), steps=[[normal(4, 6)]]),
        two("second bottom, channels", "", (5,)),
        two("second bottom, items and channels", "axis: 0", (2, 5), 0),
        two("second bottom, the whole shape", "axis: 0", (2, 5, 3, 4), 0),
        two("second bottom, trailing axes", "axis: 2", (3, 4), 2),
        two("second bottom, a scalar", "axis: 0", (), 0),
    ]


def scales():
    x = [[normal(2, 5, 3, 4)], [normal(1, 5, 2, 6, seed=2)]]
    return broadcasts("scale") + [
        Case("with bias", "scale_param { bias_term: true }", x, scale(bias=True),
             [normal(5, seed=41), normal(5, seed=43)]),
        Case("with bias, 17 channels", "scale_param { bias_term: true }",
             [[normal(2, 17, 2, 3)]], scale(bias=True), [normal(17, seed=41), normal(17, seed=43)]),
        Case("with bias, two axes", "scale_param { axis: 0 num_axes: 2 bias_term: true }",
             [[normal(2, 5, 3, 4)]], scale(0, bias=True),
             [normal(2, 5, seed=41), normal(2, 5, seed=43)]),
        Case("second bottom and bias", "scale_param { bias_term: true }",
             [[normal(2, 5, 3, 4), normal(5, seed=42)]], scale(given=True, bias=True),
             [normal(5, seed=43)]),
    ]


def inner_product(axis=1, transpose=False, bias_term=True):
    def run(bottoms, params):
        x = bottoms[0]
        axis_ = axis % x.ndim
        flat = x.reshape(*x.shape[:axis_], -1)
        y = flat @ (params[0] if transpose else params[0].T)
        return [y + params[1] if bias_term else y]
    return run


def inner_product_case(name, x, outputs, axis=1, transpose=False, bias_term=True):
    inputs = int(np.prod(x[0].shape[axis % x[0].ndim:]))
    weight = (inputs, outputs) if transpose else (outputs, inputs)
    text = (f"inner_product_param {{ num_output: {outputs} axis: {axis} "
            f"transpose: {str(transpose).lower()} bias_term: {str(bias_term).lower()} }}")

    def torch(bottoms, params):
        import torch as t
        flat = bottoms[0].flatten(axis % bottoms[0].ndim)
        weight = params[0].T if transpose else params[0]
        return [t.nn.functional.linear(flat, weight, params[1] if bias_term else None)]
    params = [normal(*weight, seed=51)] + ([normal(outputs, seed=52)] if bias_term else [])
    return Case(name, text, [[b] for b in x], inner_product(axis, transpose, bias_term), params,
                torch, rtol=5e-5, atol=1e-5)


def embed(bias_term=True):
    """Row of the table per index."""
    def run(bottoms, params):
        y = params[0][bottoms[0].astype(int)]
        return [y + params[1] if bias_term else y]
    return run


def embed_case(name, indices, rows, outputs, bias_term=True):
    text = (f"embed_param {{ num_output: {outputs} input_dim: {rows} "
            f"bias_term: {str(bias_term).lower()} }}")

    def torch(bottoms, params):
        import torch as t
        y = t.nn.functional.embedding(bottoms[0].detach().long(), params[0])
        return [y + params[1] if bias_term else y]
    params = [normal(rows, outputs, seed=53)] + ([normal(outputs, seed=54)] if bias_term else [])
    return Case(name, text, [[i] for i in indices], embed(bias_term), params, torch, flows=False)


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def softmax_case(name, axis, x):
    def torch(bottoms, params):
        import torch as t
        return [t.softmax(bottoms[0], axis)]
    return Case(name, f"softmax_param {{ axis: {axis} }}", [[b] for b in x],
                lambda bottoms, params: [softmax(bottoms[0], axis)], torch=torch)


def normalize(across, shared, eps=1e-10):
    """SSD's Normalize: x over the root of the sum of squares (+ eps), times a scale."""
    def run(bottoms, params):
        x = bottoms[0]
        axes = (1, 2, 3) if across else (1,)
        y = x / np.sqrt((x ** 2).sum(axes, keepdims=True) + eps)
        return [y * (params[0] if shared else per_channel(params[0], x))]
    return run


def normalize_case(name, across, shared):
    text = (f"norm_param {{ across_spatial: {str(across).lower()} "
            f"channel_shared: {str(shared).lower()} scale_filler {{ value: 20 }} }}")
    param = np.array(1.7, np.float32) if shared else normal(17, seed=55)
    return Case(name, text, [[normal(2, 17, 3, 4)], [normal(1, 17, 2, 2, seed=1)]],
                normalize(across, shared), [param])


CASES = {
    "LRN": [
        lrn_case("three channels", 3, 0.5, 0.75),
        lrn_case("five channels, k 2", 5, 1.5, 0.75, 2),
        lrn_case("as AlexNet has it", 5, 0.0001, 0.75, x=[normal(2, 17, 3, 3, scale=20)]),
        lrn_case("wider than the channels", 15, 1.0, 0.75, x=[normal(1, 5, 3, 3)]),
        lrn_case("beta 0.6", 5, 1.0, 0.6),
        lrn_case("within a channel", 3, 1.0, 0.75, within=True),
        lrn_case("within a channel, size 5", 5, 0.5, 0.6, within=True),
        lrn_case("within a channel, k is ignored", 3, 1.0, 0.75, 3, within=True),
    ],
    "MVN": [mvn_case("default"), mvn_case("mean only", variance=False),
            mvn_case("across channels", across=True),
            mvn_case("across channels, mean only", True, False)],
    "BatchNorm": [
        batch_norm_case("train", [normal(3, 4, 3, 2, mean=1), normal(2, 4, 4, 4, seed=1)]),
        batch_norm_case("train, 17 channels", [normal(3, 17, 3, 2, mean=1)]),
        batch_norm_case("train, two axes", [normal(6, 4, mean=2)]),
        batch_norm_case("train, five axes", [normal(2, 3, 2, 2, 3, mean=2)]),
        batch_norm_case("train, eps 0.1", [normal(3, 4, 3, 2)], eps=0.1),
        batch_norm_case("test", [normal(3, 4, 3, 2, mean=1), normal(1, 4, 2, 2)], "TEST",
                        stored=True),
        batch_norm_case("train by stored statistics", [normal(3, 4, 3, 2, mean=1)], stored=True,
                        text="use_global_stats: true"),
        batch_norm_case("test by the batch's", [normal(3, 4, 3, 2, mean=1)], "TEST",
                        text="use_global_stats: false"),
        fused_batch_norm_case("scale and bias fused, train", [normal(3, 17, 3, 2, mean=1)]),
        fused_batch_norm_case("scale and bias fused, test", [normal(2, 4, 3, 2, mean=1)], "TEST"),
    ],
    "Scale": scales(),
    "Bias": broadcasts("bias"),
    "InnerProduct": [
        inner_product_case("4 axes", [normal(2, 3, 4, 5), normal(5, 3, 4, 5, seed=1)], 10),
        inner_product_case("no bias", [normal(4, 6)], 3, bias_term=False),
        inner_product_case("transposed", [normal(4, 2, 3)], 5, transpose=True),
        inner_product_case("axis 2", [normal(2, 3, 4, 2)], 5, axis=2),
        inner_product_case("negative axis", [normal(2, 3, 4)], 5, axis=-1, transpose=True),
        inner_product_case("one item, one output", [normal(1, 7)], 1),
    ],
    "Embed": [
        embed_case("bias", [labels(4, 3, classes=6), labels(2, 5, classes=6, seed=1)], 6, 5),
        embed_case("no bias, an index many times", [np.zeros((4, 1), np.float32)], 3, 2, False),
        embed_case("four axes", [labels(2, 2, 1, 3, classes=7)], 7, 3),
    ],
    "Softmax": [
        softmax_case("channels", 1, [normal(2, 10, 2, 3, scale=3), normal(1, 4, 3, 3)]),
        softmax_case("two axes", 1, [normal(5, 7, scale=5)]),
        softmax_case("axis 0", 0, [normal(4, 3, 2, scale=2)]),
        softmax_case("last axis", -1, [normal(2, 3, 2, 9, scale=2)]),
        softmax_case("large values", 1, [normal(3, 5, scale=60)]),
    ],
    "Normalize": [normalize_case(f"across_spatial {a}, shared {s}", a, s)
                  for a in (True, False) for s in (True, False)],
}
