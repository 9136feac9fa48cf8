"""Decoded and resized pixels are OpenCV's, byte by byte: Caffe's models were
trained on what imread and resize gave."""
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "testing"))
from programs import BUILD, ProgramTest, data_dir, main  # noqa: E402

import cv2  # noqa: E402
import numpy  # noqa: E402

MODES = {"stored": cv2.IMREAD_ANYCOLOR, "color": cv2.IMREAD_COLOR,
         "gray": cv2.IMREAD_GRAYSCALE}
SIZES = [(1, 1), (7, 300), (64, 48), (96, 128), (100, 37), (192, 256), (227, 227),
         (255, 511), (384, 512), (191, 255)]


class Images(ProgramTest):
    def dump(self, jobs):
        """jobs: (path, mode, height, width). Gives arrays, or the error's text."""
        lines = "".join(f"{path} {mode} {h} {w}\n" for path, mode, h, w in jobs)
        out = subprocess.run([BUILD / "tests/bin/image_dump"], input=lines.encode(),
                             capture_output=True, check=True, timeout=120).stdout
        answers = []
        for _ in jobs:
            line, out = out.split(b"\n", 1)
            if line.startswith(b"error"):
                answers.append(line.decode())
                continue
            channels, height, width = map(int, line.split())
            size = channels * height * width
            answers.append(numpy.frombuffer(out[:size], numpy.uint8)
                           .reshape(height, width, channels).squeeze())
            out = out[size:]
        return answers

    def check(self, jobs):
        for (path, mode, height, width), ours in zip(jobs, self.dump(jobs)):
            theirs = cv2.imread(str(path), MODES[mode] | cv2.IMREAD_IGNORE_ORIENTATION)
            if height:
                theirs = cv2.resize(theirs, (width, height))
            self.assertNotIsInstance(ours, str, ours)
            numpy.testing.assert_array_equal(ours, theirs.squeeze(),
                                             f"{path} {mode} {height} x {width}")

    def photograph(self, height=192, width=256):
        rng = numpy.random.default_rng(1)
        y, x = numpy.mgrid[0:height, 0:width]
        waves = [128 + 90 * numpy.sin(x / (7 + c) + y / (11 - c)) for c in range(3)]
        image = numpy.stack(waves, 2) + rng.normal(0, 12, (height, width, 3))
        return image.clip(0, 255).astype(numpy.uint8)

    def test_jpeg(self):
        image = self.photograph(177, 203)
        jobs = []
        for name, pixels, options in [
                ("base.jpg", image, []),
                ("q40.jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40]),
                ("progressive.jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
                ("restarts.jpg", image, [cv2.IMWRITE_JPEG_RST_INTERVAL, 3]),
                ("optimal.jpg", image, [cv2.IMWRITE_JPEG_OPTIMIZE, 1]),
                ("gray.jpg", image[:, :, 0], [])]:
            cv2.imwrite(str(self.work / name), pixels, options)
            jobs += [(self.work / name, mode, 0, 0) for mode in MODES]
        self.check(jobs)

    def test_png(self):
        image = self.photograph(61, 45)
        alpha = numpy.dstack([image, image[:, :, 1]])
        jobs = []
        for name, pixels in [("color.png", image), ("gray.png", image[:, :, 0]),
                             ("alpha.png", alpha),
                             ("deep.png", image.astype(numpy.uint16) * 257 - 100),
                             ("bilevel.png", (image[:, :, 0] > 128) * numpy.uint8(255))]:
            options = [cv2.IMWRITE_PNG_BILEVEL, 1] if name == "bilevel.png" else []
            cv2.imwrite(str(self.work / name), pixels, options)
            jobs += [(self.work / name, mode, 0, 0) for mode in MODES]
        self.check(jobs)

    def test_resize(self):
        image = self.photograph()
        jobs = []
        for name, pixels in [("a.png", image), ("b.png", image[:, :, 0]),
                             ("c.png", image[:1]), ("d.png", image[:, :1]),
                             ("e.png", image[:191, :255])]:
            cv2.imwrite(str(self.work / name), pixels)
            jobs += [(self.work / name, "stored", *size) for size in SIZES]
        self.check(jobs)

    def test_real_images(self):
        folder = data_dir()
        if folder is None:
            self.skip("no test data ($CSSP_TEST_DATA)")
        cat = folder / "images/cat.jpg"
        self.check([(cat, mode, *size) for mode in MODES
                    for size in [(0, 0), (227, 227), (256, 256), (720, 960)]])

    def test_truncated_and_foreign_files(self):
        image = self.photograph(64, 64)
        whole = self.work / "whole.jpg"
        cv2.imwrite(str(whole), image)
        cut = self.work / "cut.jpg"
        cut.write_bytes(whole.read_bytes()[:-700])
        gif = self.work / "x.gif"
        gif.write_bytes(b"GIF89a" + bytes(20))
        answers = self.dump([(cut, "color", 0, 0), (gif, "color", 0, 0)])
        self.assertIn("damaged JPEG", answers[0])
        self.assertIn("neither a JPEG nor a PNG", answers[1])


if __name__ == "__main__":
    main()
