"""caffe.Net: its inside, its passes, its files."""
import gc
import importlib.util
import unittest

import numpy as np

from support import LINEAR_NET, SMALL_NET, PycaffeTest, caffe, main

STAGES_NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" include { stage: "A" }
  inner_product_param { num_output: 1 } }
layer { name: "ab" type: "InnerProduct" bottom: "data" top: "ab" include { stage: "A" } include { stage: "B" }
  inner_product_param { num_output: 1 } }
layer { name: "deep" type: "InnerProduct" bottom: "data" top: "deep" include { min_level: 3 }
  inner_product_param { num_output: 1 } }
layer { name: "train" type: "InnerProduct" bottom: "data" top: "train" include { phase: TRAIN }
  inner_product_param { num_output: 1 } }
"""

BATCH_NORM_NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 8 dim: 2 } } }
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }
"""

DROPOUT_NET = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1000 } } }
layer { name: "drop" type: "Dropout" bottom: "data" top: "drop" }
"""

POOL_DROPOUT_NET = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 5 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "drop" }
"""

MEMORY_NET = """
layer { name: "data" type: "MemoryData" top: "data" top: "label"
  memory_data_param { batch_size: 2 channels: 1 height: 2 width: 3 } }
layer { name: "sum" type: "Reduction" bottom: "data" top: "sum" reduction_param { axis: 1 } }
layer { name: "quiet" type: "Silence" bottom: "label" }
"""


class Inside(PycaffeTest):
    def test_names_and_order(self):
        net = self.net(SMALL_NET)
        self.assertEqual(list(net._layer_names), ["data", "conv", "ip", "loss"])
        self.assertEqual(list(net.layer_dict), list(net._layer_names))
        self.assertEqual([layer.type for layer in net.layers],
                         ["DummyData", "Convolution", "InnerProduct", "SoftmaxWithLoss"])
        self.assertEqual(list(net.blobs), ["data", "label", "conv", "ip_blob", "loss"])
        self.assertEqual(list(net.params), ["conv", "ip"])
        self.assertEqual(list(net.inputs), [])
        self.assertEqual(list(net.outputs), ["loss"])
        self.assertEqual(net.top_names["data"], ["data", "label"])
        self.assertEqual(net.bottom_names["loss"], ["ip_blob", "label"])
        self.assertEqual(list(net.top_names), list(net._layer_names))
        self.assertEqual(dict(net.blob_loss_weights),
                         {"data": 0, "label": 0, "conv": 0, "ip_blob": 0, "loss": 1})
        self.assertEqual(net.name, "small")

    def test_shapes(self):
        net = self.net(SMALL_NET)
        data = net.blobs["data"]
        self.assertEqual(data.shape, (5, 2, 3, 4))
        self.assertEqual((data.num, data.channels, data.height, data.width, data.count),
                         (5, 2, 3, 4, 120))
        self.assertEqual(data.data.dtype, np.float32)
        self.assertEqual(net.blobs["loss"].data.shape, ())
        self.assertEqual(net.params["conv"][0].data.shape, (11, 2, 2, 2))
        self.assertEqual(net.layer_dict["conv"].blobs[1].shape, (11,))

    def test_arrays_are_views(self):
        net = self.net(SMALL_NET)
        first, again = net.blobs["conv"].data, net.blobs["conv"].data
        first[...] = 7
        self.assertTrue((again == 7).all())
        net.params["ip"][1].data[...] = 3
        self.assertTrue((net.layer_dict["ip"].blobs[1].data == 3).all())
        before = net.params["conv"][0].data
        net.forward()
        self.assertTrue(np.shares_memory(before, net.params["conv"][0].data))
        self.assertTrue(np.shares_memory(first, net.blobs["conv"].data))

    def test_written_parameters_count(self):
        net = self.net(LINEAR_NET)
        net.blobs["data"].data[...] = 1
        self.assertTrue((net.forward()["ip"] == 2).all())
        weights = net.params["ip"][0].data
        for row in range(3):
            weights[row] = row + 1
        np.testing.assert_array_equal(net.forward()["ip"], np.tile([2, 4, 6], (4, 1)))

    def test_arrays_outlive_the_net(self):
        net = self.net(SMALL_NET)
        data, weights = net.blobs["data"].data, net.params["conv"][0].data
        gradient = net.params["conv"][0].diff
        blob = net.params["conv"][0]
        del net
        gc.collect()
        for array in (data, weights, gradient, blob.data):
            array[...] = 1
            self.assertEqual(array.sum(), array.size)

    def test_arrays_outlive_a_new_plan(self):
        net = self.net(LINEAR_NET)
        net.blobs["data"].data[...] = 4
        old = net.forward()["ip"]
        net.blobs["data"].reshape(100, 2)
        net.reshape()
        gc.collect()
        np.testing.assert_array_equal(old, np.full((4, 3), 8))
        old[...] = 1  # nobody's memory but the array's
        self.assertEqual(net.forward()["ip"].shape, (100, 3))


class Passes(PycaffeTest):
    def test_forward_and_backward(self):
        net = self.net(SMALL_NET)
        outputs = net.forward()
        self.assertEqual(set(outputs), {"loss"})
        self.assertTrue(np.isfinite(outputs["loss"]))
        net.backward()
        self.assertGreater(np.abs(net.params["conv"][0].diff).sum(), 0)
        self.assertEqual(set(net.backward(diffs=["ip_blob"])), {"ip_blob"})

    def test_forward_of_a_part(self):
        net = self.net(SMALL_NET)
        net.forward()
        net.blobs["conv"].data[...] = 0
        outputs = net.forward(start="ip", end="ip")
        self.assertEqual(set(outputs), {"ip_blob"})
        np.testing.assert_array_equal(outputs["ip_blob"], -3)  # the bias alone
        self.assertTrue((net.blobs["conv"].data == 0).all())
        self.assertEqual(set(net.forward(end="conv", blobs=["data"])), {"conv", "data"})
        with self.assertRaises(ValueError) as caught:
            net.forward(start="pool")
        self.assertIn("pool", str(caught.exception))

    def test_backward_of_a_part(self):
        net = self.net(SMALL_NET)
        net.forward()
        net.backward()
        gradient = net.params["conv"][0].diff.copy()
        net.clear_param_diffs()
        net.backward(start="loss", end="ip")
        self.assertFalse(net.params["conv"][0].diff.any())
        self.assertTrue(net.params["ip"][0].diff.any())
        net.backward(start="conv")
        np.testing.assert_allclose(net.params["conv"][0].diff, gradient, rtol=1e-5, atol=1e-5)

    def test_inputs_as_keywords(self):
        net = self.net(LINEAR_NET)
        outputs = net.forward(data=np.arange(8).reshape(4, 2))
        np.testing.assert_array_equal(outputs["ip"][:, 0], [1, 5, 9, 13])
        with self.assertRaises(ValueError):
            net.forward(image=np.zeros((4, 2)))
        with self.assertRaises(ValueError):
            net.forward(data=np.zeros((3, 2)))

    def test_output_gradients_as_keywords(self):
        net = self.net(LINEAR_NET.replace('"linear"', '"linear" force_backward: true'))
        net.forward(data=np.ones((4, 2)))
        gradients = net.backward(ip=np.tile([1, 10, 100], (4, 1)))
        np.testing.assert_array_equal(gradients["data"], np.full((4, 2), 111))

    def test_clear_param_diffs(self):
        net = self.net(SMALL_NET)
        net.forward()
        net.backward()
        gradient = net.params["conv"][0].diff
        self.assertTrue(gradient.any())
        net.clear_param_diffs()
        self.assertFalse(gradient.any())

    def test_gradients_add_up(self):
        net = self.net(SMALL_NET)
        net.forward()
        net.backward()
        once = net.params["ip"][0].diff.copy()
        net.backward()
        np.testing.assert_allclose(net.params["ip"][0].diff, 2 * once, rtol=1e-5)

    def test_top_bottom_gradients_exist_everywhere(self):
        net = self.net(LINEAR_NET)  # nothing flows back here
        diff = net.blobs["data"].diff
        self.assertEqual(diff.shape, (4, 2))
        self.assertFalse(diff.any())

    def test_forward_all(self):
        net = self.net(LINEAR_NET)
        data = np.arange(20).reshape(10, 2)  # two batches and a half
        outputs = net.forward_all(data=data, blobs=["data"])
        np.testing.assert_array_equal(outputs["ip"], np.tile(data.sum(1)[:, None], (1, 3)))
        np.testing.assert_array_equal(outputs["data"], data)

    def test_forward_backward_all(self):
        net = self.net(LINEAR_NET.replace('"linear"', '"linear" force_backward: true'))
        data, seed = np.ones((6, 2)), np.arange(18).reshape(6, 3)
        outputs, gradients = net.forward_backward_all(data=data, ip=seed)
        self.assertEqual(outputs["ip"].shape, (6, 3))
        np.testing.assert_array_equal(gradients["data"], np.tile(seed.sum(1)[:, None], (1, 2)))

    def test_reshape(self):
        net = self.net(LINEAR_NET)
        net.blobs["data"].reshape(2, 2)
        self.assertEqual(net.blobs["data"].data.shape, (2, 2))
        net.reshape()
        self.assertEqual(net.blobs["ip"].data.shape, (2, 3))
        net.blobs["data"].reshape(*(8, 2))
        net.blobs["data"].data[...] = 1
        self.assertEqual(net.forward()["ip"].shape, (8, 3))
        with self.assertRaises(caffe.Error):
            net.blobs["data"].reshape(3, 7)
            net.reshape()
        with self.assertRaises(caffe.Error):
            net.blobs["ip"].reshape(1, 3)

    def test_callbacks(self):
        net = self.net(SMALL_NET)
        seen = []
        net.before_forward(lambda layer: seen.append(("bf", layer)))
        net.after_forward(lambda layer: seen.append(("af", layer)))
        net.before_backward(lambda layer: seen.append(("bb", layer)))
        net.after_backward(lambda layer: seen.append(("ab", layer)))
        net.forward()
        net.backward(start="loss", end="ip")
        self.assertEqual(seen, [(name, layer) for layer in range(4) for name in ("bf", "af")]
                         + [(name, layer) for layer in (3, 2) for name in ("bb", "ab")])

    def test_callbacks_see_values(self):
        net = self.net(LINEAR_NET)
        net.after_forward(lambda layer: net.blobs["ip"].data.fill(5) if layer == 1 else None)
        np.testing.assert_array_equal(net.forward(data=np.ones((4, 2)))["ip"], 5)

    def test_memory_data(self):
        net = self.net(MEMORY_NET)
        data = np.arange(24, dtype=np.float32).reshape(4, 1, 2, 3)
        net.set_input_arrays(data, np.arange(4, dtype=np.float32))
        sums = data.reshape(4, -1).sum(1)
        expected = [sums[:2], sums[2:], sums[:2]]
        del data  # the net keeps it
        for part in expected:
            np.testing.assert_array_equal(net.forward()["sum"], part)
        with self.assertRaises(ValueError):
            net.set_input_arrays(np.zeros((4, 1, 3, 3)), np.zeros(4))
        with self.assertRaises(caffe.Error):
            net.set_input_arrays(np.zeros((3, 1, 2, 3)), np.zeros(3))
        with self.assertRaises(RuntimeError):
            self.net(LINEAR_NET).set_input_arrays(np.zeros((4, 2, 1, 1)), np.zeros(4))

    def test_dropout_is_drawn_anew(self):
        net = self.net(DROPOUT_NET)
        first = net.forward(data=np.ones((1, 1000)))["drop"].copy()
        net.backward(drop=np.ones((1, 1000)))
        np.testing.assert_array_equal(net.blobs["data"].diff, first)  # the same mask
        second = net.forward()["drop"]
        self.assertTrue(400 < (first > 0).sum() < 600)
        self.assertTrue((first != second).any())

    def test_dropout_behind_max_pooling(self):
        net = self.net(POOL_DROPOUT_NET)
        data = np.random.default_rng(1).permutation(180).reshape(2, 3, 6, 5) + 1
        drop = net.forward(data=data)["drop"]
        starts = [(y, x) for y in (0, 2, 4) for x in (0, 2)]
        windows = [data[:, :, y:y + 3, x:x + 3].reshape(6, -1) for y, x in starts]
        drop = drop.reshape(6, 6)
        largest = np.stack([window.max(1) for window in windows], 1)
        kept = drop != 0
        self.assertTrue(9 < kept.sum() < 27)
        np.testing.assert_array_equal(drop, 2 * largest * kept)
        # The largest of each window that was kept gets twice the gradient.
        net.backward(drop=np.ones((2, 3, 3, 2)))
        wanted = {}
        for value in largest[kept]:
            wanted[value] = wanted.get(value, 0) + 2
        diff = net.blobs["data"].diff
        self.assertEqual({v: d for v, d in zip(data.ravel(), diff.ravel()) if d}, wanted)
        test = self.net(POOL_DROPOUT_NET, caffe.TEST)
        np.testing.assert_array_equal(test.forward(data=data)["drop"].reshape(6, 6), largest)

    def test_batch_norm_gathers_statistics(self):
        net = self.net(BATCH_NORM_NET)
        data = np.arange(16).reshape(8, 2)
        net.forward(data=data)
        mean, variance, factor = (blob.data.copy() for blob in net.params["bn"])
        np.testing.assert_allclose(mean, data.mean(0), rtol=1e-6)
        np.testing.assert_allclose(variance, data.var(0, ddof=1), rtol=1e-5)
        self.assertEqual(factor, 1)
        net.forward()
        np.testing.assert_allclose(net.params["bn"][2].data, 1.999, rtol=1e-6)

    def test_seeds(self):
        first = self.net(SMALL_NET).params["conv"][0].data.copy()
        second = self.net(SMALL_NET).params["conv"][0].data.copy()
        caffe.set_random_seed(1701)
        again = self.net(SMALL_NET).params["conv"][0].data
        np.testing.assert_array_equal(first, again)
        self.assertTrue((first != second).any())


class Making(PycaffeTest):
    def test_levels_and_stages(self):
        def layers(phase=caffe.TEST, **options):
            return set(self.net(STAGES_NET, phase, **options).layer_dict) & {
                "a", "ab", "deep", "train"}

        self.assertEqual(layers(stages=["A"]), {"a", "ab"})
        self.assertEqual(layers(stages=["B"]), {"ab"})
        self.assertEqual(layers(stages=["A", "B"]), {"a", "ab"})
        self.assertEqual(layers(level=3), {"deep"})
        self.assertEqual(layers(level=2), set())
        self.assertEqual(layers(caffe.TRAIN), {"train"})

    def test_old_constructor(self):
        net = self.net(SMALL_NET)
        weights = self.work / "old.caffemodel"
        net.save(str(weights))
        again = caffe.Net(self.write(SMALL_NET), str(weights), caffe.TEST)
        np.testing.assert_array_equal(net.params["ip"][0].data, again.params["ip"][0].data)
        third = caffe.Net(network_file=self.write(SMALL_NET), phase=caffe.TEST, weights=weights)
        np.testing.assert_array_equal(net.params["ip"][0].data, third.params["ip"][0].data)

    def test_from_a_message(self):
        spec = caffe.NetSpec()
        spec.data = caffe.layers.Input(shape=dict(dim=[2, 3]))
        spec.ip = caffe.layers.InnerProduct(spec.data, num_output=1)
        net = caffe.Net(spec.to_proto(), caffe.TEST)
        self.assertEqual(net.forward()["ip"].shape, (2, 1))
        self.assertEqual([layer.name for layer in net.to_proto().layer], ["data", "ip"])

    def test_save_and_copy_from(self):
        net = self.net(SMALL_NET)
        net.forward()
        net.backward()
        for name, save in (("w.caffemodel", net.save), ("w.h5", net.save_hdf5),
                           ("no_suffix", net.save_hdf5)):
            path = str(self.work / name)
            save(path)
            other = self.net(SMALL_NET)
            (other.load_hdf5 if save == net.save_hdf5 else other.copy_from)(path)
            for layer in net.params:
                for mine, theirs in zip(net.params[layer], other.params[layer]):
                    np.testing.assert_array_equal(mine.data, theirs.data)
        net.save_hdf5(str(self.work / "diff.h5"), write_diff=True)
        self.assertGreater((self.work / "diff.h5").stat().st_size,
                           (self.work / "w.h5").stat().st_size)

    def test_share_with(self):
        net, other = self.net(SMALL_NET), self.net(SMALL_NET)
        old = other.params["conv"][0].data
        other.share_with(net)
        other.params["conv"][0].data[...] = 1
        self.assertTrue((net.params["conv"][0].data == 1).all())
        self.assertTrue((old != 1).any())
        net.blobs["data"].data[...] = other.blobs["data"].data
        np.testing.assert_array_equal(net.forward(start="conv", end="ip")["ip_blob"],
                                      other.forward(start="conv", end="ip")["ip_blob"])
        with self.assertRaises(caffe.Error) as caught:
            self.net(SMALL_NET.replace("num_output: 13", "num_output: 14")).share_with(net)
        self.assertEqual(caught.exception.layer, "ip")
        del net
        gc.collect()
        self.assertTrue((other.params["conv"][0].data == 1).all())

    def test_dlpack(self):
        net = self.net(SMALL_NET)
        array = np.from_dlpack(net.blobs["data"])
        self.assertTrue(np.shares_memory(array, net.blobs["data"].data))
        self.assertEqual(np.asarray(net.blobs["data"]).shape, (5, 2, 3, 4))

    @unittest.skipIf(importlib.util.find_spec("torch") is None, "no python3-torch")
    def test_torch_looks_at_the_same_memory(self):
        import torch
        net = self.net(SMALL_NET)
        net.forward()
        weight = torch.from_dlpack(net.params["ip"][0])
        self.assertEqual(tuple(weight.shape), net.params["ip"][0].shape)
        weight[0].fill_(7)
        self.assertTrue((net.params["ip"][0].data[0] == 7).all())
        blob = torch.from_dlpack(net.blobs["ip_blob"])
        net.forward()  # the same tensor shows the new pass
        np.testing.assert_array_equal(blob.numpy(), net.blobs["ip_blob"].data)
        product = torch.nn.functional.linear(
            torch.from_dlpack(net.blobs["conv"]).flatten(1), weight,
            torch.from_dlpack(net.params["ip"][1]))
        np.testing.assert_allclose(product.numpy(), blob.numpy(), rtol=1e-4, atol=1e-2)
        del net
        gc.collect()
        self.assertEqual(float(weight[0, 0]), 7)


if __name__ == "__main__":
    main()
