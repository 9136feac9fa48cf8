"""Nets written in Python: NetSpec, layers (L) and params (P).

    n = caffe.NetSpec()
    n.data, n.label = L.Data(source="train_lmdb", batch_size=64, ntop=2)
    n.ip = L.InnerProduct(n.data, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.ip, n.label)
    print(n.to_proto())

A layer function's arguments are its bottoms; its keywords are the fields of its
own *_param message, or of LayerParameter. ntop gives the number of tops (1),
in_place=True writes over the bottom, name= names the layer.
"""
from collections import Counter, OrderedDict

from .proto import caffe_pb2


def _param_fields():
    """{"Convolution": "convolution_param", ...}: a type's own message, by the
    message's name less "Parameter"."""
    fields = caffe_pb2.LayerParameter.DESCRIPTOR.fields
    return {field.message_type.name[:-len("Parameter")]: field.name
            for field in fields
            if field.message_type is not None and field.name.endswith("_param")}


_PARAM_FIELDS = _param_fields()


def assign_proto(proto, name, value):
    """Sets a field of a message to plain Python values: dicts are messages,
    lists repeat; a single value where a list is meant is a list of one."""
    field = proto.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise AttributeError(f"{proto.DESCRIPTOR.name} has no field '{name}'")
    target = getattr(proto, name)
    if field.label == field.LABEL_REPEATED:
        values = value if isinstance(value, (list, tuple)) else [value]
        if field.message_type is not None:
            for item in values:
                _assign_message(target.add(), item)
        else:
            target.extend(values)
    elif field.message_type is not None:
        target.SetInParent()
        _assign_message(target, value)
    else:
        setattr(proto, name, value)


def _assign_message(message, value):
    if isinstance(value, dict):
        for name, item in value.items():
            assign_proto(message, name, item)
    else:
        message.MergeFrom(value)


class Top:
    """One output of a layer function: what others take as a bottom."""

    def __init__(self, fn, n):
        self.fn = fn
        self.n = n

    def to_proto(self):
        """The net that this top needs."""
        return to_proto(self)

    def _to_proto(self, layers, names, autonames):
        return self.fn._to_proto(layers, names, autonames)


class Function:
    """A layer: type, bottoms, fields."""

    def __init__(self, type_name, inputs, params):
        self.type_name = type_name
        for top in inputs:
            if not isinstance(top, Top):
                raise TypeError(f"{type_name}'s input {top!r} is no Top (of type "
                                f"{type(top).__name__})")
        self.inputs = inputs
        self.params = dict(params)
        self.ntop = self.params.pop("ntop", 1)
        self.in_place = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def _auto_name(self, thing, names, autonames):
        if thing not in names:
            autonames[self.type_name] += 1
            names[thing] = f"{self.type_name}{autonames[self.type_name]}"
        return names[thing]

    def _name(self, names, autonames):
        """The layer's name: its first top's, where it has tops."""
        if self not in names and self.tops:
            names[self] = self._auto_name(self.tops[0], names, autonames)
        return self._auto_name(self, names, autonames)

    def _to_proto(self, layers, names, autonames):
        if self in layers:
            return
        bottoms = []
        for top in self.inputs:
            top._to_proto(layers, names, autonames)
            bottoms.append(layers[top.fn].top[top.n])
        layer = caffe_pb2.LayerParameter(type=self.type_name)
        layer.bottom.extend(bottoms)
        if self.in_place:
            layer.top.extend(bottoms)
        else:
            layer.top.extend(self._auto_name(top, names, autonames) for top in self.tops)
        layer.name = self._name(names, autonames)
        for name, value in self.params.items():
            self._assign(layer, name, value)
        layers[self] = layer

    def _assign(self, layer, name, value):
        own = _PARAM_FIELDS.get(self.type_name)
        if own is not None and not name.endswith("param"):
            message = getattr(layer, own)
            if name in message.DESCRIPTOR.fields_by_name:
                message.SetInParent()
                assign_proto(message, name, value)
                return
        assign_proto(layer, name, value)


class NetSpec:
    """Tops (and layers without tops) by name, in the order of assignment."""

    def __init__(self):
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name, value):
        self.tops[name] = value

    def __getattr__(self, name):
        try:
            return self.tops[name]
        except KeyError:
            raise AttributeError(f"the net has no top '{name}'") from None

    def __delattr__(self, name):
        del self.tops[name]

    def __setitem__(self, name, value):
        self.tops[name] = value

    def __getitem__(self, name):
        return self.tops[name]

    def __delitem__(self, name):
        del self.tops[name]

    def __contains__(self, name):
        return name in self.tops

    def to_proto(self):
        names = {top: name for name, top in self.tops.items()}
        layers, autonames = OrderedDict(), Counter()
        for top in self.tops.values():
            top._to_proto(layers, names, autonames)
        net = caffe_pb2.NetParameter()
        net.layer.extend(layers.values())
        return net


def to_proto(*tops):
    """The net that computes `tops`, with names by type: Convolution1, ..."""
    layers, autonames = OrderedDict(), Counter()
    for top in tops:
        top._to_proto(layers, {}, autonames)
    net = caffe_pb2.NetParameter()
    net.layer.extend(layers.values())
    return net


class Layers:
    """layers.Convolution(...) gives the top, a tuple of tops, or, of a layer
    without tops, the layer itself."""

    def __getattr__(self, type_name):
        if type_name.startswith("__"):
            raise AttributeError(type_name)

        def layer(*bottoms, **fields):
            function = Function(type_name, bottoms, fields)
            if function.ntop == 0:
                return function
            return function.tops[0] if function.ntop == 1 else function.tops

        layer.__name__ = type_name
        return layer


class _Enums:
    def __init__(self, message):
        self._message = message

    def __getattr__(self, value):
        return getattr(self._message, value)


class Parameters:
    """params.Pooling.MAX: enumerators of a layer type's message."""

    def __getattr__(self, name):
        message = getattr(caffe_pb2, f"{name}Parameter", None)
        if message is None:
            raise AttributeError(f"there is no {name}Parameter")
        return _Enums(message)


layers = Layers()
params = Parameters()
