"""Pictures of nets, by Graphviz: layers are boxes, blobs are octagons."""
import subprocess

from .proto import caffe_pb2

_BLOB_STYLE = 'shape=octagon, style=filled, fillcolor="#E0E0E0"'
_COLORS = {"Convolution": "#FF5050", "Deconvolution": "#FF5050", "DepthwiseConvolution": "#FF5050",
           "Pooling": "#FF9900", "InnerProduct": "#CC33FF"}


def choose_color_by_layertype(layertype):
    """The fill colour of a layer's box."""
    return _COLORS.get(layertype, "#6495ED")


def get_pooling_types_dict():
    """Names of pooling methods by number."""
    return {value: name for name, value in caffe_pb2.PoolingParameter.PoolMethod.items()}


def get_layer_lr_mult(layer):
    """The learning rate multiplier of a layer's weights."""
    return layer.param[0].lr_mult if layer.param else 1.0


def _first(values, default):
    return values[0] if values else default


def _size(param, stem, field, default):
    """A window's extent: HxW where they differ, else one number."""
    if param.HasField(f"{stem}_h") or param.HasField(f"{stem}_w"):
        return f"{getattr(param, stem + '_h')}x{getattr(param, stem + '_w')}"
    values = getattr(param, field)
    if isinstance(values, int):
        return str(values)
    return "x".join(map(str, values)) or str(default)


def get_layer_label(layer, rankdir, display_lrm=False):
    """What a layer's box says; on one line where nets grow downwards."""
    gap = " " if rankdir in ("TB", "BT") else "\\n"
    lines = [layer.name, f"({layer.type})"]
    if display_lrm:
        lines.append(f"lr mult: {get_layer_lr_mult(layer)}")
    if layer.type in ("Convolution", "Deconvolution", "DepthwiseConvolution"):
        param = layer.convolution_param
        lines += [f"kernel size: {_size(param, 'kernel', 'kernel_size', 1)}",
                  f"stride: {_size(param, 'stride', 'stride', 1)}",
                  f"pad: {_size(param, 'pad', 'pad', 0)}"]
        if _first(param.dilation, 1) != 1:
            lines.append(f"dilation: {_first(param.dilation, 1)}")
    elif layer.type == "Pooling":
        param = layer.pooling_param
        lines[1] = f"({get_pooling_types_dict()[param.pool]} {layer.type})"
        if param.global_pooling:
            lines.append("global")
        else:
            lines += [f"kernel size: {_size(param, 'kernel', 'kernel_size', 1)}",
                      f"stride: {_size(param, 'stride', 'stride', 1)}",
                      f"pad: {_size(param, 'pad', 'pad', 0)}"]
    return gap.join(lines)


def get_edge_label(layer):
    """What the edge from a layer to its top says: how many outputs it has."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution", "DepthwiseConvolution"):
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return ""


def _admits(layer, phase):
    """Is the layer in a net of this phase?"""
    if phase is None:
        return True
    if layer.include:
        return any(not rule.HasField("phase") or rule.phase == phase for rule in layer.include)
    return not any(rule.HasField("phase") and rule.phase == phase for rule in layer.exclude)


def _quote(text):
    return '"' + text.replace('"', '\\"') + '"'


def get_dot(caffe_net, rankdir="LR", label_edges=True, phase=None, display_lrm=False):
    """The net (a NetParameter) in Graphviz' language."""
    lines = [f"digraph {_quote(caffe_net.name or 'Net')} {{", f"  rankdir={rankdir};"]
    blobs, edges = [], []
    for layer in caffe_net.layer:
        if not _admits(layer, phase):
            continue
        node = _quote(f"{layer.name}_{layer.type}")
        lines.append(f"  {node} [shape=box, style=filled, "
                     f'fillcolor="{choose_color_by_layertype(layer.type)}", '
                     f"label={_quote(get_layer_label(layer, rankdir, display_lrm))}];")
        for bottom in layer.bottom:
            blobs.append(bottom)
            edges.append(f"  {_quote(bottom + '_blob')} -> {node};")
        label = get_edge_label(layer) if label_edges else ""
        for top in layer.top:
            blobs.append(top)
            edges.append(f"  {node} -> {_quote(top + '_blob')}"
                         + (f" [label={_quote(label)}];" if label else ";"))
    lines += [f"  {_quote(blob + '_blob')} [{_BLOB_STYLE}, label={_quote(blob)}];"
              for blob in dict.fromkeys(blobs)]
    return "\n".join(lines + edges + ["}", ""])


def get_pydot_graph(caffe_net, rankdir, label_edges=True, phase=None, display_lrm=False):
    """The same as a graph of pydot's, which must be installed."""
    import pydot
    return pydot.graph_from_dot_data(
        get_dot(caffe_net, rankdir, label_edges, phase, display_lrm))[0]


def draw_net(caffe_net, rankdir="LR", ext="png", phase=None, display_lrm=False):
    """The picture's bytes, in a format that Graphviz knows: png, svg, pdf."""
    dot = get_dot(caffe_net, rankdir, phase=phase, display_lrm=display_lrm)
    try:
        done = subprocess.run(["dot", f"-T{ext}"], input=dot.encode(), capture_output=True,
                              check=False)
    except FileNotFoundError as error:
        raise RuntimeError("drawing needs Graphviz: install the package 'graphviz'") from error
    if done.returncode != 0:
        raise RuntimeError(f"dot -T{ext}: {done.stderr.decode().strip()}")
    return done.stdout


def draw_net_to_file(caffe_net, filename, rankdir="LR", phase=None, display_lrm=False):
    """Draws into a file, in the format that its name ends in."""
    ext = filename[filename.rfind(".") + 1:]
    picture = draw_net(caffe_net, rankdir, ext, phase, display_lrm)
    with open(filename, "wb") as file:
        file.write(picture)
