"""A loss written in Python: half the mean squared distance, which is what the
built-in EuclideanLoss computes."""
import numpy as np

import caffe


class EuclideanLossLayer(caffe.Layer):
    """loss = sum (a - b)^2 / 2N over the N items of two bottoms."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError("two bottoms are compared")

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise ValueError("the bottoms must have as many values each")
        self.difference = np.zeros(bottom[0].shape, np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.difference[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.difference ** 2) / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * top[0].diff * self.difference / bottom[i].num
