"""What one worker computes and sends, layer by layer: profiles/NET.csv from the nets
in examples/imagenet.

    make_profiles.py            writes the three files anew

A row is a layer with parameters: name, parameters (count), forward GFLOP of one image
(multiply and add are two), in forward order. Layers without parameters cost little
and are counted with the one before. Backward is twice forward, its usual share.
"""
import math
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
NETS = ["alexnet", "googlenet", "resnet50"]


def caffe_pb2():
    folder = tempfile.mkdtemp()
    subprocess.run(["protoc", f"-I{ROOT}", f"--python_out={folder}",
                    ROOT / "proto/caffe.proto"], check=True)
    sys.path.insert(0, folder)
    from proto import caffe_pb2 as pb  # noqa: E402
    return pb


def one(values, otherwise):
    return values[0] if len(values) else otherwise


def conv_shape(param, shape, out):
    _, height, width = shape
    kernel, stride = one(param.kernel_size, 1), one(param.stride, 1)
    pad = one(param.pad, 0)
    size = [(x + 2 * pad - kernel) // stride + 1 for x in (height, width)]
    return (out, *size)


def pool_shape(param, shape):
    channels, height, width = shape
    if param.global_pooling:
        return (channels, 1, 1)
    size = []
    for x in (height, width):
        n = math.ceil((x + 2 * param.pad - param.kernel_size) / param.stride) + 1
        if param.pad and (n - 1) * param.stride >= x + param.pad:
            n -= 1
        size.append(n)
    return (channels, *size)


def rows(net):
    """(name, parameters, GFLOP) of the layers with parameters."""
    shapes = {one(net.input, "data"): tuple(
        net.input_shape[0].dim[1:] if net.input_shape else net.input_dim[1:4])}
    found = []
    for layer in net.layer:
        tops, kind = list(layer.top), layer.type
        if kind == "Input":
            shapes[tops[0]] = tuple(layer.input_param.shape[0].dim[1:])
            continue
        below = [shapes[b] for b in layer.bottom if b in shapes]
        if not below:
            continue
        shape = below[0]
        if kind == "Convolution":
            p = layer.convolution_param
            out = conv_shape(p, shape, p.num_output)
            weights = p.num_output * shape[0] // p.group * one(p.kernel_size, 1) ** 2
            found.append((layer.name, weights + (p.num_output if p.bias_term else 0),
                          2e-9 * weights * out[1] * out[2]))
            shape = out
        elif kind == "InnerProduct":
            p = layer.inner_product_param
            weights = p.num_output * math.prod(shape)
            found.append((layer.name, weights + (p.num_output if p.bias_term else 0),
                          2e-9 * weights))
            shape = (p.num_output, 1, 1)
        elif kind == "BatchNorm":
            found.append((layer.name, 2 * shape[0] + 1, 0))
        elif kind == "Scale":
            found.append((layer.name, 2 * shape[0], 0))
        elif kind == "Pooling":
            shape = pool_shape(layer.pooling_param, shape)
        elif kind == "Concat":
            shape = (sum(b[0] for b in below), *shape[1:])
        for top in tops:
            shapes[top] = shape
    return found


def main():
    pb = caffe_pb2()
    from google.protobuf import text_format
    out = pathlib.Path(__file__).resolve().parent / "profiles"
    out.mkdir(exist_ok=True)
    for name in NETS:
        net = pb.NetParameter()
        text = (ROOT / f"examples/imagenet/{name}/deploy.prototxt").read_text()
        text_format.Parse(text, net)
        table = rows(net)
        with open(out / f"{name}.csv", "w", encoding="utf-8") as file:
            file.write("layer,parameters,gflop\n")
            for row in table:
                file.write("%s,%d,%.6f\n" % row)
        print(f"{name}: {sum(r[1] for r in table) * 4 / 1e6:.1f} MB, "
              f"{sum(r[2] for r in table):.2f} GFLOP forward an image")


if __name__ == "__main__":
    main()
