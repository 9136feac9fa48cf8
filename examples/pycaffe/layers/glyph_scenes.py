"""A data source written in Python: pictures with some of five figures in them,
and for each figure whether it is there."""
import json

import numpy as np

import caffe

_GRID = np.mgrid[-1:1:9j, -1:1:9j]
_FIGURES = {
    "disc": (_GRID ** 2).sum(0) <= 1,
    "ring": abs((_GRID ** 2).sum(0) - 0.75) <= 0.3,
    "cross": abs(_GRID).min(0) < 0.2,
    "frame": abs(_GRID).max(0) > 0.7,
    "diagonal": abs(_GRID[0] - _GRID[1]) < 0.3,
}
NAMES = list(_FIGURES)
SIDE = 32


class GlyphScenes(caffe.Layer):
    """Tops data (batch x 1 x 32 x 32) and labels (batch x 5, 0 or 1).

    param_str is JSON: batch, seed.
    """

    def setup(self, bottom, top):
        settings = json.loads(self.param_str)
        self.batch = settings["batch"]
        self.random = np.random.RandomState(settings["seed"])

    def reshape(self, bottom, top):
        top[0].reshape(self.batch, 1, SIDE, SIDE)
        top[1].reshape(self.batch, len(NAMES))

    def forward(self, bottom, top):
        labels = self.random.uniform(size=top[1].data.shape) < 0.4
        data = self.random.normal(0, 0.5, top[0].data.shape)
        for picture, present in zip(data[:, 0], labels):
            places = self.random.permutation(9)
            for name, place in zip(np.array(NAMES)[present], places):
                y, x = 1 + 10 * (place // 3), 1 + 10 * (place % 3)
                picture[y:y + 9, x:x + 9] += _FIGURES[name]
        top[0].data[...] = data
        top[1].data[...] = labels

    def backward(self, top, propagate_down, bottom):
        pass
