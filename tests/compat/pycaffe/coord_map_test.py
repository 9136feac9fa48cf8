"""caffe.coord_map: where coordinates lie, and the crops that align tops."""
import numpy as np

from support import PycaffeTest, caffe, main
from caffe.coord_map import AxisMismatchException, coord_map_from_to, crop

L = caffe.layers


def up_and_down(ks=3, stride=1, pad=0, pool=2, dstride=2, dpad=0):
    """data -> conv -> pool -> relu -> upsampling by dstride."""
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[2, 1, 100, 100]))
    n.aux = L.Input(shape=dict(dim=[2, 1, 20, 20]))
    n.conv = L.Convolution(n.data, num_output=10, kernel_size=ks, stride=stride, pad=pad)
    n.pool = L.Pooling(n.conv, pool=caffe.params.Pooling.MAX, kernel_size=pool, stride=pool,
                       pad=0)
    # The upsampling that undoes a pooling.
    n.deconv = L.Deconvolution(n.pool, convolution_param=dict(
        num_output=10, kernel_size=pool, stride=dstride, pad=dpad))
    return n


class CoordMaps(PycaffeTest):
    def test_conv_pool_deconv(self):
        n = up_and_down()
        _, a, b = coord_map_from_to(n.deconv, n.data)
        self.assertEqual(a, 1)
        # A kernel of 3 takes one pixel on either side.
        self.assertEqual(b, 1)

    def test_pass_through(self):
        n = up_and_down()
        plain = coord_map_from_to(n.deconv, n.data)
        n.relu = L.ReLU(n.deconv, in_place=True)
        n.drop = L.Dropout(L.Scale(n.relu))
        for with_more, without in zip(coord_map_from_to(n.drop, n.data), plain):
            self.assertEqual(with_more, without)

    def test_padding(self):
        n = up_and_down()
        _, a, b = coord_map_from_to(n.deconv, n.data)
        for pad in range(1, 4):
            padded = up_and_down(pad=pad)
            _, a_pad, b_pad = coord_map_from_to(padded.deconv, padded.data)
            self.assertEqual(a_pad, a)
            self.assertEqual(b_pad, b - pad)

    def test_dilation(self):
        n = caffe.NetSpec()
        n.data = L.Input(shape=dict(dim=[1, 1, 9, 9]))
        n.conv = L.Convolution(n.data, num_output=1, kernel_size=3, dilation=2)
        _, a, b = coord_map_from_to(n.conv, n.data)
        self.assertEqual((a, b), (1, 2))

    def test_several_convolutions(self):
        n = caffe.NetSpec()
        n.data = L.Input(shape=dict(dim=[2, 1, 100, 100]))
        top = n.data
        for i in range(3):
            top = n[f"conv{i}"] = L.Convolution(top, num_output=1, kernel_size=2 * i + 1)
        _, a, b = coord_map_from_to(n.conv2, n.data)
        self.assertEqual((a, b), (1, 0 + 1 + 2))

    def test_rectangles(self):
        square = up_and_down()
        rect = up_and_down(ks=[3, 5])
        _, a_square, b_square = coord_map_from_to(square.deconv, square.data)
        _, a_rect, b_rect = coord_map_from_to(rect.deconv, rect.data)
        self.assertEqual(list(np.broadcast_to(a_rect, 2)), [a_square] * 2)
        self.assertEqual(list(b_rect), [b_square, b_square + 1])

    def test_kernel_h_and_w(self):
        n = caffe.NetSpec()
        n.data = L.Input(shape=dict(dim=[1, 1, 9, 9]))
        n.conv = L.Convolution(n.data, num_output=1, kernel_h=3, kernel_w=5)
        self.assertEqual(list(coord_map_from_to(n.conv, n.data)[2]), [1, 2])

    def test_n_dimensions(self):
        n = caffe.NetSpec()
        n.data = L.Input(shape=dict(dim=[2, 3, 100, 100, 100]))
        n.conv = L.Convolution(n.data, num_output=1, kernel_size=[3, 5, 7], pad=[0, 1, 2])
        axis, _, b = coord_map_from_to(n.conv, n.data)
        self.assertEqual(axis, 1)
        self.assertEqual(list(b), [1, 1, 1])

    def test_crop_of_crop(self):
        n = up_and_down()
        n.offset = L.Crop(n.deconv, n.data, axis=2, offset=3)
        _, a, b = coord_map_from_to(n.deconv, n.data)
        _, a_crop, b_crop = coord_map_from_to(n.offset, n.data)
        self.assertEqual((a_crop, b_crop), (a, b + 3))

    def test_crop_aligns(self):
        n = up_and_down(pad=3)
        n.upscore = crop(n.deconv, n.data)
        layer = n.to_proto().layer[-1]
        self.assertEqual(layer.type, "Crop")
        self.assertEqual(list(layer.bottom), ["deconv", "data"])
        self.assertEqual((layer.crop_param.axis, list(layer.crop_param.offset)), (2, [2]))
        if not {"Crop", "Deconvolution"} <= set(caffe.layer_type_list()):
            return
        net = caffe.Net(n.to_proto(), caffe.TEST)
        self.assertEqual(net.blobs["upscore"].shape[2:], net.blobs["data"].shape[2:])

    def test_unconnected_tops(self):
        n = up_and_down()
        n.ip = L.InnerProduct(n.deconv, num_output=10)
        for top in (n.aux, n.ip):
            with self.assertRaises(RuntimeError):
                coord_map_from_to(top, n.data)

    def test_scales_that_differ(self):
        with self.assertRaises(AssertionError):
            crop((n := up_and_down(dstride=3)).deconv, n.data)

    def test_negative_and_broken_offsets(self):
        n = up_and_down()  # the top lies inside the data: nothing to crop
        with self.assertRaises(AssertionError):
            crop(n.deconv, n.data)
        n = up_and_down(ks=4, pad=3)
        with self.assertRaises(AssertionError):
            crop(n.deconv, n.data)

    def test_axes_that_differ(self):
        n = caffe.NetSpec()
        n.data = L.Input(shape=dict(dim=[1, 1, 9, 9]))
        n.conv = L.Convolution(n.data, num_output=1, kernel_size=3)
        n.conv2 = L.Convolution(n.conv, num_output=1, kernel_size=3, axis=2)
        with self.assertRaises(AxisMismatchException):
            coord_map_from_to(n.conv2, n.data)


if __name__ == "__main__":
    main()
