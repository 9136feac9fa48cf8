#!/usr/bin/python3
"""Classifies images: a file, a folder of them, or an .npy array; scores go to an
.npy file, one row an image."""
import argparse
import glob
import os
import sys
import time

import numpy as np

import caffe


def numbers(text, count=None):
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}': numbers with commas are meant") from None
    if count is not None and len(values) != count:
        raise argparse.ArgumentTypeError(f"'{text}': {count} numbers are meant")
    return values


def add_net_arguments(parser):
    """The net, and what its input is like."""
    parser.add_argument("--model_def", required=True, help="prototxt for use (deploy)")
    parser.add_argument("--pretrained_model", required=True, help=".caffemodel")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--mean_file", help=".npy or .binaryproto: the training images' mean")
    parser.add_argument("--input_scale", type=float, help="after the mean")
    parser.add_argument("--raw_scale", type=float, default=255.0, help="before the mean")
    parser.add_argument("--channel_swap", type=numbers, default=[2, 1, 0],
                        help="order of channels; default 2,1,0: RGB becomes BGR")


def parse_arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input_file", help="image, folder, or .npy")
    parser.add_argument("output_file", help=".npy of scores")
    add_net_arguments(parser)
    parser.add_argument("--center_only", action="store_true",
                        help="the centre alone, not the mean over ten crops")
    parser.add_argument("--images_dim", type=lambda text: numbers(text, 2), default=None,
                        help="height,width that images are resized to before cropping")
    parser.add_argument("--ext", default="jpg", help="of the images in a folder")
    return parser.parse_args(argv)


def load_mean(path):
    """An array of .npy or .binaryproto; one value a channel where it must be."""
    if path is None:
        return None
    if path.endswith(".npy"):
        return np.load(path)
    with open(path, "rb") as file:
        return caffe.io.blobproto_to_array(caffe.proto.caffe_pb2.BlobProto.FromString(
            file.read())).squeeze()


def load_images(path, extension, color):
    if path.endswith(".npy"):
        return list(np.load(path))
    files = [path]
    if os.path.isdir(path):
        files = sorted(glob.glob(os.path.join(path, f"*.{extension}")))
        if not files:
            raise FileNotFoundError(f"{path} holds no *.{extension} (see --ext)")
    return [caffe.io.load_image(file, color) for file in files]


def main(argv=None):
    arguments = parse_arguments(argv)
    if arguments.gpu:
        caffe.set_mode_gpu()
    net = caffe.Net(arguments.model_def, caffe.TEST)
    color = net.blobs[net.inputs[0]].channels == 3
    del net
    classifier = caffe.Classifier(
        arguments.model_def, arguments.pretrained_model, image_dims=arguments.images_dim,
        mean=load_mean(arguments.mean_file), input_scale=arguments.input_scale,
        raw_scale=arguments.raw_scale, channel_swap=arguments.channel_swap if color else None)
    inputs = load_images(arguments.input_file, arguments.ext, color)
    print(f"Classifying {len(inputs)} inputs.")
    start = time.time()
    predictions = classifier.predict(inputs, not arguments.center_only)
    print(f"Done in {time.time() - start:.2f} s.")
    np.save(arguments.output_file, predictions)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(f"classify.py: {error}")
