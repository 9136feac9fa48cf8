"""How many images a second an ImageData layer reads, decodes, resizes and crops, by threads.

    CSSP_BUILD_DIR=build tests/bench/decode/decode_bench.py [ROUNDS]

JPEGs of 500 x 375 as ImageNet's are, resized to 256 x 256, cropped to 227, mirrored; nothing
else is in the net.  Threads take turns in every round; medians."""
import os
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[3]
os.environ.setdefault("GLOG_minloglevel", "2")
sys.path.insert(0, str(pathlib.Path(os.environ.get("CSSP_BUILD_DIR", ROOT / "build")) / "python"))
import caffe  # noqa: E402

THREADS = (1, 2, 4)
IMAGES, BATCH, BATCHES = 192, 32, 12

NET = """
layer {{ name: "data" type: "ImageData" top: "data" top: "label"
  image_data_param {{ source: "{list}" batch_size: {batch} new_height: 256 new_width: 256 }}
  transform_param {{ crop_size: 227 mirror: true mean_value: 110 }} }}
layer {{ name: "end" type: "Silence" bottom: "data" bottom: "label" }}
"""


def make_images(folder):
    """Smooth noise, which compresses as photographs do (some 60 kB each)."""
    rng = np.random.default_rng(1)
    lines = []
    for i in range(IMAGES):
        coarse = Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
        photo = np.asarray(coarse.resize((500, 375), Image.BICUBIC), np.int16)
        noise = rng.normal(0, 9, photo.shape)
        path = folder / f"{i}.jpg"
        Image.fromarray(np.clip(photo + noise, 0, 255).astype(np.uint8)).save(path, quality=92)
        lines.append(f"{path} {i % 10}\n")
    (folder / "list.txt").write_text("".join(lines))
    return sum(f.stat().st_size for f in folder.glob("*.jpg")) / IMAGES


def images_per_second(net):
    net.forward()  # the threads start
    begin = time.perf_counter()
    for _ in range(BATCHES):
        net.forward()
    return BATCH * BATCHES / (time.perf_counter() - begin)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as temp:
        folder = pathlib.Path(temp)
        size = make_images(folder)
        prototxt = folder / "net.prototxt"
        prototxt.write_text(NET.format(list=folder / "list.txt", batch=BATCH))
        rates = {threads: [] for threads in THREADS}
        for _ in range(rounds):
            for threads in THREADS:
                caffe.set_num_threads(threads)
                rates[threads].append(images_per_second(caffe.Net(str(prototxt), caffe.TRAIN)))
    print(f"{IMAGES} JPEGs of {size / 1000:.0f} kB, {os.cpu_count()} cores, "
          f"load {os.getloadavg()[0]:.1f}")
    one = statistics.median(rates[1])
    for threads in THREADS:
        median = statistics.median(rates[threads])
        print(f"{threads} threads: {median:6.0f} images/s, {median / one:.2f} of one thread's")


if __name__ == "__main__":
    main()
