"""Seeded inputs, float32."""
import numpy as np


def normal(*shape, seed=0, scale=1.0, mean=0.0):
    rng = np.random.default_rng([11, seed, *shape])
    return np.asarray(rng.normal(size=shape) * scale + mean, np.float32)


def uniform(*shape, low=0.0, high=1.0, seed=0):
    rng = np.random.default_rng([12, seed, *shape])
    return rng.uniform(low, high, size=shape).astype(np.float32)


def distinct(*shape, seed=0, gap=0.05, shift=0.0):
    """Values at least `gap` apart and half of it from zero: no ties, no kinks."""
    count = int(np.prod(shape))
    values = gap * (np.arange(count) - count // 2 + 0.5) + shift
    np.random.default_rng([13, seed, *shape]).shuffle(values)
    return values.reshape(shape).astype(np.float32)


def labels(*shape, classes, seed=0):
    rng = np.random.default_rng([14, seed, classes, *shape])
    return rng.integers(0, classes, size=shape).astype(np.float32)


def away_from(array, *kinks, by=0.05):
    """`array`, moved where it is closer than `by` to one of `kinks`."""
    array = array.copy()
    for kink in kinks:
        near = np.abs(array - kink) < by
        array[near] = kink + np.where(array[near] >= kink, by, -by) * 1.5
    return array.astype(np.float32)
