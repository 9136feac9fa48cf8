"""caffe.net_spec: nets written in Python; layer_type_list; caffe.draw."""

from google.protobuf import text_format

from support import ROOT, PycaffeTest, caffe, main
from caffe.proto import caffe_pb2
import caffe.draw

L, P = caffe.layers, caffe.params


def lenet(batch_size):
    n = caffe.NetSpec()
    n.data, n.label = L.DummyData(shape=[dict(dim=[batch_size, 1, 28, 28]),
                                         dict(dim=[batch_size, 1, 1, 1])],
                                  transform_param=dict(scale=1. / 255), ntop=2)
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20,
                            weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=50, weight_filler=dict(type="xavier"),
                           param=[dict(lr_mult=1), dict(lr_mult=2)])
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.loss = L.SoftmaxWithLoss(n.relu1, n.label)
    return n.to_proto()


class Specs(PycaffeTest):
    def test_lenet(self):
        proto = lenet(50)
        self.assertEqual([layer.name for layer in proto.layer],
                         ["data", "conv1", "pool1", "ip1", "relu1", "loss"])
        self.assertEqual([layer.type for layer in proto.layer],
                         ["DummyData", "Convolution", "Pooling", "InnerProduct", "ReLU",
                          "SoftmaxWithLoss"])
        data, conv, pool, ip, relu, loss = proto.layer
        self.assertEqual(list(data.top), ["data", "label"])
        self.assertEqual(list(conv.convolution_param.kernel_size), [5])
        self.assertEqual(conv.convolution_param.weight_filler.type, "xavier")
        self.assertEqual(pool.pooling_param.pool, caffe_pb2.PoolingParameter.MAX)
        self.assertEqual([spec.lr_mult for spec in ip.param], [1, 2])
        self.assertEqual((list(relu.bottom), list(relu.top)), (["ip1"], ["ip1"]))
        self.assertEqual(list(loss.bottom), ["ip1", "label"])
        net = caffe.Net(self.write(str(proto)), caffe.TRAIN)
        self.assertEqual(list(net._layer_names), [layer.name for layer in proto.layer])

    def test_automatic_names(self):
        data = L.DummyData(shape=dict(dim=[1, 1]))
        net = caffe.to_proto(L.ReLU(L.InnerProduct(data, num_output=2)), L.TanH(data))
        self.assertEqual([(layer.name, list(layer.top)) for layer in net.layer],
                         [("DummyData1", ["DummyData1"]), ("InnerProduct1", ["InnerProduct1"]),
                          ("ReLU1", ["ReLU1"]), ("TanH1", ["TanH1"])])
        self.assertEqual(net, caffe.to_proto(L.ReLU(L.InnerProduct(data, num_output=2)),
                                             L.TanH(data)))

    def test_no_tops(self):
        n = caffe.NetSpec()
        n.data, n.data2 = L.DummyData(shape=dict(dim=3), ntop=2)
        n.silence_data = L.Silence(n.data, ntop=0)
        n.silence_data2 = L.Silence(n.data2, ntop=0)
        proto = n.to_proto()
        self.assertEqual([layer.name for layer in proto.layer],
                         ["data", "silence_data", "silence_data2"])
        self.assertEqual([list(layer.top) for layer in proto.layer[1:]], [[], []])
        caffe.Net(self.write(str(proto)), caffe.TRAIN)

    def test_by_name(self):
        n = caffe.NetSpec()
        for i in range(3):
            n[f"d{i}"] = L.Input(shape=dict(dim=[1]))
        del n["d1"]
        self.assertIn("d0", n)
        self.assertEqual([layer.name for layer in n.to_proto().layer], ["d0", "d2"])
        with self.assertRaises(AttributeError):
            n.d1
        named = caffe.to_proto(L.ReLU(n.d0, name="rectify"))
        self.assertEqual(named.layer[-1].name, "rectify")

    def test_mistakes(self):
        data = L.DummyData(ntop=2)
        with self.assertRaises(TypeError) as caught:
            L.Convolution(data)  # a tuple of tops, not one
        self.assertIn("Convolution", str(caught.exception))
        with self.assertRaises(AttributeError) as caught:
            L.Convolution(data[0], kernel_sise=3).to_proto()
        self.assertIn("kernel_sise", str(caught.exception))
        with self.assertRaises(AttributeError):
            P.Polling.MAX


class Types(PycaffeTest):
    def test_standard_types(self):
        known = caffe.layer_type_list()
        for kind in ("Data", "Convolution", "InnerProduct", "Python", "SoftmaxWithLoss"):
            self.assertIn(kind, known)
        self.assertEqual(known, sorted(known))


class Drawing(PycaffeTest):
    def nets(self):
        for path in sorted(ROOT.glob("examples/**/*.prototxt")):
            net = caffe_pb2.NetParameter()
            try:
                text_format.Merge(path.read_text(), net)
            except text_format.ParseError:
                continue  # a solver
            yield path, net

    def test_every_example(self):
        drawn = 0
        for path, net in self.nets():
            for rankdir, phase in (("LR", None), ("TB", caffe.TEST)):
                dot = caffe.draw.get_dot(net, rankdir, phase=phase, display_lrm=True)
                for layer in net.layer:
                    if phase is None:
                        self.assertIn(layer.name, dot, path)
            drawn += 1
        self.assertGreater(drawn, 3)

    def test_pictures(self):
        _, net = next((p, n) for p, n in self.nets() if p.name == "lenet_train_test.prototxt")
        self.assertEqual(caffe.draw.draw_net(net)[:8], b"\x89PNG\r\n\x1a\n")
        path = self.work / "lenet.svg"
        caffe.draw.draw_net_to_file(net, str(path), "TB", caffe.TRAIN)
        picture = path.read_text()
        self.assertIn("<svg", picture)
        self.assertIn("conv1", picture)
        self.assertNotIn("Accuracy", picture)
        with self.assertRaises(RuntimeError):
            caffe.draw.draw_net(net, ext="no_format")


if __name__ == "__main__":
    main()
