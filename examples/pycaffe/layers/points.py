"""A data source written in Python: noisy points of a plane."""
import json

import numpy as np

import caffe


class Points(caffe.Layer):
    """Tops x (batch x n) and y (batch x 1): y = slope . x + offset + noise.

    param_str is JSON: batch, slope (n numbers), offset, noise, seed. Every worker
    of a job has points of its own.
    """

    def setup(self, bottom, top):
        settings = json.loads(self.param_str)
        self.batch = settings["batch"]
        self.slope = np.array(settings["slope"], np.float32)
        self.offset, self.noise = settings["offset"], settings["noise"]
        self.random = np.random.RandomState(settings["seed"] + caffe.solver_rank())

    def reshape(self, bottom, top):
        top[0].reshape(self.batch, len(self.slope))
        top[1].reshape(self.batch, 1)

    def forward(self, bottom, top):
        x = self.random.uniform(-1, 1, (self.batch, len(self.slope)))
        noise = self.random.normal(0, self.noise, self.batch)
        top[0].data[...] = x
        top[1].data[:, 0] = x @ self.slope + self.offset + noise

    def backward(self, top, propagate_down, bottom):
        pass
