"""Losses and metrics."""
import numpy as np

from case import Case
from norm import softmax
from neuron import sigmoid
from values import away_from, distinct, labels, normal, uniform

MODES = ("FULL", "VALID", "BATCH_SIZE", "NONE")


def divisor(mode, outer, inner, valid):
    """What a sum of losses is divided by; never less than 1."""
    return max({"FULL": outer * inner, "VALID": valid, "BATCH_SIZE": outer, "NONE": 1}[mode], 1)


def per_position(scores, axis):
    """(positions, classes): the class axis last, all others flattened."""
    return np.moveaxis(scores, axis, -1).reshape(-1, scores.shape[axis])


def softmax_loss(axis=1, ignore=None, mode="VALID", smoothing=0.0, probability=False):
    """Sum over positions of - sum_k q_k log p_k; q is 1 on the label, smoothed."""
    def run(bottoms, params):
        x, label = bottoms[0], bottoms[1].reshape(-1).astype(int)
        axis_ = axis % x.ndim
        p = softmax(x, axis_)
        rows = np.log(np.maximum(per_position(p, axis_), np.finfo(np.float32).tiny))
        valid = label != ignore if ignore is not None else np.full(label.shape, True)
        classes = rows.shape[1]
        safe = np.where(valid, label, 0)
        loss = -((1 - smoothing) * rows[np.arange(len(rows)), safe] +
                 smoothing / classes * rows.sum(1))
        outer = int(np.prod(x.shape[:axis_]))
        total = loss[valid].sum() / divisor(mode, outer, len(rows) // outer, valid.sum())
        return [np.array(total), p] if probability else [np.array(total)]
    return run


def torch_softmax_loss(ignore=None, smoothing=0.0):
    """Mean over the valid positions: mode VALID, classes on axis 1."""
    def run(bottoms, params):
        import torch
        x, label = bottoms
        label = label.detach().long().reshape([n for i, n in enumerate(x.shape) if i != 1])
        return [torch.nn.functional.cross_entropy(
            x, label, ignore_index=-100 if ignore is None else ignore,
            label_smoothing=smoothing)]
    return run


def softmax_loss_case(name, text, x, label, torch=None, **options):
    tops = 2 if options.get("probability") else 1
    return Case(name, text, [[x, label]], softmax_loss(**options), flows=[True, False],
                tops=tops, gradient_tops=(0,), torch=torch)


def softmax_losses():
    x, label = normal(4, 5, 2, 3, scale=2), labels(4, 1, 2, 3, classes=5)
    flat, classes = normal(6, 7, scale=2), labels(6, classes=7)
    cases = [
        Case("default", "", [[x, label], [flat, classes]], softmax_loss(), flows=[True, False],
             torch=torch_softmax_loss()),
        softmax_loss_case("with probabilities", "", x, label, probability=True),
        softmax_loss_case("axis 2", "softmax_param { axis: 2 }", normal(2, 3, 4, 2),
                          labels(2, 3, 2, classes=4), axis=2),
        softmax_loss_case("ignored label", "loss_param { ignore_label: 2 }", x, label,
                          torch_softmax_loss(2), ignore=2),
        softmax_loss_case("all ignored", "loss_param { ignore_label: 1 }", flat,
                          np.ones(6, np.float32), ignore=1),
        softmax_loss_case("normalize: false", "loss_param { normalize: false ignore_label: 2 }", x,
                          label, ignore=2, mode="BATCH_SIZE"),
        softmax_loss_case("normalize: true", "loss_param { normalize: true ignore_label: 2 }", x,
                          label, ignore=2),
        softmax_loss_case("label smoothing", "loss_param { label_smoothing: 0.1 }", x, label,
                          torch_softmax_loss(smoothing=0.1), smoothing=0.1),
        softmax_loss_case("label smoothing, ignored label",
                          "loss_param { label_smoothing: 0.2 ignore_label: 3 }", x, label,
                          smoothing=0.2, ignore=3),
        softmax_loss_case("large scores", "", normal(5, 4, scale=30), labels(5, classes=4)),
    ]
    return cases + [softmax_loss_case(f"normalization {m}",
                                      f"loss_param {{ normalization: {m} ignore_label: 0 }}", x,
                                      label, mode=m, ignore=0) for m in MODES]


def euclidean(bottoms, params):
    a, b = bottoms
    return [np.array(((a - b) ** 2).sum() / (2 * a.shape[0]))]


def hinge(norm):
    """Margins of one against the rest: 1 - x on the label, 1 + x elsewhere."""
    def run(bottoms, params):
        x = bottoms[0].reshape(bottoms[0].shape[0], -1)
        label = bottoms[1].reshape(-1).astype(int)
        sign = -np.ones_like(x)
        sign[np.arange(len(x)), label] = 1
        margin = np.maximum(0, 1 - sign * x)
        return [np.array((margin if norm == "L1" else margin ** 2).sum() / len(x))]
    return run


def sigmoid_loss(mode="BATCH_SIZE", ignore=None):
    """- t log s(x) - (1 - t) log(1 - s(x)), summed."""
    def run(bottoms, params):
        x, t = bottoms
        loss = np.logaddexp(0, x) - t * x
        valid = t.astype(int) != ignore if ignore is not None else np.full(t.shape, True)
        outer = x.shape[0]
        return [np.array(loss[valid].sum() / divisor(mode, outer, x.size // outer, valid.sum()))]
    return run


def torch_sigmoid_loss(bottoms, params):
    import torch
    x, t = bottoms
    total = torch.nn.functional.binary_cross_entropy_with_logits(x, t.detach(), reduction="sum")
    return [total / x.shape[0]]


def contrastive(margin, legacy):
    """Similar pairs: d^2; others: the square of what the margin lacks."""
    def run(bottoms, params):
        a, b, similar = bottoms
        d2 = ((a - b).reshape(len(a), -1) ** 2).sum(1)
        apart = (np.maximum(margin - d2, 0) if legacy
                 else np.maximum(margin - np.sqrt(d2), 0) ** 2)
        y = similar.reshape(-1)
        return [np.array((y * d2 + (1 - y) * apart).sum() / (2 * len(a)))]
    return run


def contrastive_case(name, margin, legacy=False, shape=(8, 3, 1, 1), scale=0.4):
    text = f"contrastive_loss_param {{ margin: {margin} legacy_version: {str(legacy).lower()} }}"
    similar = (np.arange(shape[0]) % 3 == 0).astype(np.float32)
    # Caffe divides by d + 1e-4 where the derivative has d.
    return Case(name, text, [[normal(*shape, scale=scale), normal(*shape, seed=1, scale=scale),
                              similar]], contrastive(margin, legacy), flows=[True, True, False],
                gtol=1e-3)


def infogain(axis=1, mode="VALID", ignore=None, matrix=None, probability=False):
    """- sum over positions and classes of H[label, k] log p_k, p the softmax."""
    def run(bottoms, params):
        x, label = bottoms[0], bottoms[1].reshape(-1).astype(int)
        h = (bottoms[2] if matrix is None else matrix).reshape(x.shape[axis], -1)
        p = softmax(x, axis)
        rows = np.log(np.maximum(per_position(p, axis), 1e-20))
        valid = label != ignore if ignore is not None else np.full(label.shape, True)
        loss = -(h[np.where(valid, label, 0)] * rows).sum(1)
        outer = int(np.prod(x.shape[:axis]))
        total = loss[valid].sum() / divisor(mode, outer, len(rows) // outer, valid.sum())
        return [np.array(total), p] if probability else [np.array(total)]
    return run


def infogain_case(name, text, x, label, **options):
    classes = x.shape[options.get("axis", 1)]
    matrix = uniform(1, 1, classes, classes, low=0.1, seed=61)
    return Case(name, text, [[x, label, matrix]], infogain(**options),
                flows=[True, False, False], tops=2 if options.get("probability") else 1,
                gradient_tops=(0,))


def multinomial(bottoms, params):
    p, label = bottoms[0].reshape(len(bottoms[0]), -1), bottoms[1].reshape(-1).astype(int)
    return [np.array(-np.log(np.maximum(p[np.arange(len(p)), label], 1e-20)).sum() / len(p))]


def smooth_l1(sigma=1.0):
    """Bottoms: prediction, target, weights within, weights outside."""
    def run(bottoms, params):
        d = bottoms[0] - bottoms[1]
        if len(bottoms) > 2:
            d = d * bottoms[2]
        s2 = sigma ** 2
        loss = np.where(np.abs(d) < 1 / s2, 0.5 * s2 * d ** 2, np.abs(d) - 0.5 / s2)
        if len(bottoms) > 3:
            loss = loss * bottoms[3]
        return [np.array(loss.sum() / len(d))]
    return run


def smooth_l1_case(name, text, bottoms, sigma=1.0):
    shape = (3, 4, 2, 2)
    b = [away_from(normal(*shape, scale=1.5), -1, 1), np.zeros(shape, np.float32),
         uniform(*shape, low=0.5, high=1.0, seed=62), uniform(*shape, low=0.1, seed=63)]
    if bottoms < 3:
        b[1] = normal(*shape, seed=2, scale=0.3)
        b[0] = b[1] + away_from(normal(*shape, scale=1.5), -1 / sigma ** 2, 1 / sigma ** 2)
    else:  # no weighted difference on the kink
        at = 1 / sigma ** 2
        b[0] = (away_from(b[0] * b[2], -at, at) / b[2]).astype(np.float32)
    def torch(bottoms_, params):
        import torch as t
        return [t.nn.functional.smooth_l1_loss(bottoms_[0], bottoms_[1], reduction="sum",
                                               beta=1 / sigma ** 2) / shape[0]]
    return Case(name, text, [b[:bottoms]], smooth_l1(sigma),
                flows=[True, True, False, False][:bottoms],
                torch=torch if bottoms == 2 and sigma == 1 else None)


def accuracy(top_k=1, axis=1, ignore=None, per_class=False):
    def run(bottoms, params):
        x, label = bottoms[0], bottoms[1].reshape(-1).astype(int)
        rows = per_position(x, axis % x.ndim)
        valid = label != ignore if ignore is not None else np.full(label.shape, True)
        own = rows[np.arange(len(rows)), np.where(valid, label, 0)]
        hit = (rows > own[:, None]).sum(1) < top_k
        share = np.array(hit[valid].mean() if valid.any() else 0.0)
        if not per_class:
            return [share]
        each = [hit[valid & (label == k)] for k in range(rows.shape[1])]
        return [share, np.array([e.mean() if len(e) else 0.0 for e in each])]
    return run


def accuracy_case(name, text, x, label, **options):
    return Case(name, text, [[x, label]], accuracy(**options), backward=False, phase="TEST",
                tops=2 if options.get("per_class") else 1)


CASES = {
    "SoftmaxWithLoss": softmax_losses(),
    "EuclideanLoss": [Case("both bottoms", "", [[normal(4, 3, 2, 2), normal(4, 3, 2, 2, seed=1)],
                                                [normal(2, 5), normal(2, 5, seed=1)]], euclidean)],
    "HingeLoss": [Case(f"{norm}", f"hinge_loss_param {{ norm: {norm} }}",
                       [[away_from(normal(6, 5), -1, 1), labels(6, classes=5)],
                        [away_from(normal(3, 4, 1, 1), -1, 1), labels(3, classes=4)]],
                       hinge(norm), flows=[True, False]) for norm in ("L1", "L2")],
    "SigmoidCrossEntropyLoss": [
        Case("default", "", [[normal(4, 3, 2, 2, scale=2), uniform(4, 3, 2, 2)],
                             [normal(2, 6, scale=8), uniform(2, 6)]], sigmoid_loss(),
             flows=[True, False], torch=torch_sigmoid_loss),
        Case("ignored label", "loss_param { ignore_label: 1 }",
             [[normal(6, 5), labels(6, 5, classes=2)]], sigmoid_loss(ignore=1),
             flows=[True, False]),
        Case("large scores", "", [[normal(4, 3, scale=50), labels(4, 3, classes=2)]],
             sigmoid_loss(), flows=[True, False]),
    ] + [Case(f"normalization {m}", f"loss_param {{ normalization: {m} ignore_label: 0 }}",
              [[normal(6, 5), labels(6, 5, classes=2)]], sigmoid_loss(m, 0), flows=[True, False])
         for m in MODES],
    "ContrastiveLoss": [contrastive_case("margin 1", 1.0),
                        contrastive_case("margin 2, four axes", 2.0, shape=(5, 4, 1, 1)),
                        contrastive_case("legacy", 1.0, True, scale=0.3)],
    "InfogainLoss": [
        infogain_case("matrix as a bottom", "", normal(4, 5), labels(4, classes=5)),
        infogain_case("spatial, with probabilities", "", normal(2, 3, 2, 3),
                      labels(2, 1, 2, 3, classes=3), probability=True),
        infogain_case("axis 2", "infogain_loss_param { axis: 2 }", normal(2, 3, 4),
                      labels(2, 3, classes=4), axis=2),
    ] + [infogain_case(f"normalization {m}, ignored label",
                       f"loss_param {{ normalization: {m} ignore_label: 1 }}",
                       normal(3, 4, 2, 2), labels(3, 1, 2, 2, classes=4), mode=m, ignore=1)
         for m in MODES],
    "MultinomialLogisticLoss": [
        Case("default", "", [[softmax(normal(5, 4), 1).astype(np.float32), labels(5, classes=4)],
                             [softmax(normal(3, 6), 1).astype(np.float32), labels(3, classes=6)]],
             multinomial, flows=[True, False], gtol=5e-4)],
    "SmoothL1Loss": [
        smooth_l1_case("two bottoms", "", 2),
        smooth_l1_case("weights within", "", 3),
        smooth_l1_case("all weights", "", 4),
        smooth_l1_case("sigma 3", "smooth_l1_loss_param { sigma: 3 }", 2, 3.0),
    ],
    "Accuracy": [
        accuracy_case("default", "", normal(40, 5), labels(40, classes=5)),
        accuracy_case("top 3", "accuracy_param { top_k: 3 }", normal(40, 7), labels(40, classes=7),
                      top_k=3),
        accuracy_case("spatial", "", normal(3, 5, 4, 4), labels(3, 1, 4, 4, classes=5)),
        accuracy_case("axis 2", "accuracy_param { axis: 2 }", normal(3, 4, 5), labels(3, 4, classes=5),
                      axis=2),
        accuracy_case("ignored label", "accuracy_param { ignore_label: 2 }", normal(40, 5),
                      labels(40, classes=5), ignore=2),
        accuracy_case("per class", "", normal(40, 5), labels(40, classes=5), per_class=True),
        accuracy_case("per class, one absent, top 2", "accuracy_param { top_k: 2 }", normal(40, 6),
                      labels(40, classes=5), per_class=True, top_k=2),
        accuracy_case("per class, ignored label", "accuracy_param { ignore_label: 0 }",
                      normal(40, 5), labels(40, classes=5), per_class=True, ignore=0),
    ],
}
