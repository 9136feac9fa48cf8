"""Images, blobs and records: between files, Caffe's messages and arrays.

Images are height x width x channels, float32, RGB in [0, 1]; a net's inputs are
batch x channels x height x width. Transformer goes from one to the other.
"""
import numpy as np

from .proto import caffe_pb2


# ---- images ----

def load_image(filename, color=True):
    """The image in `filename`: H x W x 3, or H x W x 1 where `color` is false.
    Gray images get three equal channels; transparency is dropped."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("load_image needs PIL (Debian: python3-pil)") from error
    with Image.open(filename) as image:
        if image.mode == "I" or image.mode.startswith("I;16"):  # 16 bits
            gray = np.asarray(image, np.float32) / 65535
            return np.repeat(gray[:, :, None], 3 if color else 1, axis=2)
        pixels = np.asarray(image.convert("RGB" if color else "L"), np.float32) / 255
    return pixels if color else pixels[:, :, None]


def _kernel(order):
    """Half width and weights at distance |x| of an interpolation's order."""
    if order == 0:
        return 0.5, lambda x: (x <= 0.5).astype(np.float64)
    if order == 1:
        return 1.0, lambda x: np.maximum(0, 1 - x)
    if order == 3:  # Keys' cubic convolution
        return 2.0, lambda x: np.where(
            x < 1, (1.5 * x - 2.5) * x * x + 1,
            np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0))
    raise ValueError(f"interp_order must be 0, 1 or 3, not {order}")


def _resampling(size, new_size, order):
    """The new_size x size matrix that resamples one axis: pixels are areas, and
    beyond the border the border's pixel goes on."""
    if order == 0:
        nearest = np.minimum((np.arange(new_size) + 0.5) * size / new_size, size - 1)
        return np.eye(size)[nearest.astype(int)]
    half, weight = _kernel(order)
    centers = (np.arange(new_size) + 0.5) * size / new_size - 0.5
    matrix = np.zeros((new_size, size))
    first = np.ceil(centers - half).astype(int)
    for tap in range(int(2 * half) + 1):
        at = first + tap
        np.add.at(matrix, (np.arange(new_size), np.clip(at, 0, size - 1)),
                  weight(np.abs(centers - at)))
    return matrix / matrix.sum(axis=1, keepdims=True)


def resize_image(im, new_dims, interp_order=1):
    """`im` (H x W x K) at new_dims (height, width): interp_order 0 takes the
    nearest pixel, 1 is bilinear, 3 bicubic. Any range of values, any K."""
    im = np.asarray(im, np.float32)
    height, width = int(new_dims[0]), int(new_dims[1])
    if im.shape[:2] == (height, width):
        return im.copy()
    rows = _resampling(im.shape[0], height, interp_order)
    columns = _resampling(im.shape[1], width, interp_order)
    tall = np.tensordot(rows, im, (1, 0))
    return np.moveaxis(np.tensordot(columns, tall, (1, 1)), 0, 1).astype(np.float32)


def oversample(images, crop_dims):
    """Ten crops of crop_dims (height, width) of each of `images` (H x W x K):
    corners and centre, then their mirror images. 10 N x h x w x K."""
    images = [np.asarray(image) for image in images]
    height, width = int(crop_dims[0]), int(crop_dims[1])
    crops = []
    for image in images:
        down, right = image.shape[0] - height, image.shape[1] - width
        if down < 0 or right < 0:
            raise ValueError(f"an image of {image.shape[0]} x {image.shape[1]} has no "
                             f"crops of {height} x {width}")
        corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
        straight = [image[y:y + height, x:x + width] for y, x in corners]
        crops += straight + [crop[:, ::-1] for crop in straight]
    return np.asarray(crops, np.float32)


# ---- images into nets ----

class Transformer:
    """Makes a net's inputs of images, and images of inputs.

    inputs: {input blob: its shape}. preprocess resizes, then, as far as set:
    transpose, channel_swap, raw_scale, mean, input_scale, in this order.
    """

    def __init__(self, inputs):
        self.inputs = inputs
        self.transpose = {}
        self.channel_swap = {}
        self.raw_scale = {}
        self.mean = {}
        self.input_scale = {}

    def _check(self, in_):
        if in_ not in self.inputs:
            raise ValueError(f"'{in_}' is no input of this net: it has {list(self.inputs)}")

    def preprocess(self, in_, data):
        """A K x H x W array for input `in_` of an image."""
        self._check(in_)
        value = np.asarray(data, np.float32)
        if value.shape[:2] != tuple(self.inputs[in_][2:]):
            value = resize_image(value, self.inputs[in_][2:])
        if in_ in self.transpose:
            value = value.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            value = value[list(self.channel_swap[in_])]
        if in_ in self.raw_scale:
            value = value * np.float32(self.raw_scale[in_])
        if in_ in self.mean:
            value = value - self.mean[in_]
        if in_ in self.input_scale:
            value = value * np.float32(self.input_scale[in_])
        return value

    def deprocess(self, in_, data):
        """The image that preprocess made `data` of (resizing aside)."""
        self._check(in_)
        value = np.array(data, np.float32).squeeze()
        if in_ in self.input_scale:
            value = value / np.float32(self.input_scale[in_])
        if in_ in self.mean:
            value = value + self.mean[in_]
        if in_ in self.raw_scale:
            value = value / np.float32(self.raw_scale[in_])
        if in_ in self.channel_swap:
            value = value[np.argsort(self.channel_swap[in_])]
        if in_ in self.transpose:
            value = value.transpose(np.argsort(self.transpose[in_]))
        return value

    def set_transpose(self, in_, order):
        """(2, 0, 1) makes K x H x W of H x W x K."""
        self._check(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise ValueError(f"order {tuple(order)} has not one axis for each of the "
                             f"input's, {tuple(self.inputs[in_])}, but the batch's")
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_, order):
        """(2, 1, 0) makes BGR of RGB; after the transpose."""
        self._check(in_)
        if len(order) != self.inputs[in_][1]:
            raise ValueError(f"order {tuple(order)} has not one channel for each of the "
                             f"input's {self.inputs[in_][1]}")
        self.channel_swap[in_] = tuple(order)

    def set_raw_scale(self, in_, scale):
        """Before the mean: 255 for nets that were trained on bytes."""
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_, mean):
        """One value a channel, or a K x H x W array, resized where need be."""
        self._check(in_)
        mean = np.asarray(mean, np.float32)
        channels, height, width = tuple(self.inputs[in_])[1:4]
        if mean.ndim == 1:
            if mean.shape[0] != channels:
                raise ValueError(f"a mean of {mean.shape[0]} values for {channels} channels")
            self.mean[in_] = mean[:, None, None]
            return
        if mean.ndim == 2:
            mean = mean[None]
        if mean.ndim != 3 or mean.shape[0] not in (1, channels):
            raise ValueError(f"a mean of shape {mean.shape} does not fit "
                             f"{(channels, height, width)}")
        if mean.shape[1:] != (height, width):
            mean = resize_image(mean.transpose(1, 2, 0), (height, width)).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_, scale):
        """After the mean."""
        self._check(in_)
        self.input_scale[in_] = scale


# ---- Caffe's messages ----

def blobproto_to_array(blob, return_diff=False):
    """The values of a BlobProto (with return_diff its gradient's) in its shape,
    also of an old file's, which has four extents."""
    values = blob.diff or blob.double_diff if return_diff else blob.data or blob.double_data
    dtype = np.float32 if (blob.diff if return_diff else blob.data) else np.float64
    array = np.array(values, dtype)
    if not array.size:
        array = array.astype(np.float32)
    if any(blob.HasField(field) for field in ("num", "channels", "height", "width")):
        return array.reshape(blob.num, blob.channels, blob.height, blob.width)
    return array.reshape(tuple(blob.shape.dim))


def array_to_blobproto(arr, diff=None):
    """A BlobProto of an array, and of its gradient if given."""
    arr = np.asarray(arr)
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(arr.shape)
    blob.data.extend(arr.astype(np.float32).ravel())
    if diff is not None:
        if np.shape(diff) != arr.shape:
            raise ValueError(f"diff has shape {np.shape(diff)}, data {arr.shape}")
        blob.diff.extend(np.asarray(diff, np.float32).ravel())
    return blob


def arraylist_to_blobprotovector_str(arraylist):
    """Arrays as a serialised BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend(array_to_blobproto(array) for array in arraylist)
    return vector.SerializeToString()


def blobprotovector_str_to_arraylist(data):
    """The inverse of arraylist_to_blobprotovector_str."""
    vector = caffe_pb2.BlobProtoVector.FromString(data)
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr, label=None):
    """A Datum of a K x H x W array: bytes of uint8, else floats."""
    arr = np.asarray(arr)
    if arr.ndim != 3:
        raise ValueError(f"a datum is K x H x W, not of shape {arr.shape}")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = arr.shape
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(np.float32).ravel())
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum):
    """The K x H x W array of a Datum that holds raw values."""
    if datum.encoded:
        raise ValueError("the datum holds an encoded image: decode it first")
    if datum.data:
        values = np.frombuffer(datum.data, np.uint8)
    else:
        values = np.array(datum.float_data, np.float32)
    return values.reshape(datum.channels, datum.height, datum.width)
