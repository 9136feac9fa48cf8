"""A layer's case: what it is given, and what must come out by definition."""
import dataclasses
import os
import zlib

import numpy as np

import driver

# Every element's derivative, instead of a sample and one random direction.
FULL = os.environ.get("CSSP_CONFORMANCE", "") == "full"
SAMPLE = 24
STEP = 1e-5  # of the numeric derivative, in double


@dataclasses.dataclass
class Case:
    """Steps are lists of bottoms; the second and later ones reshape the layer.

    reference(bottoms, params) gives the tops in float64 from the definition;
    torch, if given, does the same with torch tensors, an independent source of
    values and derivatives."""
    name: str
    text: str  # LayerParameter without type
    steps: list
    reference: object
    params: list = dataclasses.field(default_factory=list)
    torch: object = None
    phase: str = "TRAIN"
    tops: int = 1
    # Does a gradient reach bottom i?  A bool, or one per bottom.
    flows: object = True
    # Tops that carry a gradient; the default: all, none where nothing flows.
    gradient_tops: object = None
    backward: bool = True
    # |difference| <= rtol * |expected| + atol.
    rtol: float = 2e-5
    atol: float = 2e-6
    # |analytic - expected| <= gtol * max(|analytic|, |expected|, 1): BVLC's form,
    # whose own constant is 1e-3.
    gtol: float = 1e-4
    # The layer only means something in a net (views; split data).
    net_only: bool = False
    # Shapes that follow from data: not in a net.
    layer_only: bool = False
    # What a TRAIN forward writes into the gradient slots of the parameters that
    # are statistics; the parameters that have gradients (the default: all).
    statistics: object = None
    learnt: object = None
    # Called as check(case, step index, bottoms, answer's step): random layers.
    check: object = None
    memory: dict = dataclasses.field(default_factory=dict, repr=False)

    def seed(self, salt):
        return zlib.crc32(f"{self.name}/{salt}".encode())

    def learnt_params(self):
        if self.learnt is not None:
            return self.learnt
        return range(len(self.params)) if self.statistics is None else ()

    def numeric(self, step):
        if step not in self.memory:
            self.memory[step] = Numeric(self, step, self.top_gradients(step))
        return self.memory[step]

    def flow(self, i):
        return self.flows if isinstance(self.flows, bool) else self.flows[i]

    def expected_tops(self, step):
        return [np.asarray(t, np.float64) for t in
                self.reference([b.astype(np.float64) for b in self.steps[step]],
                               [p.astype(np.float64) for p in self.params])]

    def top_gradients(self, step):
        """Random weights of the objective sum <weight, top>."""
        if not self.backward:
            return []
        gradients = []
        for i, top in enumerate(self.expected_tops(step)):
            carries = self.gradient_tops is None or i in self.gradient_tops
            # A scalar's weight is a loss_weight in nets: one for all steps.
            salt = f"top {step} {i}" if top.ndim else f"top {i}"
            rng = np.random.default_rng(self.seed(salt))
            gradients.append(np.asarray(rng.normal(size=top.shape), np.float32)
                             if carries else driver.NO_GRADIENT)
        return gradients

    def runs(self, layer, device):
        """The driver runs of this case: the layer alone under every offer of
        formats (the processor has several) and in the other phase, then inside a
        net."""
        text = f'type: "{layer}" {self.text}'
        text += "".join(f' top: "top{i}"' for i in range(self.tops))
        steps = [(bottoms, self.top_gradients(i)) for i, bottoms in enumerate(self.steps)]
        blocked = any(np.ndim(b) == 4 for bottoms in self.steps for b in bottoms)
        offers = range(4) if blocked and device == "cpu" else (1,)
        runs = []
        if not self.net_only:
            runs += [driver.Run(f"{self.name}, {driver.OFFERS[o]}", text, steps, self.params,
                                driver.LAYER, self.phase, o) for o in offers]
            # Where phases differ, cases say so themselves.
            if self.phase == "TRAIN" and self.statistics is None and self.check is None:
                runs.append(driver.Run(f"{self.name}, in TEST", text, steps, self.params,
                                       driver.LAYER, "TEST"))
        if not self.layer_only:
            runs.append(driver.Run(f"{self.name}, in a net", text, steps, self.params,
                                   driver.NET, self.phase))
        return runs


class Numeric:
    """Derivatives of <weights, reference> by central differences in double: of
    some elements of each array, or all, and along one direction over all.  Taken
    once for all runs of a case."""

    def __init__(self, case, step, weights):
        self.case, self.weights = case, weights
        self.bottoms = [np.array(b, np.float64) for b in case.steps[step]]
        self.params = [np.array(p, np.float64) for p in case.params]
        self.found = {}  # name of the array: (direction, along it, {index: derivative})

    def objective(self):
        tops = self.case.reference(self.bottoms, self.params)
        return sum(float(np.sum(np.asarray(w, np.float64) * t))
                   for w, t in zip(self.weights, tops) if w.shape != (0,))

    def along(self, array, direction):
        """d objective / d t of array + t direction."""
        kept = array.copy()
        values = []
        for sign in (1, -1):
            array[...] = kept + sign * STEP * direction
            values.append(self.objective())
        array[...] = kept
        return (values[0] - values[1]) / (2 * STEP)

    def derive(self, what, array):
        if what not in self.found:
            rng = np.random.default_rng(self.case.seed(what))
            direction = rng.choice([-1.0, 1.0], size=array.shape)
            indices = np.arange(array.size)
            if not FULL and array.size > SAMPLE:
                indices = np.sort(rng.choice(array.size, SAMPLE, replace=False))
            elements = {}
            for i in indices:
                unit = np.zeros(array.size)
                unit[i] = 1
                elements[int(i)] = self.along(array, unit.reshape(array.shape))
            self.found[what] = (direction, self.along(array, direction), elements)
        return self.found[what]

    def check(self, what, array, analytic):
        """The first difference as text, or None.  `array` is one of ours."""
        direction, total, elements = self.derive(what, array)
        if analytic.shape != array.shape:
            return f"{what} has shape {analytic.shape}, expected {array.shape}"
        for i, numeric in elements.items():
            got = float(analytic.flat[i])
            if not abs(got - numeric) <= self.case.gtol * max(abs(got), abs(numeric), 1.0):
                at = tuple(int(k) for k in np.unravel_index(i, array.shape)) if array.ndim else ()
                return f"{what}{list(at)}: {got:.7g}, expected {numeric:.7g}"
        got = float(np.sum(direction * analytic))
        scale = max(np.abs(analytic).sum() ** 0.5, abs(total), 1.0)
        if not abs(got - total) <= self.case.gtol * scale:
            return f"{what} along a random direction: {got:.7g}, expected {total:.7g}"
        return None


def differences(case, answer):
    """What is wrong with the answer to a run of `case`: texts."""
    if answer.error and not answer.steps:
        return [answer.error]
    wrong = [answer.error] if answer.error else []
    for step, (tops, bottom_gradients, param_gradients) in enumerate(answer.steps):
        where = f"step {step}: " if len(case.steps) > 1 else ""
        found = compare_tops(case, step, tops)
        if not found and case.backward:
            found = compare_gradients(case, step, bottom_gradients, param_gradients)
        if not found and case.statistics is not None:
            found = compare_statistics(case, step, param_gradients)
        if not found and case.check is not None:
            found = [f for f in [case.check(case, step, tops, bottom_gradients)] if f]
        wrong += [where + f for f in found]
    return wrong


def close(got, expected, rtol, atol):
    """None, or the first element that is too far off, as text."""
    if got.shape != expected.shape:
        return f"has shape {got.shape}, expected {expected.shape}"
    off = ~(np.abs(got - expected) <= rtol * np.abs(expected) + atol)
    off &= ~((got == expected) | (np.isnan(got) & np.isnan(expected)))
    if not off.any():
        return None
    at = tuple(int(k) for k in np.argwhere(off)[0])
    return f"{list(at)} is {got[at]:.7g}, expected {expected[at]:.7g} ({off.sum()} of {off.size} off)"


def compare_tops(case, step, tops):
    if case.reference is None or (case.check is not None and not case.backward):
        return []
    expected = case.expected_tops(step)
    if len(tops) != len(expected):
        return [f"{len(tops)} tops, expected {len(expected)}"]
    wrong = []
    for i, (got, want) in enumerate(zip(tops, expected)):
        off = close(got, want, case.rtol, case.atol)
        if off:
            wrong.append(f"top {i} {off}")
    return wrong


def compare_gradients(case, step, bottom_gradients, param_gradients):
    numeric = case.numeric(step)
    wrong = []
    for i, got in enumerate(bottom_gradients):
        if not case.flow(i):
            if got is not None and np.any(got != 0):
                wrong.append(f"bottom {i} has a gradient, none can flow there")
        elif got is None:
            wrong.append(f"bottom {i} has no gradient")
        else:
            wrong.append(numeric.check(f"bottom {i} gradient", numeric.bottoms[i], got))
    for i in case.learnt_params():
        if param_gradients[i] is None:
            wrong.append(f"parameter {i} has no gradient")
            continue
        wrong.append(numeric.check(f"parameter {i} gradient", numeric.params[i],
                                   param_gradients[i]))
    return [w for w in wrong if w]


def compare_statistics(case, step, param_gradients):
    bottoms = [b.astype(np.float64) for b in case.steps[step]]
    wrong = []
    for i, want in enumerate(case.statistics(bottoms)):
        got = param_gradients[i]
        off = "is not written" if got is None else close(got, want, case.rtol, case.atol)
        if off:
            wrong.append(f"statistic {i} {off}")
    return wrong


def reference_differences(case):
    """How torch's values differ from the definition's, both in double."""
    import torch
    wrong = []
    for step, bottoms in enumerate(case.steps):
        tensors = [[torch.tensor(np.array(a, np.float64)) for a in arrays]
                   for arrays in (bottoms, case.params)]
        for i, (got, want) in enumerate(zip(case.torch(*tensors), case.expected_tops(step))):
            off = close(got.numpy(), want, 1e-9, 1e-9)
            if off:
                wrong.append(f"step {step}: top {i} {off}")
    return wrong


def torch_differences(case, answer):
    """Forward and backward beside torch's, where the case names its function."""
    import torch
    wrong = []
    for step, (tops, bottom_gradients, param_gradients) in enumerate(answer.steps):
        def leaf(array, wanted):
            return torch.tensor(array.astype(np.float64), requires_grad=wanted)
        bottoms = [leaf(b, case.flow(i)) for i, b in enumerate(case.steps[step])]
        params = [leaf(p, True) for p in case.params]
        expected = case.torch(bottoms, params)
        for i, want in enumerate(expected):
            off = close(tops[i], want.detach().numpy(), case.rtol, case.atol)
            if off:
                wrong.append(f"step {step}: top {i} {off}")
        if not case.backward or wrong:
            continue
        weights = [torch.tensor(w.astype(np.float64)) for w in case.top_gradients(step)]
        sum((w * t).sum() for w, t in zip(weights, expected) if w.shape != (0,)).backward()
        named = [(f"bottom {i}", b, bottom_gradients[i]) for i, b in enumerate(bottoms)]
        named += [(f"parameter {i}", params[i], param_gradients[i])
                  for i in case.learnt_params()]
        for what, tensor, got in named:
            if tensor.grad is None:
                continue
            want = tensor.grad.numpy()
            scale = np.maximum(np.maximum(np.abs(want), np.abs(got)), 1)
            off = close(got / scale, want / scale, 0, case.gtol)
            if off:
                wrong.append(f"step {step}: {what} gradient, scaled, {off}")
    return wrong
