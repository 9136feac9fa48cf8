"""Small nets in the manner of those that people load: deploy prototxts.

Each is (inputs' shapes by name, prototxt, output names in alphabetical order).
for_opencv() is the prototxt as its importer reads it."""


def layer(kind, name, bottoms, top=None, params=""):
    bottoms = [bottoms] if isinstance(bottoms, str) else bottoms
    return (f'layer {{ name: "{name}" type: "{kind}" ' +
            " ".join(f'bottom: "{b}"' for b in bottoms) + f' top: "{top or name}" {params} }}\n')


def entry(*shape, name="data"):
    dims = " ".join(f"dim: {d}" for d in shape)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'


def conv(name, bottom, outputs, kernel=3, stride=1, pad=None, group=1, bias=True, kind="Convolution",
         top=None, extra=""):
    pad = kernel // 2 if pad is None else pad
    return layer(kind, name, bottom, top,
                 f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} stride: {stride} "
                 f"pad: {pad} group: {group} bias_term: {'true' if bias else 'false'} {extra} }}")


def conv_bn(name, bottom, outputs, relu="ReLU", **options):
    """As ResNet's and MobileNet's prototxts have it: all in place behind the convolution."""
    text = conv(name, bottom, outputs, bias=False, **options)
    text += layer("BatchNorm", f"bn_{name}", name, name, "batch_norm_param { use_global_stats: true }")
    text += layer("Scale", f"scale_{name}", name, name, "scale_param { bias_term: true }")
    return text + (layer(relu, f"relu_{name}", name, name) if relu else "")


def pool(name, bottom, method="MAX", kernel=3, stride=2, extra=""):
    return layer("Pooling", name, bottom, None,
                 f"pooling_param {{ pool: {method} kernel_size: {kernel} stride: {stride} {extra} }}")


def global_pool(name, bottom):
    return layer("Pooling", name, bottom, None, "pooling_param { pool: AVE global_pooling: true }")


def ip(name, bottom, outputs):
    return layer("InnerProduct", name, bottom, None, f"inner_product_param {{ num_output: {outputs} }}")


def resnet():
    text = entry(2, 3, 64, 64) + conv_bn("conv1", "data", 16, kernel=7, stride=2)
    text += pool("pool1", "conv1")
    bottom, channels = "pool1", 16
    for i, (outputs, stride) in enumerate(((32, 1), (32, 1), (64, 2), (64, 1))):
        skip = bottom
        if stride != 1 or outputs != channels:
            text += conv_bn(f"res{i}_branch1", bottom, outputs, relu=None, kernel=1, stride=stride)
            skip = f"res{i}_branch1"
        text += conv_bn(f"res{i}_branch2a", bottom, outputs // 4, kernel=1, stride=stride)
        text += conv_bn(f"res{i}_branch2b", f"res{i}_branch2a", outputs // 4)
        text += conv_bn(f"res{i}_branch2c", f"res{i}_branch2b", outputs, relu=None, kernel=1)
        text += layer("Eltwise", f"res{i}", [skip, f"res{i}_branch2c"])
        text += layer("ReLU", f"res{i}_relu", f"res{i}", f"res{i}")
        bottom, channels = f"res{i}", outputs
    text += global_pool("pool5", bottom) + ip("fc", "pool5", 10) + layer("Softmax", "prob", "fc")
    return {"data": (2, 3, 64, 64)}, text, ["prob"]


def mobilenet():
    """Depthwise and pointwise pairs, then an inverted residual with ReLU6."""
    text = entry(2, 3, 48, 48) + conv_bn("conv0", "data", 16, stride=2)
    bottom, channels = "conv0", 16
    for i, (outputs, stride) in enumerate(((24, 1), (32, 2), (32, 1))):
        text += conv_bn(f"conv{i + 1}_dw", bottom, channels, stride=stride, group=channels)
        text += conv_bn(f"conv{i + 1}_sep", f"conv{i + 1}_dw", outputs, kernel=1)
        bottom, channels = f"conv{i + 1}_sep", outputs
    text += conv_bn("expand", bottom, 96, kernel=1, relu="ReLU6")
    text += conv_bn("middle", "expand", 96, group=96, relu="ReLU6")
    text += conv_bn("project", "middle", channels, kernel=1, relu=None)
    text += layer("Eltwise", "sum", [bottom, "project"])
    text += global_pool("pool6", "sum") + conv("fc7", "pool6", 12, kernel=1)
    text += layer("Flatten", "flat", "fc7") + layer("Softmax", "prob", "flat")
    return {"data": (2, 3, 48, 48)}, text, ["prob"]


# OpenCV's importer has no fields for ShuffleChannel: it reads what the layer means.
SHUFFLE = layer("ShuffleChannel", "shuffle", "reduce", None, "shuffle_channel_param { group: 3 }")
SHUFFLE_BY_PERMUTE = (
    layer("Reshape", "grouped", "reduce", None,
          "reshape_param { shape { dim: 0 dim: 3 dim: 8 dim: 16 dim: 16 } }") +
    layer("Permute", "swapped", "grouped", None,
          "permute_param { order: 0 order: 2 order: 1 order: 3 order: 4 }") +
    layer("Reshape", "shuffle", "swapped", None,
          "reshape_param { shape { dim: 0 dim: 24 dim: 16 dim: 16 } }"))


def shufflenet():
    text = entry(2, 3, 32, 32) + conv_bn("conv1", "data", 24, stride=2)
    text += conv_bn("reduce", "conv1", 24, kernel=1, group=3)
    text += SHUFFLE + conv_bn("depthwise", "shuffle", 24, group=24, relu=None)
    text += conv_bn("expand", "depthwise", 24, kernel=1, group=3, relu=None)
    text += layer("Eltwise", "sum", ["conv1", "expand"]) + layer("ReLU", "relu", "sum", "sum")
    text += pool("branch", "conv1", "AVE") + conv("branch_conv", "sum", 24, stride=2)
    text += layer("Concat", "concat", ["branch", "branch_conv"])
    return {"data": (2, 3, 32, 32)}, text + global_pool("pool", "concat"), ["pool"]


def fcn():
    """Scores at two strides, upsampled by bilinear or learnt filters, cropped and added."""
    text = entry(1, 3, 40, 36) + conv("conv1", "data", 12, pad=10)
    text += layer("ReLU", "relu1", "conv1", "conv1") + pool("pool1", "conv1", kernel=2)
    text += conv("conv2", "pool1", 16) + layer("ReLU", "relu2", "conv2", "conv2")
    text += pool("pool2", "conv2", kernel=2) + conv("conv3", "pool2", 24)
    text += layer("ReLU", "relu3", "conv3", "conv3") + layer("Dropout", "drop3", "conv3", "conv3")
    text += conv("score", "conv3", 5, kernel=1) + conv("score_pool1", "pool1", 5, kernel=1)
    text += conv("upscore2", "score", 5, kernel=4, stride=2, pad=0, kind="Deconvolution", bias=False)
    text += layer("Crop", "upscore2c", ["upscore2", "score_pool1"], None, "crop_param { axis: 2 offset: 1 }")
    text += layer("Eltwise", "fuse", ["upscore2c", "score_pool1"])
    text += conv("upscore", "fuse", 5, kernel=4, stride=2, pad=0, group=5, kind="Deconvolution", bias=False)
    text += layer("Crop", "cropped", ["upscore", "data"], None, "crop_param { axis: 2 offset: 10 }")
    return {"data": (1, 3, 40, 36)}, text + layer("Softmax", "prob", "cropped"), ["prob"]


def prelu():
    """A landmark net with PReLU, and the other activations on branches."""
    text = entry(2, 3, 24, 24) + conv("conv1", "data", 16, kernel=5, pad=0)
    text += layer("PReLU", "prelu1", "conv1", "conv1") + pool("pool1", "conv1", kernel=2)
    text += conv("conv2", "pool1", 16, extra="dilation: 2", pad=2)
    text += layer("PReLU", "prelu2", "conv2", "conv2", "prelu_param { channel_shared: true }")
    text += layer("LRN", "norm2", "conv2", None, "lrn_param { local_size: 5 alpha: 0.1 beta: 0.75 }")
    text += ('layer { name: "slice" type: "Slice" bottom: "norm2" top: "a" top: "b" top: "c" '
             'slice_param { axis: 1 slice_point: 4 slice_point: 10 } }\n')
    text += layer("TanH", "tanh", "a") + layer("Sigmoid", "sigmoid", "b") + layer("ELU", "elu", "c")
    text += layer("Concat", "concat", ["tanh", "sigmoid", "elu"])
    text += layer("AbsVal", "abs", "concat") + layer("BNLL", "bnll", "concat")
    text += layer("Power", "power", "concat", None, "power_param { power: 2 scale: 0.5 shift: 1 }")
    text += layer("Eltwise", "max", ["abs", "bnll"], None, "eltwise_param { operation: MAX }")
    text += layer("Eltwise", "product", ["max", "power"], None, "eltwise_param { operation: PROD }")
    text += layer("Eltwise", "mixed", ["product", "concat"], None,
                  "eltwise_param { operation: SUM coeff: 0.5 coeff: -2 }")
    text += layer("Reshape", "shaped", "mixed", None, "reshape_param { shape { dim: 0 dim: -1 dim: 1 dim: 10 } }")
    text += layer("Flatten", "flat", "shaped") + ip("fc1", "flat", 20)
    text += layer("PReLU", "prelu3", "fc1", "fc1") + ip("fc2", "fc1", 6)
    return {"data": (2, 3, 24, 24)}, text, ["fc2"]


def within():
    """What remains of the importer's list: MVN, LRN within a channel, bias, pooling's padding."""
    text = entry(2, 3, 20, 18) + layer("MVN", "mvn", "data") + conv("conv1", "mvn", 9)
    text += layer("LRN", "norm1", "conv1", None,
                  "lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 norm_region: WITHIN_CHANNEL }")
    text += pool("pool1", "norm1", extra="pad: 1") + pool("pool2", "norm1", "AVE", 4, 2)
    text += conv("conv2", "pool1", 9, kernel=1) + layer("TanH", "tanh2", "conv2", "conv2")
    text += layer("Scale", "scale2", "conv2", None, "scale_param { bias_term: true }")
    text += layer("Permute", "permuted", "scale2", None,
                  "permute_param { order: 0 order: 2 order: 3 order: 1 }")
    return {"data": (2, 3, 20, 18)}, text + layer("Flatten", "flat", "permuted"), ["flat", "pool2"]


def ssd():
    """Two feature maps with priors, a normalised one, and detections."""
    text = entry(1, 3, 64, 64) + conv("conv1", "data", 16, stride=2)
    text += layer("ReLU", "relu1", "conv1", "conv1") + conv("conv2", "conv1", 24, stride=2)
    text += layer("ReLU", "relu2", "conv2", "conv2") + conv("conv3", "conv2", 24, stride=2)
    text += layer("ReLU", "relu3", "conv3", "conv3")
    text += layer("Normalize", "norm2", "conv2", None,
                  "norm_param { across_spatial: false channel_shared: false scale_filler { value: 5 } }")
    classes, sources = 4, (("norm2", 12, 20, 3), ("conv3", 24, 40, 6))
    for source, low, high, priors in sources:
        for kind, size in (("loc", 4), ("conf", classes)):
            name = f"{source}_{kind}"
            text += conv(name, source, priors * size)
            text += layer("Permute", f"{name}_perm", name, None,
                          "permute_param { order: 0 order: 2 order: 3 order: 1 }")
            text += layer("Flatten", f"{name}_flat", f"{name}_perm", None, "flatten_param { axis: 1 }")
        ratios = "aspect_ratio: 2" + (" aspect_ratio: 3" if priors == 6 else "")
        sizes = f"min_size: {low}" + (f" max_size: {high}" if priors == 6 else "")
        text += layer("PriorBox", f"{source}_prior", [source, "data"], None,
                      f"prior_box_param {{ {sizes} {ratios} flip: true clip: false variance: 0.1 "
                      "variance: 0.1 variance: 0.2 variance: 0.2 offset: 0.5 }")
    for kind in ("loc", "conf"):
        text += layer("Concat", f"mbox_{kind}", [f"{s[0]}_{kind}_flat" for s in sources], None,
                      "concat_param { axis: 1 }")
    text += layer("Concat", "mbox_prior", [f"{s[0]}_prior" for s in sources], None,
                  "concat_param { axis: 2 }")
    text += layer("Reshape", "conf_reshape", "mbox_conf", None,
                  f"reshape_param {{ shape {{ dim: 0 dim: -1 dim: {classes} }} }}")
    text += layer("Softmax", "conf_softmax", "conf_reshape", None, "softmax_param { axis: 2 }")
    text += layer("Flatten", "conf_flat", "conf_softmax", None, "flatten_param { axis: 1 }")
    text += layer("DetectionOutput", "detections", ["mbox_loc", "conf_flat", "mbox_prior"], None,
                  f"detection_output_param {{ num_classes: {classes} share_location: true "
                  "background_label_id: 0 nms_param { nms_threshold: 0.45 top_k: 100 } "
                  "code_type: CENTER_SIZE keep_top_k: 50 confidence_threshold: 0.3 }")
    return {"data": (1, 3, 64, 64)}, text, ["detections"]


def for_opencv(text):
    return text.replace(SHUFFLE, SHUFFLE_BY_PERMUTE)


NETS = {"resnet": resnet, "mobilenet": mobilenet, "shufflenet": shufflenet, "fcn": fcn,
        "prelu": prelu, "within": within, "ssd": ssd}
