#!/usr/bin/python3
"""Draws a net's prototxt: PNG, SVG or PDF, by what the output's name ends in."""
import argparse
import sys

from google.protobuf import text_format

import caffe
import caffe.draw
from caffe.proto import caffe_pb2


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input_net_proto_file")
    parser.add_argument("output_image_file")
    parser.add_argument("--rankdir", choices=["LR", "TB", "BT", "RL"], default="LR",
                        help="which way the net grows; default LR")
    parser.add_argument("--phase", choices=["TRAIN", "TEST", "ALL"], default="ALL")
    parser.add_argument("--display_lrm", action="store_true",
                        help="show learning rate multipliers")
    arguments = parser.parse_args(argv)
    net = caffe_pb2.NetParameter()
    with open(arguments.input_net_proto_file) as file:
        text_format.Merge(file.read(), net)
    phase = {"TRAIN": caffe.TRAIN, "TEST": caffe.TEST}.get(arguments.phase)
    print(f"Drawing net to {arguments.output_image_file}")
    caffe.draw.draw_net_to_file(net, arguments.output_image_file, arguments.rankdir, phase,
                                arguments.display_lrm)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError, text_format.ParseError) as error:
        sys.exit(f"draw_net.py: {error}")
