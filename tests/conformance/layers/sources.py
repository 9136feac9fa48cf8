"""Layers without bottoms or without tops: whole nets."""
import numpy as np

import driver
from case import Case
from values import normal


class Whole(Case):
    """text is a NetParameter; bottoms are its inputs, tops its outputs by name."""

    def runs(self, layer, device):
        steps = [(bottoms, []) for bottoms in self.steps]
        return [driver.Run(self.name, self.text, steps, (), driver.WHOLE, self.phase)]


def whole(name, text, steps, reference, **options):
    return Whole(name, text, steps, reference, backward=False, **options)


def dummy(tops, body):
    names = " ".join(f'top: "{t}"' for t in tops)
    return f'layer {{ name: "dummy" type: "DummyData" {names} dummy_data_param {{ {body} }} }}'


def constant(shapes, values):
    return lambda bottoms, params: [np.full(s, v, float) for s, v in zip(shapes, values)]


def check_draws(low, high):
    """Uniform draws: in range, spread over it, and new ones in every pass."""
    seen = []

    def check(case, step, tops, bottom_gradients):
        values = tops[0]
        if values.min() < low or values.max() >= high:
            return f"values in [{values.min()}, {values.max()}], expected [{low}, {high})"
        sigma = (high - low) / (12 * values.size) ** 0.5
        if abs(values.mean() - (low + high) / 2) > 4 * sigma:
            return f"mean {values.mean()}"
        if any(np.array_equal(values, other) for other in seen):
            return "the same draws as in an earlier pass"
        seen.append(values)
        return None
    return check


def inputs(names, shapes):
    return "".join(
        f'layer {{ name: "{n}" type: "Input" top: "{n}" input_param {{ shape {{ '
        f'{" ".join(f"dim: {d}" for d in s)} }} }} }}' for n, s in zip(names, shapes))


CASES = {
    "DummyData": [
        whole("a shape for all tops", dummy("ab", "shape { dim: 2 dim: 3 } data_filler { value: 4 }"),
              [[], []], constant([(2, 3)] * 2, [4, 4])),
        whole("shapes and fillers each",
              dummy("ab", "shape { dim: 2 dim: 3 } shape { dim: 4 } data_filler { value: -1 } "
                          "data_filler { value: 0.5 }"), [[]], constant([(2, 3), (4,)], [-1, 0.5])),
        whole("num, channels, height, width",
              dummy("a", "num: 2 channels: 3 height: 4 width: 5 data_filler { value: 7 }"), [[]],
              constant([(2, 3, 4, 5)], [7])),
        whole("no filler", dummy("a", "shape { dim: 3 dim: 2 }"), [[]], constant([(3, 2)], [0])),
        whole("uniform", dummy("a", "shape { dim: 40 dim: 50 } data_filler { type: \"uniform\" "
                                    "min: -2 max: 3 }"), [[], [], []], None,
              check=check_draws(-2, 3)),
    ],
    "Input": [
        whole("two shapes", inputs("ab", [(2, 3), (4,)]), [[normal(2, 3), normal(4)]],
              lambda b, p: b),
        whole("a shape for two tops",
              'layer { name: "in" type: "Input" top: "a" top: "b" '
              'input_param { shape { dim: 2 dim: 2 } } }',
              [[normal(2, 2), normal(2, 2, seed=1)]], lambda b, p: b),
    ],
    "Silence": [
        whole("is no output", inputs("ab", [(2, 3), (2, 3)]) +
              'layer { name: "quiet" type: "Silence" bottom: "a" }'
              'layer { name: "shown" type: "Power" bottom: "b" top: "c" }',
              [[normal(2, 3), normal(2, 3, seed=1)]], lambda b, p: [b[1]]),
        whole("several bottoms", inputs("abc", [(2,), (3, 4), (1,)]) +
              'layer { name: "quiet" type: "Silence" bottom: "a" bottom: "b" bottom: "c" }',
              [[normal(2), normal(3, 4), normal(1)]], lambda b, p: []),
    ],
    "Parameter": [
        Case("four axes", "parameter_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } }", [[]],
             lambda b, p: [p[0]], [normal(2, 3, 4, 5)]),
        Case("one axis", "parameter_param { shape { dim: 6 } }", [[]], lambda b, p: [p[0]],
             [normal(6)]),
    ],
}
