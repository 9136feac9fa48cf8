"""Elementwise layers: y = f(x)."""
import numpy as np

from case import Case
from values import away_from, distinct, normal, uniform


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def each(function):
    return lambda bottoms, params: [function(b) for b in bottoms]


def torched(make):
    """make(torch) gives a function of one tensor."""
    def run(bottoms, params):
        import torch
        return [make(torch)(bottoms[0])]
    return run


SHAPES = ((2, 3, 4, 5), (7,), (3, 17, 2, 3))  # blocks of 8 and 16 do not divide 17


def steps(make=normal, *kinks, **options):
    """One bottom a step: shapes that reshape the layer, kinks avoided."""
    return [[away_from(make(*shape, seed=i, **options), *kinks)]
            for i, shape in enumerate(SHAPES[:1] + SHAPES[2:])]


def flat_steps(make=normal, *kinks, **options):
    return [[away_from(make(*s, **options), *kinks)] for s in ((7,), (3, 4), (2, 2, 3, 2, 2))]


def neuron(text, function, torch=None, kinks=(), make=normal, names=("", "flat"), **options):
    """Cases on 4-D bottoms, blocked formats included, and on other ranks."""
    extra = {k: options.pop(k) for k in list(options) if k in Case.__dataclass_fields__}
    return [Case(f"{text} {name}".strip() or "default", text, make_steps(make, *kinks, **options),
                 each(function), torch=torched(torch) if torch else None, **extra)
            for name, make_steps in zip(names, (steps, flat_steps))]


def relu(slope):
    return lambda x: np.where(x > 0, x, slope * x)


def power(power_, scale, shift):
    return lambda x: (shift + scale * x) ** power_


def exp(base, scale, shift):
    log_base = 1 if base == -1 else np.log(base)
    return lambda x: np.exp(log_base * (shift + scale * x))


def log(base, scale, shift):
    log_base = 1 if base == -1 else np.log(base)
    return lambda x: np.log(shift + scale * x) / log_base


def prelu(bottoms, params):
    x, slope = bottoms[0], params[0]
    if slope.ndim:
        slope = slope.reshape((1, -1) + (1,) * (x.ndim - 2))
    return [np.maximum(x, 0) + slope * np.minimum(x, 0)]


def torch_prelu(bottoms, params):
    import torch
    return [torch.nn.functional.prelu(bottoms[0], params[0].reshape(-1))]


def check_dropout(ratio):
    """Kept elements are scaled by 1 / (1 - ratio), the share kept is near
    1 - ratio, and the gradient passes where the data passed."""
    def check(case, step, tops, bottom_gradients):
        x, y = case.steps[step][0], tops[0]
        kept = y != 0
        if not np.allclose(y[kept], x[kept] / (1 - ratio), rtol=1e-6):
            return "kept elements are not scaled by 1 / (1 - ratio)"
        share, sigma = kept.mean(), (ratio * (1 - ratio) / x.size) ** 0.5
        if abs(share - (1 - ratio)) > 4 * sigma:
            return f"{share:.3f} of the elements are kept, expected {1 - ratio}"
        expected = case.top_gradients(step)[0] * kept / (1 - ratio)
        if not np.allclose(bottom_gradients[0], expected, rtol=1e-6):
            return "the gradient does not pass where the data passed"
        return None
    return check


def dropout(ratio):
    # The reference serves the shapes only: what is kept is random.
    text = f"dropout_param {{ dropout_ratio: {ratio} }}"
    x = away_from(normal(4, 17, 10, 9), 0)
    identity = each(lambda x: x)
    return [Case(f"train {ratio}", text, [[x], [away_from(normal(600), 0)]],
                 lambda b, p: [b[0]], check=check_dropout(ratio), gtol=np.inf, rtol=np.inf),
            Case(f"test {ratio}", text, steps(), identity, phase="TEST")]


CASES = {
    "ReLU": neuron("", relu(0), lambda t: t.relu, (0,))
    + neuron("relu_param { negative_slope: 0.1 }", relu(0.1),
             lambda t: lambda x: t.nn.functional.leaky_relu(x, 0.1), (0,)),
    "ReLU6": neuron("", lambda x: np.clip(x, 0, 6), lambda t: t.nn.functional.relu6, (0, 6),
                    scale=4),
    "ELU": neuron("", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
                  lambda t: t.nn.functional.elu, (0,))
    + neuron("elu_param { alpha: 0.5 }",
             lambda x: np.where(x > 0, x, 0.5 * np.expm1(np.minimum(x, 0))),
             lambda t: lambda x: t.nn.functional.elu(x, 0.5), (0,)),
    "Sigmoid": neuron("", sigmoid, lambda t: t.sigmoid, scale=3),
    "TanH": neuron("", np.tanh, lambda t: t.tanh, scale=2),
    "AbsVal": neuron("", np.abs, lambda t: t.abs, (0,)),
    "BNLL": neuron("", lambda x: np.logaddexp(0, x), lambda t: t.nn.functional.softplus, scale=4),
    "Swish": neuron("", lambda x: x * sigmoid(x), lambda t: t.nn.functional.silu, scale=2)
    + neuron("swish_param { beta: 1.7 }", lambda x: x * sigmoid(1.7 * x), scale=2),
    "Clip": neuron("clip_param { min: -0.7 max: 1.2 }", lambda x: np.clip(x, -0.7, 1.2),
                   lambda t: lambda x: t.clamp(x, -0.7, 1.2), (-0.7, 1.2)),
    "Threshold": neuron("", lambda x: (x > 0).astype(float), kinks=(0,), backward=False)
    + neuron("threshold_param { threshold: 0.5 }", lambda x: (x > 0.5).astype(float), kinks=(0.5,),
             backward=False),
    "Power": neuron("", lambda x: x)
    + neuron("power_param { power: 2 scale: 3 shift: -0.5 }", power(2, 3, -0.5))
    + neuron("power_param { power: 3 shift: 1 }", power(3, 1, 1))
    + neuron("power_param { power: -0.75 scale: 0.5 shift: 0.2 }", power(-0.75, 0.5, 0.2),
             make=uniform, low=0.5, high=3.0)
    + neuron("power_param { power: 0 scale: 2 shift: 1 }", lambda x: np.ones_like(x))
    + neuron("power_param { power: 2 scale: 0 shift: 3 }", lambda x: 9 * np.ones_like(x)),
    "Exp": neuron("", np.exp, lambda t: t.exp)
    + neuron("exp_param { base: 2 }", exp(2, 1, 0), lambda t: t.exp2)
    + neuron("exp_param { base: 3 scale: 0.5 shift: -1 }", exp(3, 0.5, -1))
    + neuron("exp_param { scale: 2 shift: 0.5 }", exp(-1, 2, 0.5), rtol=5e-5),
    "Log": neuron("", np.log, lambda t: t.log, make=uniform, low=0.3, high=4.0)
    + neuron("log_param { base: 2 }", log(2, 1, 0), lambda t: t.log2, make=uniform, low=0.3,
             high=4.0)
    + neuron("log_param { base: 10 scale: 3 shift: 0.5 }", log(10, 3, 0.5), make=uniform,
             low=0.3, high=4.0),
    "PReLU": [
        Case("a slope per channel", "", [[away_from(normal(2, 17, 3, 4), 0)],
                                         [away_from(normal(1, 17, 2, 2), 0)]],
             prelu, [normal(17, seed=3)], torch_prelu),
        Case("one slope", "prelu_param { channel_shared: true }",
             [[away_from(normal(2, 3, 4, 5), 0)]], prelu,
             [np.array(0.25, np.float32)], torch_prelu),
        Case("two axes", "", [[away_from(normal(4, 6), 0)]], prelu, [normal(6, seed=3)],
             torch_prelu),
        Case("five axes", "", [[away_from(normal(2, 3, 2, 2, 2), 0)]], prelu,
             [normal(3, seed=3)], torch_prelu),
    ],
    "Dropout": dropout(0.5) + dropout(0.2),
}
