"""Recurrent layers.  x is T x N x ..., cont is T x N: 0 where a sequence begins."""
import numpy as np

from case import Case
from neuron import sigmoid
from values import normal


def lstm_unit(c, gates, cont):
    """Gates i, f, o, g in this order along the last axis."""
    i, f, o, g = np.split(gates, 4, -1)
    c = cont[..., None] * sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return c, sigmoid(o) * np.tanh(c)


def flat(x):
    """T x N x features."""
    return x.reshape(*x.shape[:2], -1)


def lstm(static=False, exposed=False):
    """Parameters: W_xc (4H x D), b_c, [W_xc_static], W_hc (4H x H)."""
    def run(bottoms, params):
        x, cont = flat(bottoms[0]), bottoms[1]
        w_x, b, w_h = params[0], params[1], params[-1]
        hidden = w_h.shape[1]
        c = h = np.zeros((x.shape[1], hidden))
        if exposed:
            h, c = bottoms[-2][0], bottoms[-1][0]
        fixed = b + (bottoms[2].reshape(len(h), -1) @ params[2].T if static else 0)
        tops = []
        for t in range(len(x)):
            gates = x[t] @ w_x.T + fixed + (cont[t][:, None] * h) @ w_h.T
            c, h = lstm_unit(c, gates, cont[t])
            tops.append(h)
        return [np.stack(tops)] + ([h[None], c[None]] if exposed else [])
    return run


def rnn(static=False, exposed=False):
    """h = tanh(W_hh h + W_xh x + b_h), o = tanh(W_ho h + b_o).  Parameters: W_xh, b_h,
    [W_xh_static], W_hh, W_ho, b_o."""
    def run(bottoms, params):
        x, cont = flat(bottoms[0]), bottoms[1]
        w_x, b_h = params[:2]
        w_h, w_o, b_o = params[-3:]
        h = bottoms[-1][0] if exposed else np.zeros((x.shape[1], len(w_h)))
        fixed = b_h + (bottoms[2].reshape(x.shape[1], -1) @ params[2].T if static else 0)
        tops = []
        for t in range(len(x)):
            h = np.tanh(x[t] @ w_x.T + fixed + (cont[t][:, None] * h) @ w_h.T)
            tops.append(np.tanh(h @ w_o.T + b_o))
        return [np.stack(tops)] + ([h[None]] if exposed else [])
    return run


def torch_lstm(bottoms, params):
    """torch's gates are i, f, g, o; one sequence per call, so cont is 1 after t = 0."""
    import torch
    x, (w_x, b, w_h) = bottoms[0].flatten(2), params
    hidden = w_h.shape[1]
    order = torch.cat([torch.arange(k * hidden, (k + 1) * hidden) for k in (0, 1, 3, 2)])
    w_x, b, w_h = w_x[order], b[order], w_h[order]
    h = c = torch.zeros(x.shape[1], hidden, dtype=torch.float64)
    tops = []
    for t in range(len(x)):
        h, c = torch._VF.lstm_cell(x[t], (h, c), w_x, w_h, b, torch.zeros_like(b))
        tops.append(h)
    return [torch.stack(tops)]


def torch_rnn(bottoms, params):
    import torch
    x, (w_x, b_h, w_h, w_o, b_o) = bottoms[0].flatten(2), params
    h = torch.zeros(x.shape[1], len(w_h), dtype=torch.float64)
    tops = []
    for t in range(len(x)):
        h = torch._VF.rnn_tanh_cell(x[t], h, w_x, w_h, b_h, torch.zeros_like(b_h))
        tops.append(torch.tanh(torch.nn.functional.linear(h, w_o, b_o)))
    return [torch.stack(tops)]


def starts(steps, items, fresh=()):
    """cont: 0 at the first step and at the (t, n) of `fresh`."""
    cont = np.ones((steps, items), np.float32)
    cont[0] = 0
    for at in fresh:
        cont[at] = 0
    return cont


def recurrent_case(kind, name, features, fresh=(), static=0, exposed=False, steps=((4, 3), (2, 5)),
                   torch=None, hidden=4):
    gates = 4 * hidden if kind == "LSTM" else hidden
    size = int(np.prod(features))
    params = [normal(gates, size, seed=71, scale=0.5), normal(gates, seed=72, scale=0.5)]
    if static:
        params.append(normal(gates, static, seed=73, scale=0.5))
    params.append(normal(gates, hidden, seed=74, scale=0.5))
    if kind == "RNN":
        params += [normal(hidden, hidden, seed=75, scale=0.5), normal(hidden, seed=76)]
    states = 2 if kind == "LSTM" else 1
    all_steps = []
    for length, items in steps:
        cont = starts(length, items, [at for at in fresh if at[0] < length and at[1] < items])
        if exposed:
            cont[0] = 1  # goes on from the state given
        bottoms = [normal(length, items, *features, seed=length), cont]
        if static:
            bottoms.append(normal(items, static, seed=5))
        if exposed:
            bottoms += [normal(1, items, hidden, seed=6 + i) for i in range(states)]
        all_steps.append(bottoms)
    text = (f"recurrent_param {{ num_output: {hidden} expose_hidden: {str(exposed).lower()} "
            'weight_filler { type: "uniform" } bias_filler { type: "uniform" } }')
    reference = (lstm if kind == "LSTM" else rnn)(bool(static), exposed)
    return Case(name, text, all_steps, reference, params, torch,
                tops=1 + (states if exposed else 0),
                flows=[i != 1 for i in range(len(all_steps[0]))])


def recurrent(kind, torch):
    def case(name, *rest, **options):
        return recurrent_case(kind, name, *rest, **options)
    return [
        case("one sequence an item", (5,), torch=torch),
        case("sequences end inside", (5,), fresh=[(2, 0), (1, 1), (3, 2)]),
        case("features on two axes", (2, 3), steps=((3, 2),), torch=torch),
        case("one step", (5,), steps=((1, 3),), torch=torch),
        case("static input", (3,), static=2, fresh=[(2, 1)]),
        case("hidden state exposed", (3,), exposed=True, fresh=[(2, 1)]),
        case("static input, hidden state exposed", (3,), static=2, exposed=True),
    ]


def unit(bottoms, params):
    c, gates, cont = bottoms
    return list(lstm_unit(c, gates, cont))


def unit_case(name, items, cont, hidden=5):
    cont = np.array([cont], np.float32)
    return Case(name, "", [[normal(1, items, hidden), normal(1, items, 4 * hidden, seed=1), cont]],
                unit, tops=2, flows=[True, True, False])


CASES = {
    "LSTM": recurrent("LSTM", torch_lstm),
    "RNN": recurrent("RNN", torch_rnn),
    "LSTMUnit": [unit_case("all go on", 3, [1, 1, 1]), unit_case("some begin", 4, [1, 0, 1, 0])],
}
