"""Layers written in Python."""
import gc
import sys

import numpy as np

from support import ROOT, PycaffeTest, caffe, main

DATA = """force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 10 dim: 9 dim: 8 } } }
"""


def python(name, bottom, top, layer, more=""):
    bottoms = " ".join(f'bottom: "{blob}"' for blob in bottom.split())
    return (f'layer {{ name: "{name}" type: "Python" {bottoms} top: "{top}" '
            f'python_param {{ module: "python_layers" layer: "{layer}" {more} }} }}\n')


THREE_NET = (DATA + python("one", "data", "one", "TenTimes")
             + python("two", "one", "two", "TenTimes")
             + python("three", "two", "three", "TenTimes"))


class PythonLayers(PycaffeTest):
    def test_forward_and_backward(self):
        net = self.net(THREE_NET)
        net.blobs["data"].data[...] = np.arange(720).reshape(10, 9, 8)
        np.testing.assert_allclose(net.forward()["three"], 1000 * net.blobs["data"].data)
        net.blobs["three"].diff[...] = 7
        net.backward()
        self.assertTrue((net.blobs["data"].diff == 7000).all())

    def test_reshape(self):
        net = self.net(THREE_NET)
        net.blobs["data"].reshape(4, 6)
        net.reshape()
        for blob in net.blobs.values():
            self.assertEqual(blob.shape, (4, 6))
        self.assertEqual(net.forward()["three"].shape, (4, 6))

    def test_exceptions_keep_their_type(self):
        for where, error in (("setup", KeyError), ("forward", LookupError)):
            with self.assertRaises(error) as caught:
                self.net(DATA + python("bad", "data", "top", "Raises",
                                       f'param_str: "{where}"')).forward()
            notes = "".join(getattr(caught.exception, "__notes__", []))
            self.assertRegex(notes, r"layer 'bad' \(Python\): .*/python_layers\.py:\d+: "
                             f"{error.__name__}: ")
        net = self.net(DATA + python("bad", "data", "top", "Raises"))
        net.forward()
        with self.assertRaises(ZeroDivisionError):
            net.backward()
        net.forward()  # the net goes on

    def test_what_cannot_be_imported(self):
        with self.assertRaises(ModuleNotFoundError):
            self.net(DATA + python("bad", "data", "top", "TenTimes").replace(
                "python_layers", "no_such_module"))
        with self.assertRaises(AttributeError):
            self.net(DATA + python("bad", "data", "top", "NoSuchLayer"))
        with self.assertRaises(caffe.Error) as caught:
            self.net(DATA + 'layer { name: "bad" type: "Python" bottom: "data" top: "top" }')
        self.assertEqual(caught.exception.layer, "bad")

    def test_parameters(self):
        net = self.net(DATA + python("w", "data", "top", "Weighted"))
        weight = net.params["w"][0]
        self.assertEqual(weight.shape, (9, 8))
        self.assertTrue((weight.data == 3).all())
        net.blobs["data"].data[...] = 2
        self.assertTrue((net.forward()["top"] == 6).all())
        weight.data[...] = 5
        self.assertTrue((net.forward()["top"] == 10).all())
        net.blobs["top"].diff[...] = 1
        net.backward()
        self.assertTrue((weight.diff == 20).all())
        path = str(self.work / "weighted.caffemodel")
        net.save(path)
        weight.data[...] = 0
        net.copy_from(path)
        self.assertTrue((weight.data == 5).all())

    def test_gradients_are_the_derivatives(self):
        """Of a net around Python layers: central differences, exact for a square."""
        net = self.net(
            'force_backward: true\n' + "".join(
                f'layer {{ name: "{name}" type: "Input" top: "{name}" '
                f'input_param {{ shape {{ dim: 4 dim: 3 }} }} }}\n' for name in ("x", "goal"))
            + python("w", "x", "y", "Weighted") + python("ten", "y", "z", "TenTimes")
            + 'layer { name: "loss" type: "EuclideanLoss" bottom: "z" bottom: "goal" top: "loss" }')
        rng = np.random.default_rng(7)
        for values in (net.blobs["x"].data, net.blobs["goal"].data, net.params["w"][0].data):
            values[...] = rng.normal(size=values.shape)

        def slope(blob, at, step=0.05):
            middle, losses = blob.data[at].copy(), []
            for sign in (1, -1):  # on a GPU a view shows writes to the next pass alone
                blob.data[at] = middle + sign * step
                losses.append(float(net.forward()["loss"]))
            blob.data[at] = middle
            return (losses[0] - losses[1]) / (2 * step)
        net.forward()
        net.clear_param_diffs()
        net.backward()
        for blob in (net.blobs["x"], net.params["w"][0]):
            diff = blob.diff.copy()
            for at in np.ndindex(diff.shape):
                self.assertAlmostEqual(diff[at], slope(blob, at),
                                       delta=2e-3 * max(1, abs(diff[at])))

    def test_parameters_are_learnt(self):
        net = self.write(
            'layer { name: "data" type: "DummyData" top: "data" top: "goal" dummy_data_param { '
            'shape { dim: 4 dim: 3 } shape { dim: 4 dim: 3 } data_filler { value: 1 } '
            'data_filler { value: 7 } } }\n' + python("w", "data", "top", "Weighted")
            + 'layer { name: "loss" type: "EuclideanLoss" bottom: "top" bottom: "goal" '
              'top: "loss" }', "weighted_net.prototxt")
        solver = caffe.SGDSolver(self.write(
            f'net: "{net}" base_lr: 0.1 lr_policy: "fixed" max_iter: 100 iter_size: 2 '
            f'snapshot_after_train: false snapshot_prefix: "{self.work}/w"'))
        solver.step(100)
        np.testing.assert_allclose(solver.net.params["w"][0].data, 7, rtol=1e-3)

    def test_phase(self):
        for phase in (caffe.TRAIN, caffe.TEST):
            net = self.net(python("phase", "", "phase", "Phase"), phase)
            self.assertEqual(net.forward()["phase"], phase)

    def test_param_str(self):
        net = self.net(DATA + python("a", "data", "a", "ParamStr", "param_str: '10'")
                       + python("b", "a", "b", "ParamStr", "param_str: '5'"))
        net.blobs["data"].data[...] = 1
        self.assertTrue((net.forward()["b"] == 16).all())
        net.backward(b=np.full((10, 9, 8), 4))
        self.assertTrue((net.blobs["data"].diff == 4).all())

    def test_sources_change_their_shape(self):
        net = self.net(python("data", "", "data", "GrowingBatches")
                       + python("ten", "data", "ten", "TenTimes"))
        for n in range(1, 5):
            out = net.forward()["ten"]
            self.assertEqual(out.shape, (n, 2))
            self.assertTrue((out == 10 * n).all())
        self.assertEqual(net.layers[0].reshapes, 4)  # once a forward

    def test_data_decide_shapes(self):
        for where in ("reshape", "forward"):
            net = self.net("""force_backward: true
layer { name: "data" type: "Input" top: "data" top: "which" input_param {
  shape { dim: 6 dim: 3 } shape { dim: 6 } } }
layer { name: "drop" type: "Dropout" bottom: "data" top: "drop" }
""" + python("choose", "drop which", "chosen", "Choose", f'param_str: "{where}"').replace(
                'type: "Python"', 'type: "Python" propagate_down: true propagate_down: false')
                + python("ten", "chosen", "ten", "TenTimes")
                + 'layer { name: "ip" type: "InnerProduct" bottom: "ten" top: "ip" '
                  'inner_product_param { num_output: 2 weight_filler { value: 1 } } }')
            data = np.arange(1, 19, dtype=np.float32).reshape(6, 3)
            for which in ([1, 0, 0, 1, 1, 0], [1] * 6, [0, 1, 0, 0, 0, 0], [1] * 6, [1] * 6):
                chosen = np.flatnonzero(which)
                out = net.forward(data=data, which=np.array(which))["ip"]
                dropped = net.blobs["drop"].data
                self.assertTrue(((dropped == 0) | (dropped == 2 * data)).all())
                expected = 10 * dropped[chosen].sum(1, keepdims=True)
                np.testing.assert_allclose(out, np.tile(expected, (1, 2)))
                self.assertEqual(net.blobs["ten"].shape, (len(chosen), 3))
                net.backward(ip=np.ones((len(chosen), 2)))
                expected = np.zeros((6, 3))
                expected[chosen] = 20
                np.testing.assert_array_equal(net.blobs["data"].diff,
                                              expected * 2 * (dropped != 0))

    def test_sources_that_grow_in_forward(self):
        net = self.net(python("data", "", "data", "GrowsInForward")
                       + python("ten", "data", "ten", "TenTimes"))
        for n in range(1, 5):
            out = net.forward()["ten"]
            self.assertEqual(out.shape, (n, 2))
            self.assertTrue((out == 10 * n).all())
        self.assertEqual(net.layers[0].calls, 4)

    def test_a_loss_trains(self):
        def losses(loss_layer):
            caffe.set_random_seed(5)
            net = self.write(
                'layer { name: "data" type: "DummyData" top: "data" top: "goal" '
                'dummy_data_param { shape { dim: 8 dim: 3 } shape { dim: 8 dim: 2 } '
                'data_filler { type: "constant" value: 1 } data_filler { value: 4 } } }\n'
                'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" '
                'inner_product_param { num_output: 2 weight_filler { value: 0.5 } } }\n'
                + loss_layer)
            solver = caffe.SGDSolver(self.write(
                f'net: "{net}" base_lr: 0.05 lr_policy: "fixed" max_iter: 20 random_seed: 3 '
                f'snapshot_after_train: false snapshot_prefix: "{self.work}/l"', "s.prototxt"))
            result = []
            for _ in range(20):
                solver.step(1)
                result.append(float(solver.net.blobs["loss"].data))
            return result

        # The loss that the examples give a user to start from.
        sys.path.insert(0, str(ROOT / "examples" / "pycaffe" / "layers"))
        self.addCleanup(sys.path.pop, 0)
        ours = losses(python("loss", "ip goal", "loss", "EuclideanLossLayer").replace(
            'top: "loss"', 'top: "loss" loss_weight: 1').replace("python_layers", "pyloss"))
        built_in = losses('layer { name: "loss" type: "EuclideanLoss" bottom: "ip" '
                          'bottom: "goal" top: "loss" }')
        np.testing.assert_allclose(ours, built_in, rtol=1e-5)
        self.assertLess(ours[-1], ours[0] / 10)

    def test_instances_are_seen(self):
        net = self.net(THREE_NET)
        layer = net.layer_dict["two"]
        self.assertEqual(type(layer).__name__, "TenTimes")
        self.assertIsInstance(layer, caffe.Layer)
        self.assertEqual((layer.name, layer.param_str), ("two", ""))

    def test_kept_arrays_are_safe(self):
        net = self.net(DATA + python("nosy", "data", "top", "Nosy"))
        net.forward(data=np.ones((10, 9, 8)))
        kept = net.layers[1].kept
        net.blobs["data"].reshape(200, 9, 8)
        net.reshape()
        net.forward()
        del net
        gc.collect()
        self.assertTrue((kept[0] == 1).all())
        self.assertTrue((kept[1] == 10).all())

    def test_one_pass_at_a_time(self):
        net = self.net(THREE_NET)
        errors = []

        def again(layer):
            try:
                net.forward()
            except RuntimeError as error:
                errors.append(error)

        net.before_forward(again)
        net.forward()
        self.assertEqual(len(errors), 4)

    def test_test_nets_have_python_layers_of_their_own(self):
        net = self.write(THREE_NET.replace("force_backward: true", ""), "three.prototxt")
        solver = caffe.SGDSolver(self.write(
            f'train_net: "{net}" test_net: "{net}" test_iter: 2 test_interval: 1 base_lr: 1 '
            f'lr_policy: "fixed" snapshot_after_train: false snapshot_prefix: "{self.work}/t"'))
        solver.test_all()
        self.assertIsNot(solver.net.layers[1], solver.test_nets[0].layers[1])
        self.assertEqual(solver.test_nets[0].layers[1].phase, caffe.TEST)


if __name__ == "__main__":
    main()
