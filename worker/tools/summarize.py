#!/usr/bin/python3
"""A net's prototxt as a table: a line a layer, with what it learns and, with
--shapes, the shapes and numbers of parameters (the net is built for that)."""
import argparse
import pathlib
import sys

from google.protobuf import text_format

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
import caffe  # noqa: E402
from caffe.proto import caffe_pb2  # noqa: E402


def settings(layer):
    """The layer's own fields on one line."""
    parts = []
    for field, value in layer.ListFields():
        if field.name.endswith("_param") and field.message_type is not None:
            text = text_format.MessageToString(value, as_one_line=True)
            parts.append(text if field.name != "transform_param" else f"transform {{ {text} }}")
    return " ".join(parts)


def rates(layer):
    """lr_mult/decay_mult of each parameter that says."""
    return " ".join(f"{spec.lr_mult:g}/{spec.decay_mult:g}" for spec in layer.param)


def shapes(net, layer):
    tops = ", ".join("x".join(map(str, net.blobs[top].shape)) or "1"
                     for top in net.top_names[layer.name])
    return tops, sum(blob.count for blob in net.params.get(layer.name, ()))


def table(proto, net=None):
    """Rows of text, the header first."""
    head = ["layer", "type", "bottoms -> tops", "lr/decay", "settings"]
    if net is not None:
        head[3:3] = ["shape", "parameters"]
    rows = [head]
    for layer in proto.layer:
        if net is not None and layer.name not in net.layer_dict:
            continue
        row = [layer.name, layer.type, f"{' '.join(layer.bottom)} -> {' '.join(layer.top)}",
               rates(layer), settings(layer)]
        if net is not None:
            tops, count = shapes(net, layer)
            row[3:3] = [tops, f"{count:,}" if count else ""]
        rows.append(row)
    return rows


def show(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("filename", help="net's prototxt")
    parser.add_argument("--shapes", action="store_true", help="build the net")
    parser.add_argument("--phase", choices=["TRAIN", "TEST"], default="TRAIN",
                        help="of the net that is built")
    arguments = parser.parse_args(argv)
    proto = caffe_pb2.NetParameter()
    with open(arguments.filename) as file:
        text_format.Merge(file.read(), proto)
    if proto.layers:
        raise ValueError(f"{arguments.filename} is of an old form: run upgrade_net_proto_text")
    net = None
    if arguments.shapes:
        caffe.init_log(2)
        net = caffe.Net(arguments.filename, getattr(caffe, arguments.phase))
    show(table(proto, net))
    if net is not None:
        total = sum(blob.count for blobs in net.params.values() for blob in blobs)
        print(f"\n{total:,} parameters")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, RuntimeError, text_format.ParseError) as error:
        sys.exit(f"summarize.py: {error}")
