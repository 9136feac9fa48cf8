"""Models beyond the 2 GiB at which a .caffemodel ends: HDF5, really written and read."""
import os
import unittest

import numpy as np

from support import PycaffeTest, caffe, main

OUTPUTS, INPUTS = 2048, 280000  # 2.3 GB of weights, more than 2^29 of them
NET = f"""
name: "large"
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: {INPUTS} }} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param {{ num_output: {OUTPUTS} bias_term: false }} }}
"""
NEEDED = 12 << 30  # bytes: the net's weights, and copies on their way to the file and back


def available():
    with open("/proc/meminfo", encoding="ascii") as info:
        return next(int(line.split()[1]) << 10 for line in info if line.startswith("MemAvailable"))


class LargeFiles(PycaffeTest):
    @unittest.skipIf(available() < NEEDED, "needs 12 GiB of free memory")
    def test_weights_beyond_two_gigabytes(self):
        net = self.net(NET, caffe.TEST)
        weights = net.params["ip"][0].data
        weights[:, 0] = np.arange(OUTPUTS)
        weights[:, -1] = -np.arange(OUTPUTS)
        flat = weights.reshape(-1)
        flat[(1 << 29) - 3:(1 << 29) + 3] = [1, 2, 3, 4, 5, 6]
        expected = weights[:, ::997].copy()
        path = os.path.join(self.work, "large.caffemodel.h5")
        net.save_hdf5(path)
        self.assertGreater(os.path.getsize(path), 1 << 31)
        with self.assertRaises(caffe.Error) as caught:
            net.save(os.path.join(self.work, "large.caffemodel"))
        self.assertIn("HDF5", str(caught.exception))
        weights[...] = 9
        net.copy_from(path)
        np.testing.assert_array_equal(weights[:, ::997], expected)
        self.assertTrue((weights[:, -1] == -np.arange(OUTPUTS)).all())
        self.assertEqual(list(flat[(1 << 29) - 3:(1 << 29) + 3]), [1, 2, 3, 4, 5, 6])


if __name__ == "__main__":
    main()
