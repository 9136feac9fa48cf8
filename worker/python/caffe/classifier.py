"""Classifier: a net that takes images as they come."""
import numpy as np

from . import io
from ._caffe import Net
from .proto.caffe_pb2 import TEST


def _make_transformer(net, mean, input_scale, raw_scale, channel_swap):
    """H x W x K images into the net's only input."""
    if len(net.inputs) != 1:
        raise ValueError(f"the net must have one input, it has {list(net.inputs)}")
    in_ = net.inputs[0]
    transformer = io.Transformer({in_: net.blobs[in_].data.shape})
    transformer.set_transpose(in_, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(in_, mean)
    if input_scale is not None:
        transformer.set_input_scale(in_, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(in_, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(in_, channel_swap)
    return transformer


class Classifier(Net):
    """image_dims: (height, width) that images are resized to before crops are
    taken (default: the net's own); the rest as in io.Transformer."""

    def __init__(self, model_file, pretrained_file, image_dims=None, mean=None,
                 input_scale=None, raw_scale=None, channel_swap=None):
        Net.__init__(self, model_file, TEST, weights=pretrained_file)
        self.transformer = _make_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims = np.array(image_dims) if image_dims else self.crop_dims

    def predict(self, inputs, oversample=True):
        """N x C predictions for N images (H x W x K); the mean over ten crops
        each, or, without `oversample`, of the centre."""
        images = np.asarray([io.resize_image(im, self.image_dims) for im in inputs])
        if oversample:
            images = io.oversample(images, self.crop_dims)
        else:
            top, left = (self.image_dims - self.crop_dims) // 2
            height, width = self.crop_dims
            images = images[:, top:top + height, left:left + width]
        in_ = self.inputs[0]
        data = np.asarray([self.transformer.preprocess(in_, image) for image in images])
        predictions = self.forward_all(**{in_: data})[self.outputs[0]]
        if oversample:
            predictions = predictions.reshape(len(predictions) // 10, 10, -1).mean(axis=1)
        return predictions
