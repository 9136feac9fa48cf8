"""Layers that python_layer_test.py puts into nets."""
import numpy as np

import caffe
from weighted_layer import Weighted  # noqa: F401


class TenTimes(caffe.Layer):
    """top = 10 bottom"""

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = 10 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 10 * top[0].diff


class Raises(TenTimes):
    """Fails where param_str says."""

    def setup(self, bottom, top):
        if self.param_str == "setup":
            raise KeyError("in setup")

    def forward(self, bottom, top):
        if self.param_str == "forward":
            raise LookupError("in forward")
        super().forward(bottom, top)

    def backward(self, top, propagate_down, bottom):
        raise ZeroDivisionError("in backward")


class Phase(caffe.Layer):
    """top = the net's phase"""

    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[()] = self.phase

    def backward(self, top, propagate_down, bottom):
        pass


class ParamStr(caffe.Layer):
    """top = param_str + bottom"""

    def setup(self, bottom, top):
        self.value = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.value + bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff


class GrowingBatches(caffe.Layer):
    """A source whose batch n has n items of 1: (1), (1, 1), ..."""

    def setup(self, bottom, top):
        self.reshapes = self.forwards = 0

    def reshape(self, bottom, top):
        self.reshapes += 1
        top[0].reshape(self.forwards + 1, 2)

    def forward(self, bottom, top):
        self.forwards += 1
        top[0].data[...] = self.forwards

    def backward(self, top, propagate_down, bottom):
        pass


class Choose(caffe.Layer):
    """Items of bottom 0 whose number in bottom 1 is not 0: as many as data say.
    param_str: where the top is reshaped."""

    def reshape(self, bottom, top):
        self.chosen = np.flatnonzero(bottom[1].data)
        if self.param_str == "reshape":
            top[0].reshape(len(self.chosen), *bottom[0].shape[1:])
        else:
            top[0].reshape(1, *bottom[0].shape[1:])  # no idea yet

    def forward(self, bottom, top):
        top[0].reshape(len(self.chosen), *bottom[0].shape[1:])
        top[0].data[...] = bottom[0].data[self.chosen]

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 0
        bottom[0].diff[self.chosen] = top[0].diff


class GrowsInForward(caffe.Layer):
    """A source that knows its shape only in forward: batch n has n items."""

    def setup(self, bottom, top):
        self.calls = 0

    def reshape(self, bottom, top):
        top[0].reshape(1, 2)

    def forward(self, bottom, top):
        self.calls += 1
        top[0].reshape(self.calls, 2)
        top[0].data[...] = self.calls

    def backward(self, top, propagate_down, bottom):
        pass


class Nosy(TenTimes):
    """Keeps the arrays that it was given."""

    def forward(self, bottom, top):
        super().forward(bottom, top)
        self.kept = (bottom[0].data, top[0].data)
