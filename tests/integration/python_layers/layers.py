"""Layers of the nets in python_layers_test.py; they lie beside the solver there."""
import multiprocessing
import os
import pathlib
import time

import numpy as np

import caffe
import weighted_layer


class Records(caffe.Layer):
    """Records in order, dealt by clock: worker r of P takes the r-th share.
    param_str: the batch of this worker. In TEST the first ones, always."""

    def setup(self, bottom, top):
        self.batch = int(self.param_str)
        self.clock = 0

    def reshape(self, bottom, top):
        top[0].reshape(self.batch, 3)
        top[1].reshape(self.batch, 1)

    def forward(self, bottom, top):
        first = (self.clock * caffe.solver_count() + caffe.solver_rank()) * self.batch
        record = np.arange(first, first + self.batch, dtype=np.float64)
        x = np.stack([np.sin(record), np.cos(2 * record), np.sin(3 * record + 1)], 1)
        top[0].data[...] = x
        top[1].data[:, 0] = x @ [2, -1, .5] + .25
        self.clock += self.phase == caffe.TRAIN

    def backward(self, top, propagate_down, bottom):
        pass


class Weighted(weighted_layer.Weighted):
    initial = .5


class SquaredLoss(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        self.difference = bottom[0].data - bottom[1].data
        top[0].data[()] = (self.difference ** 2).sum() / len(self.difference) / 2

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff * self.difference / len(self.difference)


class Slow(Weighted):
    """Takes a while, and says in a file how far this process is."""

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.calls = 0

    def forward(self, bottom, top):
        super().forward(bottom, top)
        time.sleep(0.02)
        self.calls += 1
        pathlib.Path(f"{self.param_str}.{caffe.solver_rank()}.{os.getpid()}").write_text(
            str(self.calls))


class Raises(Slow):
    """Worker 1 fails in its fifth forward."""

    def forward(self, bottom, top):
        super().forward(bottom, top)
        if self.calls == 5 and caffe.solver_rank() == 1:
            raise ValueError("no more\nof this")


class Forks(Weighted):
    """Its helper process can be ended."""

    def forward(self, bottom, top):
        super().forward(bottom, top)
        helper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        helper.start()
        helper.terminate()
        helper.join(20)
        assert not helper.is_alive()
