"""Detector: a net that scores windows of images, as R-CNN does."""
import numpy as np

from . import io
from ._caffe import Net
from .classifier import _make_transformer
from .proto.caffe_pb2 import TEST


class Detector(Net):
    """context_pad: pixels of the image around a window that the net's input
    shows; the rest as in io.Transformer."""

    def __init__(self, model_file, pretrained_file, mean=None, input_scale=None,
                 raw_scale=None, channel_swap=None, context_pad=None):
        Net.__init__(self, model_file, TEST, weights=pretrained_file)
        self.transformer = _make_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows):
        """images_windows: (file name or image, windows) pairs, a window being
        (ymin, xmin, ymax, xmax). Gives one dict a window: window, prediction,
        filename."""
        in_ = self.inputs[0]
        found, crops = [], []
        for source, windows in images_windows:
            image = io.load_image(source) if isinstance(source, str) else np.asarray(source)
            for window in windows:
                crops.append(self.transformer.preprocess(
                    in_, self.crop(image.astype(np.float32), np.asarray(window))))
                found.append({"window": window,
                              "filename": source if isinstance(source, str) else None})
        if not found:
            return []
        predictions = self.forward_all(**{in_: np.asarray(crops)})[self.outputs[0]]
        for detection, prediction in zip(found, predictions.reshape(len(found), -1)):
            detection["prediction"] = prediction
        return found

    def detect_selective_search(self, image_fnames):
        """detect_windows on the windows that selective search proposes."""
        try:
            import selective_search_ijcv_with_python as selective_search
        except ImportError as error:
            raise ImportError(
                "selective search is a package of its own "
                "(selective_search_ijcv_with_python): install it, or give windows to "
                "detect_windows") from error
        files = [str(name) for name in image_fnames]
        windows = selective_search.get_windows(files, cmd="selective_search_rcnn")
        return self.detect_windows(zip(files, windows))

    def crop(self, im, window):
        """The image in `window`, with context as far as it is configured: then
        at the net's size, the mean where the context lies outside the image."""
        ymin, xmin, ymax, xmax = (int(value) for value in window)
        if not self.context_pad:
            return im[ymin:ymax, xmin:xmax]
        size = self.blobs[self.inputs[0]].width
        grow = size / (size - 2.0 * self.context_pad)
        spans = [self._context(low, high, grow, size, limit)
                 for low, high, limit in ((ymin, ymax, im.shape[0]), (xmin, xmax, im.shape[1]))]
        (top, bottom, down, height), (left, right, across, width) = spans
        crop = np.ones(self.crop_dims, np.float32) * self.crop_mean
        crop[down:down + height, across:across + width] = io.resize_image(
            im[top:bottom, left:right], (height, width))
        return crop

    @staticmethod
    def _context(low, high, grow, size, limit):
        """One axis of a window with context: what of the image it shows, from
        and to, and where and how large that is in a crop of `size`."""
        half = (high - low + 1) / 2.0
        center = low + half
        start, stop = round(center - grow * half), round(center + grow * half)
        scale = size / (stop - start + 1.0)
        at = int(round(max(0, -start) * scale))
        start, stop = max(start, 0), min(max(stop, 1), limit)
        length = int(round((stop - start + 1) * scale))
        return start, stop, at, max(1, min(length, size - at))

    def configure_crop(self, context_pad):
        """What `crop` shows around windows; the input's mean as an image."""
        self.context_pad = context_pad
        if not context_pad:
            return
        in_ = self.inputs[0]
        transformer = self.transformer
        shape = self.blobs[in_].data.shape
        self.crop_dims = tuple(shape[i] for i in (2, 3, 1))
        mean = transformer.mean.get(in_)
        # The mean lies in the net's space: bring it back to the image's.
        zeros = np.zeros(shape[1:], np.float32)
        self.crop_mean = (transformer.deprocess(in_, zeros) if mean is not None
                          else np.zeros(self.crop_dims, np.float32))
        self.crop_mean = self.crop_mean.reshape(self.crop_dims)
