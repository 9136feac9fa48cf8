"""The benchmark's nets, described once: as Caffe prototxt and as a torch module.

A net is a list of operations on named blobs; `prototxt` and `module` read the
same list, so the two programs cannot differ in what they compute.
"""


class Net:
    def __init__(self, name, batch, shape, classes):
        self.name, self.batch, self.shape, self.classes = name, batch, shape, classes
        self.ops = []  # (kind, name, bottoms, top, parameters)

    def add(self, kind, name, bottom, top=None, **parameters):
        bottoms = [bottom] if isinstance(bottom, str) else bottom
        self.ops.append((kind, name, bottoms, top or name, parameters))
        return top or name

    def conv(self, name, bottom, out, kernel, relu=True, **more):
        top = self.add("conv", name, bottom, out=out, kernel=kernel, **more)
        return self.relu(top) if relu else top

    def relu(self, blob):
        return self.add("relu", "relu_" + blob, blob, blob)

    def pool(self, name, bottom, kind, kernel, stride, pad=0):
        return self.add(kind, name, bottom, kernel=kernel, stride=stride, pad=pad)


def lenet():
    net = Net("lenet", 64, (1, 28, 28), 10)
    x = net.conv("conv1", "data", 20, 5, relu=False)
    x = net.pool("pool1", x, "max", 2, 2)
    x = net.conv("conv2", x, 50, 5, relu=False)
    x = net.pool("pool2", x, "max", 2, 2)
    x = net.relu(net.add("fc", "ip1", x, out=500))
    x = net.add("fc", "ip2", x, out=10)
    net.add("loss", "loss", x, weight=1)
    return net


def cifar10_quick():
    net = Net("cifar10_quick", 100, (3, 32, 32), 10)
    x = net.conv("conv1", "data", 32, 5, relu=False, pad=2)
    x = net.relu(net.pool("pool1", x, "max", 3, 2))
    x = net.conv("conv2", x, 32, 5, pad=2)
    x = net.pool("pool2", x, "ave", 3, 2)
    x = net.conv("conv3", x, 64, 5, pad=2)
    x = net.pool("pool3", x, "ave", 3, 2)
    x = net.add("fc", "ip1", x, out=64)
    x = net.add("fc", "ip2", x, out=10)
    net.add("loss", "loss", x, weight=1)
    return net


def alexnet():
    net = Net("alexnet", 16, (3, 227, 227), 1000)
    x = net.conv("conv1", "data", 96, 11, stride=4)
    x = net.pool("pool1", net.add("lrn", "norm1", x), "max", 3, 2)
    x = net.conv("conv2", x, 256, 5, pad=2, group=2)
    x = net.pool("pool2", net.add("lrn", "norm2", x), "max", 3, 2)
    x = net.conv("conv3", x, 384, 3, pad=1)
    x = net.conv("conv4", x, 384, 3, pad=1, group=2)
    x = net.conv("conv5", x, 256, 3, pad=1, group=2)
    x = net.pool("pool5", x, "max", 3, 2)
    for name in ("fc6", "fc7"):
        x = net.relu(net.add("fc", name, x, out=4096))
        x = net.add("dropout", "drop_" + name, x, x, ratio=0.5)
    x = net.add("fc", "fc8", x, out=1000)
    net.add("loss", "loss", x, weight=1)
    return net


# 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection (Szegedy et al., table 1).
INCEPTIONS = [
    ("3a", 64, 96, 128, 16, 32, 32), ("3b", 128, 128, 192, 32, 96, 64),
    ("4a", 192, 96, 208, 16, 48, 64), ("4b", 160, 112, 224, 24, 64, 64),
    ("4c", 128, 128, 256, 24, 64, 64), ("4d", 112, 144, 288, 32, 64, 64),
    ("4e", 256, 160, 320, 32, 128, 128), ("5a", 256, 160, 320, 32, 128, 128),
    ("5b", 384, 192, 384, 48, 128, 128)]


def googlenet():
    net = Net("googlenet", 16, (3, 224, 224), 1000)
    x = net.conv("conv1", "data", 64, 7, stride=2, pad=3)
    x = net.add("lrn", "norm1", net.pool("pool1", x, "max", 3, 2))
    x = net.conv("conv2_reduce", x, 64, 1)
    x = net.add("lrn", "norm2", net.conv("conv2", x, 192, 3, pad=1))
    x = net.pool("pool2", x, "max", 3, 2)
    for name, c1, r3, c3, r5, c5, proj in INCEPTIONS:
        if name == "4a":
            x = net.pool("pool3", x, "max", 3, 2)
        if name == "5a":
            x = net.pool("pool4", x, "max", 3, 2)
        parts = [net.conv(f"i{name}_1x1", x, c1, 1)]
        y = net.conv(f"i{name}_3x3_reduce", x, r3, 1)
        parts.append(net.conv(f"i{name}_3x3", y, c3, 3, pad=1))
        y = net.conv(f"i{name}_5x5_reduce", x, r5, 1)
        parts.append(net.conv(f"i{name}_5x5", y, c5, 5, pad=2))
        y = net.pool(f"i{name}_pool", x, "max", 3, 1, 1)
        parts.append(net.conv(f"i{name}_proj", y, proj, 1))
        x = net.add("concat", f"i{name}", parts)
        if name in ("4a", "4d"):
            aux = net.pool(f"aux{name}_pool", x, "ave", 5, 3)
            aux = net.conv(f"aux{name}_conv", aux, 128, 1)
            aux = net.relu(net.add("fc", f"aux{name}_fc", aux, out=1024))
            aux = net.add("dropout", f"aux{name}_drop", aux, aux, ratio=0.7)
            aux = net.add("fc", f"aux{name}_classifier", aux, out=1000)
            net.add("loss", f"aux{name}_loss", aux, weight=0.3)
    x = net.pool("pool5", x, "ave", 7, 1)
    x = net.add("dropout", "drop", x, x, ratio=0.4)
    x = net.add("fc", "classifier", x, out=1000)
    net.add("loss", "loss", x, weight=1)
    return net


NETS = {f.__name__: f for f in (lenet, cifar10_quick, alexnet, googlenet)}

FILLERS = ('weight_filler { type: "xavier" } '
           'bias_filler { type: "constant" value: 0.1 }')


def caffe_layer(kind, p):
    """(type, parameters) of an operation in a prototxt."""
    if kind == "conv":
        return "Convolution", (
            f'convolution_param {{ num_output: {p["out"]} kernel_size: {p["kernel"]} '
            f'stride: {p.get("stride", 1)} pad: {p.get("pad", 0)} '
            f'group: {p.get("group", 1)} {FILLERS} }}')
    if kind in ("max", "ave"):
        return "Pooling", (f'pooling_param {{ pool: {kind.upper()} kernel_size: {p["kernel"]} '
                           f'stride: {p["stride"]} pad: {p["pad"]} }}')
    if kind == "fc":
        return "InnerProduct", f'inner_product_param {{ num_output: {p["out"]} {FILLERS} }}'
    if kind == "dropout":
        return "Dropout", f'dropout_param {{ dropout_ratio: {p["ratio"]} }}'
    if kind == "lrn":
        return "LRN", "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"
    if kind == "loss":
        return "SoftmaxWithLoss", f'loss_weight: {p["weight"]}'
    return {"relu": "ReLU", "concat": "Concat"}[kind], ""


def prototxt(net):
    dims = " ".join(f"dim: {d}" for d in (net.batch, *net.shape))
    lines = [f'name: "{net.name}"',
             'layer { name: "data" type: "Input" top: "data" top: "label" input_param { '
             f"shape {{ {dims} }} shape {{ dim: {net.batch} }} }} }}"]
    for kind, name, bottoms, top, p in net.ops:
        layer_type, parameters = caffe_layer(kind, p)
        if kind == "loss":
            bottoms = bottoms + ["label"]
        bottom = " ".join(f'bottom: "{b}"' for b in bottoms)
        lines.append(f'layer {{ name: "{name}" type: "{layer_type}" {bottom} '
                     f'top: "{top}" {parameters} }}')
    return "\n".join(lines) + "\n"


def module(net, torch):
    """The same net as a torch module whose forward returns the summed loss."""
    nn = torch.nn

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleDict()
            for kind, name, _, _, p in net.ops:
                part = self.make(kind, p)
                if part is not None:
                    self.parts[name] = part

        @staticmethod
        def make(kind, p):
            if kind == "conv":
                return nn.LazyConv2d(p["out"], p["kernel"], p.get("stride", 1),
                                     p.get("pad", 0), groups=p.get("group", 1))
            if kind == "max":
                return nn.MaxPool2d(p["kernel"], p["stride"], p["pad"], ceil_mode=True)
            if kind == "ave":
                return nn.AvgPool2d(p["kernel"], p["stride"], p["pad"], ceil_mode=True)
            if kind == "fc":
                return nn.LazyLinear(p["out"])
            if kind == "dropout":
                return nn.Dropout(p["ratio"])
            if kind == "lrn":
                return nn.LocalResponseNorm(5, 0.0001, 0.75, 1.0)
            if kind == "relu":
                return nn.ReLU(inplace=True)
            return nn.CrossEntropyLoss() if kind == "loss" else None

        def forward(self, data, label):
            blobs, loss = {"data": data}, 0
            for kind, name, bottoms, top, p in net.ops:
                x = [blobs[b] for b in bottoms]
                if kind == "concat":
                    blobs[top] = torch.cat(x, 1)
                elif kind == "fc":
                    blobs[top] = self.parts[name](torch.flatten(x[0], 1))
                elif kind == "loss":
                    loss = loss + p["weight"] * self.parts[name](x[0], label)
                else:
                    blobs[top] = self.parts[name](x[0])
            return loss

    return Module()
