"""Windows over spatial axes: convolution, pooling, im2col, and the like."""
import itertools

import numpy as np

from case import Case
from values import distinct, normal, uniform


class Window:
    """Extents along the spatial axes: kernel, stride, pad, dilation."""

    def __init__(self, kernel, stride=1, pad=0, dilation=1, axes=2):
        def each(v):
            return (v,) * axes if np.isscalar(v) else tuple(v)
        self.kernel, self.stride = each(kernel), each(stride)
        self.pad, self.dilation = each(pad), each(dilation)

    def extent(self, i):
        return self.dilation[i] * (self.kernel[i] - 1) + 1

    def out(self, spatial):
        return tuple((n + 2 * self.pad[i] - self.extent(i)) // self.stride[i] + 1
                     for i, n in enumerate(spatial))

    def text(self):
        return " ".join(f"{field}: {v}" for field, values in
                        (("kernel_size", self.kernel), ("stride", self.stride), ("pad", self.pad),
                         ("dilation", self.dilation)) for v in values)

    def taps(self, x):
        """(offset, the slice of padded x that meets it) per kernel position;
        the spatial axes of x are the last ones."""
        axes = len(self.kernel)
        lead = x.ndim - axes
        padded = np.pad(x, [(0, 0)] * lead + [(p, p) for p in self.pad])
        out = self.out(x.shape[lead:])
        for at in itertools.product(*(range(k) for k in self.kernel)):
            cut = tuple(slice(at[i] * self.dilation[i],
                              at[i] * self.dilation[i] + (out[i] - 1) * self.stride[i] + 1,
                              self.stride[i]) for i in range(axes))
            yield at, padded[(slice(None),) * lead + cut]


def convolution(window, group=1, bias=True):
    """y[n, o] = b[o] + sum over c of o's group, k of w[o, c, k] x[n, c, s q + d k - p]."""
    def run(bottoms, params):
        w = params[0]
        per_group = w.shape[0] // group
        tops = []
        for x in bottoms:
            parts = []
            for g in range(group):
                channels = w.shape[1]
                cut = x[:, g * channels:(g + 1) * channels]
                wg = w[g * per_group:(g + 1) * per_group]
                parts.append(sum(np.einsum("oc,nc...->no...", wg[(...,) + at], tap)
                                 for at, tap in window.taps(cut)))
            y = np.concatenate(parts, axis=1)
            if bias:
                y = y + params[1].reshape((1, -1) + (1,) * (y.ndim - 2))
            tops.append(y)
        return tops
    return run


def deconvolution(window, group=1, bias=True):
    """The transpose of convolution: x[n, c] is added, times w[c, o, k], at s q + d k - p."""
    def run(bottoms, params):
        w = params[0]
        tops = []
        for x in bottoms:
            axes = len(window.kernel)
            full = [window.stride[i] * (x.shape[2 + i] - 1) + window.extent(i) for i in range(axes)]
            per_group, channels = w.shape[1], w.shape[0] // group
            y = np.zeros((x.shape[0], per_group * group, *full))
            for g in range(group):
                for at in itertools.product(*(range(k) for k in window.kernel)):
                    cut = tuple(slice(at[i] * window.dilation[i],
                                      at[i] * window.dilation[i] +
                                      (x.shape[2 + i] - 1) * window.stride[i] + 1,
                                      window.stride[i]) for i in range(axes))
                    y[(slice(None), slice(g * per_group, (g + 1) * per_group)) + cut] += np.einsum(
                        "co,nc...->no...", w[(slice(g * channels, (g + 1) * channels),
                                              slice(None)) + at],
                        x[:, g * channels:(g + 1) * channels])
            y = y[(slice(None),) * 2 + tuple(slice(p, f - p) for p, f in zip(window.pad, full))]
            if bias:
                y = y + params[1].reshape((1, -1) + (1,) * axes)
            tops.append(y)
        return tops
    return run


def torch_convolution(window, group=1, transposed=False):
    def run(bottoms, params):
        import torch
        name = "conv_transpose" if transposed else "conv"
        function = getattr(torch.nn.functional, f"{name}{len(window.kernel)}d")
        return [function(x, *params, stride=window.stride, padding=window.pad,
                         dilation=window.dilation, groups=group) for x in bottoms]
    return run


def conv_case(name, steps, outputs, window, group=1, bias=True, transposed=False, extra="",
              torch=True):
    channels = steps[0][0].shape[1]
    shape = ((channels, outputs // group) if transposed else (outputs, channels // group))
    params = [normal(*shape, *window.kernel, seed=21, scale=0.5)]
    if bias:
        params.append(normal(outputs, seed=22))
    text = (f"convolution_param {{ num_output: {outputs} group: {group} {window.text()} {extra} "
            f"bias_term: {'true' if bias else 'false'} }}")
    reference = (deconvolution if transposed else convolution)(window, group, bias)
    # torch has kernels of one to three axes, and no others.
    torch = torch_convolution(window, group, transposed) if torch else None
    return Case(name, text, steps, reference, params, torch, tops=len(steps[0]), rtol=5e-5,
                atol=1e-5)


def convolutions(transposed):
    """The same windows for Convolution and for its transpose."""
    def case(name, steps, outputs, window, **options):
        return conv_case(name, steps, outputs, window, transposed=transposed, **options)
    x = [[normal(2, 3, 6, 5)], [normal(1, 3, 7, 8, seed=1)]]
    wide = [[normal(2, 16, 5, 6, seed=2)]]
    return [
        case("3x3", x, 4, Window(3)),
        case("3x3, stride 2, pad 1", x, 4, Window(3, 2, 1)),
        case("rectangular", x, 4, Window((3, 2), (1, 2), (2, 1))),
        case("1x1", x, 5, Window(1)),
        case("1x1, stride 2", x, 5, Window(1, 2)),
        case("no bias", x, 4, Window(3), bias=False),
        case("dilation", [[normal(2, 3, 9, 8, seed=3)]], 4, Window(3, 1, 2, 2)),
        case("dilation and stride, unequal", [[normal(1, 3, 9, 9, seed=4)]], 2,
             Window((3, 2), (2, 1), (2, 0), (2, 3))),
        case("two groups", [[normal(2, 4, 6, 5)]], 6, Window(3, 1, 1), group=2),
        case("16 channels, whole blocks", wide, 16, Window(3, 1, 1)),
        case("16 channels, 4 groups", wide, 32, Window(3, 2, 1), group=4),
        case("a group per channel", wide, 16, Window(3, 1, 1), group=16),
        case("a group per channel, doubled", [[normal(2, 3, 5, 6)]], 6, Window(3, 1, 1), group=3),
        case("17 channels to 9", [[normal(1, 17, 4, 5)]], 9, Window(3, 1, 1)),
        case("two bottoms", [[normal(2, 3, 6, 5), normal(2, 3, 6, 5, seed=9)]], 4, Window(3)),
        case("kernel as large as the bottom", [[normal(2, 3, 4, 4)]], 4, Window(4)),
        case("one spatial axis", [[normal(2, 3, 9)]], 4, Window(3, 2, 1, axes=1)),
        case("three spatial axes", [[normal(1, 2, 4, 5, 3)]], 3, Window(2, 1, 1, axes=3)),
        case("three spatial axes, groups", [[normal(1, 4, 4, 5, 3)]], 4,
             Window((2, 3, 1), (2, 1, 1), (1, 1, 0), axes=3), group=2),
        case("four spatial axes", [[normal(1, 2, 3, 4, 3, 3)]], 2, Window(2, axes=4), torch=False),
        case("force_nd_im2col", x, 4, Window(3, 2, 1), extra="force_nd_im2col: true"),
    ]


def sobel():
    """A known filter: Sobel's G_x = [1 2 1]^T [-1 0 1], on three channels."""
    kernel = np.outer([1, 2, 1], [-1, 0, 1]).astype(np.float32)
    window = Window(3)
    return Case("Sobel", f"convolution_param {{ num_output: 1 {window.text()} bias_term: false }}",
                [[normal(2, 3, 6, 4)]], convolution(window, bias=False),
                [np.broadcast_to(kernel, (1, 3, 3, 3)).copy()])


def leading(reference, axis):
    """Axes before the channel axis count as items together."""
    def run(bottoms, params):
        tops = []
        for x in bottoms:
            y, = reference([x.reshape(-1, *x.shape[axis:])], params)
            tops.append(y.reshape(*x.shape[:axis], *y.shape[1:]))
        return tops
    return run


def channel_axes():
    """axis names the channel axis; behind it stand the spatial ones, even none."""
    window = Window(3, 2, 1, axes=1)
    none = Window((), (), (), (), axes=0)
    return [
        Case("axis 2", f"convolution_param {{ num_output: 5 axis: 2 {window.text()} }}",
             [[normal(2, 3, 4, 9)], [normal(1, 2, 4, 6)]], leading(convolution(window), 2),
             [normal(5, 4, 3, seed=21), normal(5, seed=22)]),
        Case("no spatial axis", "convolution_param { num_output: 5 axis: 3 }",
             [[normal(2, 3, 6, 4)]], leading(convolution(none), 3),
             [normal(5, 4, seed=21), normal(5, seed=22)], rtol=5e-5, atol=1e-5),
    ]


# Pooling ------------------------------------------------------------------


class Pool(Window):
    """Caffe's pooling extents: rounded up unless FLOOR; with padding, the last
    window must begin inside the bottom or the padding before it."""

    def __init__(self, kernel, stride=1, pad=0, floor=False, axes=2):
        super().__init__(kernel, stride, pad, axes=axes)
        self.floor = floor

    def out(self, spatial):
        result = []
        for i, n in enumerate(spatial):
            room = n + 2 * self.pad[i] - self.kernel[i]
            count = (room // self.stride[i] if self.floor else -(-room // self.stride[i])) + 1
            if any(self.pad) and (count - 1) * self.stride[i] >= n + self.pad[i]:
                count -= 1
            result.append(count)
        return tuple(result)

    def windows(self, spatial):
        """Per output: (index, clipped slices, size clipped to the padded bottom)."""
        for at in np.ndindex(*self.out(spatial)):
            cut, size = [], 1
            for i, q in enumerate(at):
                start = q * self.stride[i] - self.pad[i]
                end = min(start + self.kernel[i], spatial[i] + self.pad[i])
                size *= end - start
                cut.append(slice(max(start, 0), min(end, spatial[i])))
            yield at, tuple(cut), size

    def text(self):
        names = (("kernel", self.kernel), ("stride", self.stride), ("pad", self.pad))
        if any(len(set(v)) > 1 for _, v in names):
            body = " ".join(f"{n}_h: {v[0]} {n}_w: {v[1]}" for n, v in names)
        else:
            body = f"kernel_size: {self.kernel[0]} stride: {self.stride[0]} pad: {self.pad[0]}"
        return body + (" round_mode: FLOOR" if self.floor else "")


def pooled(pool, reduce, mask=False):
    def run(bottoms, params):
        x = bottoms[0]
        spatial = x.shape[2:]
        y = np.zeros(x.shape[:2] + pool.out(spatial))
        where = np.zeros_like(y)
        index = np.arange(int(np.prod(spatial))).reshape(spatial)
        for at, cut, size in pool.windows(spatial):
            part = x[(slice(None),) * 2 + cut].reshape(*x.shape[:2], -1)
            y[(slice(None),) * 2 + at] = reduce(part, size)
            where[(slice(None),) * 2 + at] = index[cut].reshape(-1)[part.argmax(-1)]
        return [y, where] if mask else [y]
    return run


def largest(part, size):
    return part.max(-1)


def average(part, size):
    return part.sum(-1) / size


def expectation(part, size):
    """STOCHASTIC in TEST: each activation weighs what it would be drawn with."""
    total = part.sum(-1)
    return (part ** 2).sum(-1) / np.where(total == 0, 1, total)


def torch_pool(pool, method):
    """torch agrees where no window sticks out: padding counts in its average."""
    def run(bottoms, params):
        import torch
        functional = torch.nn.functional
        x, axes = bottoms[0], len(pool.kernel)
        if method == "MAX":
            function = getattr(functional, f"max_pool{axes}d")
            return [function(x, pool.kernel, pool.stride, pool.pad, ceil_mode=not pool.floor)]
        function = getattr(functional, f"avg_pool{axes}d")
        return [function(x, pool.kernel, pool.stride, pool.pad, ceil_mode=not pool.floor)]
    return run


def pool_case(name, method, x, pool, torch=False, text=None, **options):
    reduce = {"MAX": largest, "AVE": average, "STOCHASTIC": expectation}[method]
    body = pool.text() if text is None else text
    return Case(f"{method} {name}", f"pooling_param {{ pool: {method} {body} }}",
                [[b] for b in x], pooled(pool, reduce, options.get("tops") == 2),
                torch=torch_pool(pool, method) if torch else None, **options)


def global_pool(method):
    class Whole(Pool):
        def __init__(self):
            super().__init__(1)

        def out(self, spatial):
            return (1,) * len(spatial)

        def windows(self, spatial):
            yield (0,) * len(spatial), tuple(slice(0, n) for n in spatial), int(np.prod(spatial))
    x = [distinct(2, 3, 5, 4), distinct(1, 3, 3, 6, seed=1)]
    return pool_case("global", method, x, Whole(), text="global_pooling: true")


def check_stochastic(pool):
    """TRAIN: a top is one of its window's elements, its gradient goes there."""
    def check(case, step, tops, bottom_gradients):
        x, y = case.steps[step][0], tops[0]
        expected, above = np.zeros(x.shape), 0
        weights = case.top_gradients(step)[0]
        for at, cut, _ in pool.windows(x.shape[2:]):
            for n, c in np.ndindex(*x.shape[:2]):
                part = x[(n, c) + cut]
                hit = np.argwhere(part == y[(n, c) + at])
                if len(hit) != 1:
                    return f"top {(n, c) + at} is no element of its window"
                position = tuple(s.start + int(k) for s, k in zip(cut, hit[0]))
                expected[(n, c) + position] += weights[(n, c) + at]
                above += part[tuple(hit[0])] >= part.mean()
        if not np.allclose(bottom_gradients[0], expected, atol=1e-6):
            return "the gradient is not where the element was drawn"
        # Large activations are drawn more often than small ones.
        if above < 0.55 * y.size:
            return f"only {above} of {y.size} draws are above their window's mean"
        return None
    return check


def poolings():
    x = [distinct(2, 3, 6, 7), distinct(1, 3, 9, 5, seed=1)]
    wide = [distinct(1, 17, 6, 6, seed=2)]
    positive = [uniform(2, 3, 6, 7, low=0.1, high=1.0), uniform(1, 3, 5, 5, low=0.1, high=1.0)]
    cases = []
    for method in ("MAX", "AVE"):
        cases += [
            pool_case("2x2 stride 2", method, x[:1], Pool(2, 2, floor=True), torch=True),
            pool_case("3x3 stride 2, rounded up", method, x, Pool(3, 2), torch=method == "MAX"),
            pool_case("3x3 stride 2, FLOOR", method, x, Pool(3, 2, floor=True), torch=True),
            pool_case("pad 1", method, x, Pool(3, 2, 1)),
            pool_case("pad 1, FLOOR", method, x, Pool(3, 2, 1, floor=True), torch=True),
            pool_case("pad 2, 4x4 stride 3", method, x, Pool(4, 3, 2)),
            pool_case("rectangular", method, x, Pool((3, 2), (2, 1), (1, 0))),
            pool_case("17 channels", method, wide, Pool(3, 2)),
            pool_case("stride above kernel", method, [distinct(1, 2, 7, 7, seed=4)], Pool(2, 3)),
            pool_case("three spatial axes", method, [distinct(1, 2, 4, 5, 4)],
                      Pool(2, 2, axes=3)),
            global_pool(method),
        ]
    cases += [
        pool_case("with indices", "MAX", x, Pool(3, 2), tops=2, gradient_tops=(0,)),
        pool_case("with indices and padding", "MAX", x, Pool(3, 2, 1), tops=2,
                  gradient_tops=(0,)),
        pool_case("in TEST", "STOCHASTIC", positive, Pool(2, 2), phase="TEST", backward=False),
        pool_case("in TRAIN", "STOCHASTIC", [uniform(3, 4, 8, 8, low=0.1, high=1)], Pool(2, 2),
                  check=check_stochastic(Pool(2, 2)), rtol=np.inf, gtol=np.inf),
    ]
    return cases


def spp(height, reduce):
    """Level l cuts the bottom into 2^l x 2^l windows."""
    def run(bottoms, params):
        x = bottoms[0]
        parts = []
        for level in range(height):
            bins = 2 ** level
            kernel = [-(-n // bins) for n in x.shape[2:]]
            pad = [(k * bins - n + 1) // 2 for k, n in zip(kernel, x.shape[2:])]
            parts.append(pooled(Pool(kernel, kernel, pad), reduce)([x], [])[0])
        if height == 1:
            return parts
        return [np.concatenate([p.reshape(x.shape[0], -1) for p in parts], axis=1)]
    return run


def spp_case(name, method, height, x):
    return Case(f"{method} {name}",
                f"spp_param {{ pyramid_height: {height} pool: {method} }}", [[b] for b in x],
                spp(height, largest if method == "MAX" else average))


def im2col(window):
    """Row (c, k) of column q is x[c, s q + d k - p]."""
    def run(bottoms, params):
        taps = np.stack([tap for _, tap in window.taps(bottoms[0])], axis=2)
        n, c, k = taps.shape[:3]
        return [taps.reshape(n, c * k, *taps.shape[3:])]
    return run


def im2col_case(name, x, window):
    return Case(name, f"convolution_param {{ {window.text()} }}", [[b] for b in x],
                im2col(window))


CASES = {
    "Convolution": convolutions(False) + [sobel()] + channel_axes(),
    "Deconvolution": convolutions(True),
    "DepthwiseConvolution": [
        conv_case("3x3, pad 1", [[normal(2, 16, 5, 6)], [normal(1, 16, 4, 4)]], 16,
                  Window(3, 1, 1), group=16),
        conv_case("stride 2, 3 channels", [[normal(2, 3, 7, 6)]], 3, Window(3, 2, 1), group=3),
        conv_case("dilation, no bias", [[normal(1, 4, 9, 9)]], 4, Window(3, 1, 2, 2), group=4,
                  bias=False),
    ],
    "Pooling": poolings(),
    "SPP": [spp_case(f"{h} levels", method, h, x)
            for method in ("MAX", "AVE")
            for h, x in ((1, [distinct(2, 3, 5, 4)]),
                         (2, [distinct(2, 3, 6, 5), distinct(1, 3, 4, 7)]),
                         (3, [distinct(1, 2, 9, 8)]))],
    "Im2col": [
        im2col_case("3x3", [normal(2, 3, 6, 5), normal(1, 3, 5, 7)], Window(3)),
        im2col_case("stride 2, pad 1", [normal(2, 3, 6, 5)], Window(3, 2, 1)),
        im2col_case("rectangular, dilation", [normal(1, 2, 8, 7)],
                    Window((3, 2), (1, 2), (1, 0), (2, 1))),
        im2col_case("three spatial axes", [normal(1, 2, 4, 3, 4)], Window(2, 1, 1, axes=3)),
    ],
}
