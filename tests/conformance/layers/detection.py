"""SSD's layers (Liu et al. 2016) as its fork of Caffe has them.  Boxes are
[xmin, ymin, xmax, ymax] in parts of the image."""
import numpy as np

from case import Case
from norm import softmax
from values import normal, uniform

VARIANCE = (0.1, 0.1, 0.2, 0.2)


# PriorBox --------------------------------------------------------------------


def prior_boxes(min_sizes, max_sizes=(), ratios=(), flip=True, clip=False, variance=(0.1,),
                step=None, offset=0.5, image=None):
    """A box of each size, sqrt(min max) too, then the min size at every ratio,
    around each cell's point; boxes and their variances are the two channels."""
    all_ratios = []
    for ratio in ratios:
        for r in (ratio, 1 / ratio) if flip else (ratio,):
            if all(abs(r - known) > 1e-6 for known in (1.0, *all_ratios)):
                all_ratios.append(r)

    def run(bottoms, params):
        rows, columns = bottoms[0].shape[2:]
        height, width = image or bottoms[1].shape[2:]
        step_h, step_w = step or (height / rows, width / columns)
        boxes = []
        for i, j in np.ndindex(rows, columns):
            x, y = (j + offset) * step_w, (i + offset) * step_h
            for k, size in enumerate(min_sizes):
                sizes = [(size, size)]
                if max_sizes:
                    sizes.append(((size * max_sizes[k]) ** 0.5,) * 2)
                sizes += [(size * r ** 0.5, size / r ** 0.5) for r in all_ratios]
                boxes += [((x - w / 2) / width, (y - h / 2) / height, (x + w / 2) / width,
                           (y + h / 2) / height) for w, h in sizes]
        boxes = np.array(boxes)
        if clip:
            boxes = boxes.clip(0, 1)
        variances = np.tile(np.resize(variance, 4), len(boxes))
        return [np.stack([boxes.reshape(-1), variances])[None]]
    return run


def prior_case(name, text, feature=(1, 4, 3, 2), photo=(1, 3, 30, 40), **options):
    return Case(name, f"prior_box_param {{ {text} }}", [[normal(*feature), normal(*photo)]],
                prior_boxes(**options), backward=False, flows=False)


# Boxes -----------------------------------------------------------------------


def overlap(a, b):
    """Intersection over union of every a with every b."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=-1)

    def area(box):
        return np.prod(np.maximum(box[:, 2:] - box[:, :2], 0), axis=-1)
    either = area(a)[:, None] + area(b)[None] - common
    return np.where(common > 0, common / np.maximum(either, 1e-12), 0)  # inside out: 0


def centres(boxes):
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]


def decode(code, loc, priors, variances, in_target=False):
    """What a location prediction means, by code type."""
    v = np.ones_like(variances) if in_target else variances
    centre, size = centres(priors)
    if code == "CORNER":
        return priors + v * loc
    if code == "CORNER_SIZE":
        return priors + v * loc * np.tile(size, 2)
    middle = centre + v[:, :2] * loc[:, :2] * size
    extent = np.exp(v[:, 2:] * loc[:, 2:]) * size
    return np.concatenate([middle - extent / 2, middle + extent / 2], axis=1)


def encode(code, boxes, priors, variances, in_target=False):
    """The inverse of decode."""
    v = np.ones_like(variances) if in_target else variances
    centre, size = centres(priors)
    if code == "CORNER":
        return (boxes - priors) / v
    if code == "CORNER_SIZE":
        return (boxes - priors) / np.tile(size, 2) / v
    middle, extent = centres(boxes)
    return np.concatenate([(middle - centre) / size / v[:, :2],
                           np.log(extent / size) / v[:, 2:]], axis=1)


# DetectionOutput -------------------------------------------------------------


def suppress(boxes, scores, threshold, nms, top_k=None, eta=1.0):
    """Greedy: best first, a box goes if it overlaps a kept one too much."""
    order = [i for i in np.argsort(-scores, kind="stable") if scores[i] > threshold][:top_k]
    kept = []
    for i in order:
        if all(overlap(boxes[[i]], boxes[[j]])[0, 0] <= nms for j in kept):
            kept.append(i)
            if eta < 1 and nms > 0.5:
                nms *= eta
    return kept


def detections(classes, background=0, nms=0.3, top_k=None, eta=1.0, keep=-1, code="CORNER",
               confidence=-np.inf, share=True, in_target=False):
    """Rows [image, label, score, box]: by image, label, and score."""
    def run(bottoms, params):
        loc, conf, prior = bottoms[:3]
        priors, variances = prior[0, 0].reshape(-1, 4), prior[0, 1].reshape(-1, 4)
        count = len(priors)
        rows = []
        for n in range(len(loc)):
            scores = conf[n].reshape(count, classes)
            codes = loc[n].reshape(count, -1, 4)
            found = []
            for label in range(classes):
                if label == background:
                    continue
                boxes = decode(code, codes[:, 0 if share else label], priors, variances, in_target)
                found += [(scores[i, label], label, boxes[i]) for i in
                          suppress(boxes, scores[:, label], confidence, nms, top_k, eta)]
            if keep > -1:
                found = sorted(found, key=lambda f: -f[0])[:keep]
            rows += [[n, label, score, *box] for score, label, box in
                     sorted(found, key=lambda f: (f[1], -f[0]))]
        return [np.array(rows)[None, None]]
    return run


def detection_inputs(count, classes, items=2, share=True, seed=0):
    """Priors, small codes, and scores that a softmax gave."""
    at = uniform(count, 2, low=0.05, high=0.6, seed=seed)
    size = uniform(count, 2, low=0.15, high=0.4, seed=seed + 1)
    priors = np.concatenate([at, at + size], axis=1)
    prior = np.stack([priors.reshape(-1), np.tile(VARIANCE, count)])[None].astype(np.float32)
    loc = normal(items, count * 4 * (1 if share else classes), seed=seed + 2, scale=0.7)
    conf = softmax(normal(items, count, classes, seed=seed + 3, scale=1.5), 2)
    return [loc, conf.reshape(items, -1).astype(np.float32), prior]


def detection_case(name, text, classes=4, count=20, items=2, **options):
    share = options.get("share", True)
    body = (f"num_classes: {classes} share_location: {str(share).lower()} "
            f"code_type: {options.get('code', 'CORNER')} {text}")
    return Case(name, f"detection_output_param {{ {body} }}",
                [detection_inputs(count, classes, items, share)],
                detections(classes, **options), phase="TEST", backward=False, flows=False,
                layer_only=True)


# MultiBoxLoss ----------------------------------------------------------------


def match(truth, priors, threshold, per_prediction=True):
    """Each truth its best prior, best pairs first; then each other prior the truth
    that it overlaps by the threshold.  -1: none."""
    shared = overlap(priors, truth)
    matched = np.full(len(priors), -1)
    open_pairs = shared.copy()
    for _ in range(len(truth)):
        i, j = np.unravel_index(open_pairs.argmax(), shared.shape)
        if open_pairs[i, j] <= 0:
            break
        matched[i] = j
        open_pairs[i], open_pairs[:, j] = -1, -1
    if per_prediction:
        rest = (matched < 0) & (shared.max(1) >= threshold)
        matched[rest] = shared[rest].argmax(1)
    return matched, shared.max(1) if len(truth) else np.zeros(len(priors))


def smooth_l1_each(d):
    return np.where(np.abs(d) < 1, 0.5 * d ** 2, np.abs(d) - 0.5).sum(-1)


def negative_log(conf, logistic):
    """loss[i, c]: of the scores of box i, if class c is right; the last column: if none is."""
    if not logistic:
        return -np.log(softmax(conf, 1))
    plus = np.logaddexp(0, conf)
    return np.concatenate([plus.sum(1, keepdims=True) - conf, plus.sum(1, keepdims=True)], 1)


def spread_out(order, boxes, nms, top_k):
    """Of the boxes in this order those that overlap no earlier kept one; specks go."""
    kept = []
    for i in order[:top_k]:
        if np.prod(np.maximum(boxes[i, 2:] - boxes[i, :2], 0)) < 1e-5:
            continue
        if all(overlap(boxes[[i]], boxes[[j]])[0, 0] <= nms for j in kept):
            kept.append(i)
    return kept


def multibox(classes, background=0, ratio=3.0, threshold=0.5, negative=0.5, code="CORNER",
             loc_weight=1.0, loc_loss=smooth_l1_each, per_prediction=True, difficult=True,
             share=True, use_prior=True, mining="MAX_NEGATIVE", sample=64, nms=None, top_k=None,
             nms_of_priors=False, logistic=False, frozen=None):
    """Location loss over the matches; confidence loss over the matches and the hardest
    negatives, `ratio` to one, or (no mining) over every box; both divided by the number of
    matches.  HARD_EXAMPLE keeps the `sample` boxes of highest loss, matched or not.

    Where every class has its own boxes a truth is matched with those of its class.
    The choice is no part of the derivative: `frozen` keeps that of the first call."""
    def match_item(codes, rows, priors, boxes_of):
        """{class: truth of every prior, or -1}, and the best overlap of a shared box."""
        if share or use_prior:
            matched, best = match(rows[:, 3:7], boxes_of(0), threshold, per_prediction)
            if share:
                return {0: matched}, best
            labels = np.where(matched >= 0, rows[matched, 1], -1)
            return {c: np.where(labels == c, matched, -1) for c in range(classes)}, best
        found = {}
        for c in sorted(set(rows[:, 1].astype(int))):
            own = np.flatnonzero(rows[:, 1] == c)
            matched, _ = match(rows[own, 3:7], boxes_of(c), threshold, per_prediction)
            found[c] = np.where(matched >= 0, own[matched], -1)
        return found, None

    def run(bottoms, params):
        loc, conf, prior, truth = bottoms
        priors, variances = prior[0, 0].reshape(-1, 4), prior[0, 1].reshape(-1, 4)
        count, none = len(priors), -1 if logistic else background
        location, confidence, matches = 0.0, 0.0, 0
        for n in range(len(loc)):
            codes = loc[n].reshape(count, -1, 4)
            losses = negative_log(conf[n].reshape(count, classes), logistic)
            rows = truth.reshape(-1, 8)
            rows = rows[(rows[:, 0] == n) & (difficult | (rows[:, 7] == 0))]

            def boxes_of(c, of_prior=use_prior):
                return priors if of_prior else decode(code, codes[:, c], priors, variances)

            def distance(c, at, truths):
                wanted = encode(code, rows[truths, 3:7], priors[at], variances[at])
                return loc_loss(codes[at, c] - wanted)
            if not len(rows):  # without any object no negatives either
                if mining == "NONE":
                    confidence += losses[:, none].sum()
                continue
            found, best = match_item(codes, rows, priors, boxes_of)
            target = np.full(count, none)
            for c in sorted(found):
                at = np.flatnonzero(found[c] >= 0)
                target[at] = rows[found[c][at], 1].astype(int)
            used = np.arange(count)
            if mining != "NONE":
                matched, hard = found[0], mining == "HARD_EXAMPLE"
                positive = np.flatnonzero(matched >= 0)
                loss = losses[np.arange(count), np.where(matched >= 0, target, background)]
                if hard:
                    loss[positive] += distance(0, positive, matched[positive])
                candidates = np.arange(count) if hard else np.flatnonzero(
                    (matched < 0) & (best < negative))
                order = candidates[np.argsort(-loss[candidates], kind="stable")]
                if nms is not None:
                    order = spread_out(order, boxes_of(0, nms_of_priors), nms, top_k)
                order = order[:sample if hard else int(ratio * len(positive))]
                chosen = frozen.setdefault((n, len(loc)), list(order))
                target[matched < 0] = background
                if hard:
                    found[0] = np.where(np.isin(np.arange(count), chosen), matched, -1)
                    used = np.array(chosen, int)
                else:
                    used = np.concatenate([positive, chosen]).astype(int)
            confidence += losses[used, target[used]].sum()
            for c, matched in found.items():
                at = np.flatnonzero(matched >= 0)
                location += distance(c, at, matched[at]).sum()
                matches += len(at)
        return [np.array((loc_weight * location + confidence) / max(matches, 1))]
    return run


def multibox_case(name, text, classes=4, count=16, items=2, **options):
    loc, _, prior = detection_inputs(count, classes, items, options.get("share", True), seed=7)
    conf = normal(items, count * classes, seed=17)
    rng = np.random.default_rng(3)
    rows = []
    for n in range(items):
        for k in range(3):  # truths near priors, so that several priors match
            box = prior[0, 0].reshape(-1, 4)[(5 * n + 4 * k) % count] + rng.normal(size=4) * 0.02
            rows.append([n, 1 + k % (classes - 1), k, *box, k == 2])
    truth = np.array(rows, np.float32)[None, None]
    body = f"num_classes: {classes} code_type: {options.get('code', 'CORNER')} {text}"
    return Case(name, f"multibox_loss_param {{ {body} }}", [[loc, conf, prior, truth]],
                multibox(classes, frozen={}, **options), flows=[True, True, False, False],
                gtol=2e-4, layer_only=False)


def half_squares(d):
    return 0.5 * (d ** 2).sum(-1)


CASES = {
    "PriorBox": [
        prior_case("one size", "min_size: 10", min_sizes=(10,)),
        prior_case("ratios, flipped", "min_size: 10 max_size: 18 aspect_ratio: 2 aspect_ratio: 3 "
                   "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2", min_sizes=(10,),
                   max_sizes=(18,), ratios=(2, 3), variance=VARIANCE),
        prior_case("ratios, not flipped", "min_size: 10 aspect_ratio: 2 flip: false "
                   "variance: 0.3", min_sizes=(10,), ratios=(2,), flip=False, variance=(0.3,)),
        prior_case("two sizes, clipped", "min_size: 12 min_size: 20 max_size: 18 max_size: 30 "
                   "aspect_ratio: 2 clip: true", min_sizes=(12, 20), max_sizes=(18, 30),
                   ratios=(2,), clip=True),
        prior_case("step and offset", "min_size: 9 step: 8 offset: 0.25", min_sizes=(9,),
                   step=(8, 8), offset=0.25),
        prior_case("step_h, step_w, img_h, img_w",
                   "min_size: 9 step_h: 12 step_w: 16 img_h: 50 img_w: 60", min_sizes=(9,),
                   step=(12, 16), image=(50, 60)),
        prior_case("img_size, a ratio given twice", "min_size: 9 img_size: 64 aspect_ratio: 1 "
                   "aspect_ratio: 2 aspect_ratio: 0.5", min_sizes=(9,), image=(64, 64),
                   ratios=(1, 2, 0.5)),
    ],
    "DetectionOutput": [
        detection_case("corner", "nms_param { nms_threshold: 0.45 }", nms=0.45),
        detection_case("centre and size, thresholds", "nms_param { nms_threshold: 0.4 top_k: 8 } "
                       "confidence_threshold: 0.3 keep_top_k: 10", code="CENTER_SIZE", nms=0.4,
                       top_k=8, confidence=0.3, keep=10),
        detection_case("corner and size", "nms_param { nms_threshold: 0.3 } keep_top_k: 5",
                       code="CORNER_SIZE", keep=5),
        detection_case("background 2", "background_label_id: 2 nms_param { nms_threshold: 0.3 }",
                       background=2),
        detection_case("a location per class", "nms_param { nms_threshold: 0.4 }", share=False,
                       code="CENTER_SIZE", nms=0.4),
        detection_case("variance encoded in target", "variance_encoded_in_target: true "
                       "nms_param { nms_threshold: 0.4 }", code="CENTER_SIZE", nms=0.4,
                       in_target=True),
        detection_case("adaptive suppression", "nms_param { nms_threshold: 0.7 eta: 0.9 }",
                       nms=0.7, eta=0.9, code="CENTER_SIZE"),
    ],
    "MultiBoxLoss": [
        multibox_case("corner", ""),
        multibox_case("centre and size", "", code="CENTER_SIZE"),
        multibox_case("loc_weight 2, ratio 1", "loc_weight: 2 neg_pos_ratio: 1",
                      code="CENTER_SIZE", loc_weight=2.0, ratio=1.0),
        multibox_case("L2", "loc_loss_type: L2", code="CENTER_SIZE", loc_loss=half_squares),
        multibox_case("bipartite", "match_type: BIPARTITE", per_prediction=False),
        multibox_case("threshold 0.3, no difficult truths",
                      "overlap_threshold: 0.3 neg_overlap: 0.3 use_difficult_gt: false",
                      threshold=0.3, negative=0.3, difficult=False, code="CENTER_SIZE"),
        multibox_case("no mining", "mining_type: NONE", mining="NONE", code="CENTER_SIZE"),
        multibox_case("no mining, logistic", "mining_type: NONE conf_loss_type: LOGISTIC",
                      mining="NONE", logistic=True),
        multibox_case("hard examples", "mining_type: HARD_EXAMPLE sample_size: 6",
                      mining="HARD_EXAMPLE", sample=6, code="CENTER_SIZE"),
        multibox_case("hard examples, logistic, L2", "mining_type: HARD_EXAMPLE sample_size: 5 "
                      "conf_loss_type: LOGISTIC loc_loss_type: L2", mining="HARD_EXAMPLE",
                      sample=5, logistic=True, loc_loss=half_squares),
        multibox_case("predicted boxes are matched", "use_prior_for_matching: false",
                      use_prior=False),
        multibox_case("predicted boxes, hard examples", "use_prior_for_matching: false "
                      "mining_type: HARD_EXAMPLE sample_size: 7", use_prior=False, sample=7,
                      mining="HARD_EXAMPLE", code="CENTER_SIZE"),
        multibox_case("a location per class", "share_location: false mining_type: NONE",
                      share=False, mining="NONE", code="CENTER_SIZE"),
        multibox_case("a location per class, predicted boxes are matched",
                      "share_location: false use_prior_for_matching: false mining_type: NONE "
                      "conf_loss_type: LOGISTIC", share=False, use_prior=False, mining="NONE",
                      logistic=True),
        multibox_case("negatives that overlap no harder one",
                      "nms_param { nms_threshold: 0.2 }", nms=0.2, code="CENTER_SIZE"),
        multibox_case("hard examples among the first, apart by their priors",
                      "mining_type: HARD_EXAMPLE sample_size: 6 use_prior_for_nms: true "
                      "nms_param { nms_threshold: 0.3 top_k: 12 }", mining="HARD_EXAMPLE",
                      sample=6, nms=0.3, top_k=12, nms_of_priors=True),
    ],
}
