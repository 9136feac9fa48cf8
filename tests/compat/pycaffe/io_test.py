"""caffe.io: images, messages, Transformer; Classifier and Detector on top."""
import numpy as np

from support import PycaffeTest, caffe, main
from caffe.proto import caffe_pb2

MEANS_NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 3 dim: 3 dim: 4 dim: 4 } } }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean"
  pooling_param { pool: AVE global_pooling: true } }
"""


class Blobs(PycaffeTest):
    def test_old_format(self):
        blob = caffe_pb2.BlobProto(data=list(range(120)), num=2, channels=3, height=4, width=5)
        array = caffe.io.blobproto_to_array(blob)
        np.testing.assert_array_equal(array, np.arange(120).reshape(2, 3, 4, 5))

    def test_new_format(self):
        values = np.random.RandomState(0).randn(10, 10)
        blob = caffe_pb2.BlobProto(data=values.ravel(), shape=dict(dim=[10, 10]))
        np.testing.assert_allclose(caffe.io.blobproto_to_array(blob), values, rtol=1e-6)

    def test_no_shape(self):
        with self.assertRaises(ValueError):
            caffe.io.blobproto_to_array(caffe_pb2.BlobProto(data=[0] * 10))

    def test_scalar(self):
        array = caffe.io.blobproto_to_array(caffe_pb2.BlobProto(data=[123]))
        self.assertEqual((array.shape, float(array)), ((), 123))

    def test_there_and_back(self):
        array = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
        blob = caffe.io.array_to_blobproto(array, diff=-array)
        np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), array)
        np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, True), -array)
        text = caffe.io.arraylist_to_blobprotovector_str([array, array[0]])
        back = caffe.io.blobprotovector_str_to_arraylist(text)
        self.assertEqual([a.shape for a in back], [(1, 2, 3), (2, 3)])
        with self.assertRaises(ValueError):
            caffe.io.array_to_blobproto(array, diff=array[0])

    def test_doubles(self):
        blob = caffe_pb2.BlobProto(double_data=[0.1, 0.2], shape=dict(dim=[2]))
        np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), [0.1, 0.2])


class Datums(PycaffeTest):
    def test_label_none(self):
        datum = caffe.io.array_to_datum(np.ones((10, 11, 12)), None)
        self.assertFalse(datum.HasField("label"))
        self.assertEqual((datum.channels, datum.height, datum.width), (10, 11, 12))

    def test_bytes_and_floats(self):
        values = np.arange(24).reshape(2, 3, 4)
        for dtype in (np.uint8, np.float32):
            datum = caffe.io.array_to_datum(values.astype(dtype), 7)
            self.assertEqual(datum.label, 7)
            self.assertEqual(bool(datum.data), dtype == np.uint8)
            back = caffe.io.datum_to_array(datum)
            self.assertEqual(back.dtype, dtype)
            np.testing.assert_array_equal(back, values)
        with self.assertRaises(ValueError):
            caffe.io.array_to_datum(values[0])
        with self.assertRaises(ValueError):
            caffe.io.datum_to_array(caffe_pb2.Datum(encoded=True, data=b"\xff\xd8"))


class Images(PycaffeTest):
    def image(self, name, mode, size, color):
        from PIL import Image
        path = self.work / name
        Image.new(mode, size, color).save(path)
        return str(path)

    def test_load_image(self):
        color = self.image("rgb.png", "RGB", (4, 3), (255, 51, 0))
        image = caffe.io.load_image(color)
        self.assertEqual((image.shape, image.dtype), ((3, 4, 3), np.float32))
        np.testing.assert_allclose(image[0, 0], [1, 0.2, 0])
        self.assertEqual(caffe.io.load_image(color, color=False).shape, (3, 4, 1))
        gray = caffe.io.load_image(self.image("gray.png", "L", (4, 3), 51))
        np.testing.assert_allclose(gray, np.full((3, 4, 3), 0.2))
        clear = caffe.io.load_image(self.image("clear.png", "RGBA", (4, 3), (0, 255, 0, 9)))
        np.testing.assert_allclose(clear[0, 0], [0, 1, 0])
        deep = self.image("deep.png", "I;16", (2, 2), 13107)
        np.testing.assert_allclose(caffe.io.load_image(deep), np.full((2, 2, 3), 0.2))

    def test_resize(self):
        ramp = np.tile(np.arange(8, dtype=np.float32)[None, :, None], (4, 1, 2))
        for order in (0, 1, 3):
            same = caffe.io.resize_image(ramp, (4, 8), order)
            np.testing.assert_array_equal(same, ramp)
            flat = caffe.io.resize_image(np.full((5, 7, 3), 0.25), (11, 3), order)
            self.assertEqual(flat.shape, (11, 3, 3))
            np.testing.assert_allclose(flat, 0.25, rtol=1e-6)
        half = caffe.io.resize_image(ramp, (2, 4))  # areas' centres: 0.5, 2.5, ...
        np.testing.assert_allclose(half[0, :, 0], [0.5, 2.5, 4.5, 6.5])
        double = caffe.io.resize_image(ramp, (4, 16))
        np.testing.assert_allclose(double[0, 1:5, 1], [0.25, 0.75, 1.25, 1.75])
        cubic = caffe.io.resize_image(ramp, (4, 16), 3)
        np.testing.assert_allclose(cubic[0, 5:9, 1], [2.25, 2.75, 3.25, 3.75], rtol=1e-6)
        nearest = caffe.io.resize_image(ramp, (4, 16), 0)
        np.testing.assert_array_equal(nearest[0, :6, 0], [0, 0, 1, 1, 2, 2])
        many = caffe.io.resize_image(np.ones((4, 4, 7)), (6, 5))
        self.assertEqual(many.shape, (6, 5, 7))
        with self.assertRaises(ValueError):
            caffe.io.resize_image(ramp, (2, 2), 9)

    def test_resize_agrees_with_pil(self):
        from PIL import Image
        values = np.random.RandomState(1).rand(9, 13).astype(np.float32)
        ours = caffe.io.resize_image(values[:, :, None], (18, 26))[:, :, 0]
        pil = np.asarray(Image.fromarray(values).resize((26, 18), Image.BILINEAR))
        np.testing.assert_allclose(ours, pil, atol=1e-5)

    def test_oversample(self):
        image = np.arange(5 * 6 * 3, dtype=np.float32).reshape(5, 6, 3)
        crops = caffe.io.oversample([image, image], (3, 4))
        self.assertEqual(crops.shape, (20, 3, 4, 3))
        np.testing.assert_array_equal(crops[0], image[:3, :4])
        np.testing.assert_array_equal(crops[3], image[2:, 2:])
        np.testing.assert_array_equal(crops[4], image[1:4, 1:5])
        np.testing.assert_array_equal(crops[5], image[:3, :4][:, ::-1])
        with self.assertRaises(ValueError):
            caffe.io.oversample([image], (6, 6))


class Transformers(PycaffeTest):
    def transformer(self):
        transformer = caffe.io.Transformer({"data": (1, 3, 4, 5)})
        transformer.set_transpose("data", (2, 0, 1))
        transformer.set_channel_swap("data", (2, 1, 0))
        transformer.set_raw_scale("data", 255)
        transformer.set_mean("data", np.array([10, 20, 30]))
        transformer.set_input_scale("data", 0.5)
        return transformer

    def test_preprocess(self):
        image = np.random.RandomState(2).rand(4, 5, 3).astype(np.float32)
        made = self.transformer().preprocess("data", image)
        expected = (255 * image.transpose(2, 0, 1)[::-1]
                    - np.array([10, 20, 30])[:, None, None]) / 2
        np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(self.transformer().deprocess("data", made), image, atol=1e-6)
        large = self.transformer().preprocess("data", np.ones((8, 10, 3)))
        self.assertEqual(large.shape, (3, 4, 5))

    def test_means(self):
        transformer = caffe.io.Transformer({"data": (1, 3, 4, 5)})
        transformer.set_mean("data", np.ones((3, 4, 5)))
        transformer.set_mean("data", np.ones((3, 8, 10)))
        self.assertEqual(transformer.mean["data"].shape, (3, 4, 5))
        transformer.set_mean("data", np.ones((4, 5)))
        for bad in (np.ones(2), np.ones((2, 4, 5)), np.ones((1, 3, 4, 5))):
            with self.assertRaises(ValueError):
                transformer.set_mean("data", bad)

    def test_mistakes(self):
        transformer = self.transformer()
        with self.assertRaises(ValueError):
            transformer.preprocess("image", np.ones((4, 5, 3)))
        with self.assertRaises(ValueError):
            transformer.set_transpose("data", (1, 0))
        with self.assertRaises(ValueError):
            transformer.set_channel_swap("data", (1, 0))


class ClassifyAndDetect(PycaffeTest):
    def files(self):
        net = self.net(MEANS_NET, caffe.TEST)
        net.save(str(self.work / "means.caffemodel"))
        return self.write(MEANS_NET), str(self.work / "means.caffemodel")

    def test_classifier(self):
        classifier = caffe.Classifier(*self.files(), image_dims=(8, 8), raw_scale=255,
                                      channel_swap=(2, 1, 0), mean=np.array([1, 2, 3]))
        images = [np.full((16, 9, 3), (0.2, 0.4, 0.6)), np.zeros((5, 5, 3))]
        for oversample in (True, False):
            scores = classifier.predict(images, oversample).reshape(2, 3)
            np.testing.assert_allclose(scores, [[152, 100, 48], [-1, -2, -3]], rtol=1e-5)

    def test_classifier_takes_the_centre(self):
        classifier = caffe.Classifier(*self.files(), image_dims=(8, 8))
        image = np.zeros((8, 8, 3))
        image[2:6, 2:6] = 1
        centre = classifier.predict([image], oversample=False)
        np.testing.assert_allclose(centre.ravel(), 1)
        self.assertTrue((classifier.predict([image]) < 0.6).all())

    def test_detector(self):
        image = np.zeros((20, 20, 3))
        image[5:10, 5:15] = 1
        windows = [(5, 5, 10, 15), (0, 0, 5, 5), (10, 0, 20, 20), (5, 5, 10, 15)]
        detector = caffe.Detector(*self.files())
        found = detector.detect_windows([(image, np.array(windows))])
        self.assertEqual(len(found), 4)
        for detection, expected in zip(found, (1, 0, 0, 1)):
            np.testing.assert_allclose(detection["prediction"], expected, atol=1e-6)

    def test_detector_context(self):
        image = np.ones((20, 20, 3))
        detector = caffe.Detector(*self.files(), context_pad=1, mean=np.array([0.5, 0.25, 0]),
                                  raw_scale=1)
        inside = detector.crop(image, (6, 6, 14, 14))
        self.assertEqual(inside.shape, (4, 4, 3))
        np.testing.assert_allclose(inside, 1, rtol=1e-6)
        corner = detector.crop(image, (0, 0, 8, 8))  # context beyond the image: the mean
        np.testing.assert_allclose(corner[0, 0], [0.5, 0.25, 0], rtol=1e-5)
        np.testing.assert_allclose(corner[-1, -1], 1, rtol=1e-6)


if __name__ == "__main__":
    main()
