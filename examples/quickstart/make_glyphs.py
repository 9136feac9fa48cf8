#!/usr/bin/python3
"""Makes a labelled image set in CIFAR-10's binary form: the digits 0 to 9,
rendered under random affine maps, colours, gradients and noise, 32x32x3.

usage: make_glyphs.py OUTPUT_DIR [TRAIN [TEST [SEED]]]
The same arguments give the same bytes.
"""
import pathlib
import sys

import cv2
import numpy as np

SIZE = 32
FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX,
         cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)


def glyph_mask(rng, label):
    """One digit as coverage in [0, 1], under a random affine map."""
    canvas = np.zeros((96, 96), np.uint8)
    font = FONTS[rng.integers(len(FONTS))]
    thickness = int(rng.integers(2, 6))
    (width, height), _ = cv2.getTextSize(str(label), font, 2.2, thickness)
    cv2.putText(canvas, str(label), ((96 - width) // 2, (96 + height) // 2),
                font, 2.2, 255, thickness, cv2.LINE_AA)
    angle = np.deg2rad(rng.uniform(-30, 30))
    scale = rng.uniform(0.24, 0.42)
    shear = rng.uniform(-0.35, 0.35)
    stretch = rng.uniform(0.8, 1.25)
    rotate = np.array([[np.cos(angle), -np.sin(angle)],
                       [np.sin(angle), np.cos(angle)]])
    linear = scale * rotate @ np.array([[stretch, shear], [0, 1 / stretch]])
    centre = np.array([SIZE / 2, SIZE / 2]) + rng.uniform(-5, 5, 2)
    shift = centre - linear @ np.array([48, 48])
    return cv2.warpAffine(canvas, np.hstack([linear, shift[:, None]]),
                          (SIZE, SIZE), flags=cv2.INTER_AREA) / 255.0


def background(rng):
    """A colour gradient with a soft blob, so that edges alone tell nothing."""
    corners = rng.uniform(0, 255, (2, 2, 3)).astype(np.float32)
    field = cv2.resize(corners, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    centre, radius = rng.uniform(0, SIZE, 2), rng.uniform(3, 9)
    blob = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2)
                  / (2 * radius ** 2))
    return field + blob[..., None] * rng.uniform(-120, 120, 3)


def image(rng, label):
    mask = glyph_mask(rng, label)[..., None]
    back = background(rng)
    # Enough contrast to be legible somewhere, not everywhere.
    colour = np.clip(back.mean((0, 1)) + rng.choice([-1, 1], 3)
                     * rng.uniform(60, 160, 3), 0, 255)
    pixels = back * (1 - mask) + colour * mask
    pixels += rng.normal(0, rng.uniform(4, 22), pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def write_batch(path, rng, count):
    with open(path, "wb") as out:
        for label in rng.permutation(np.arange(count) % 10):
            out.write(bytes([int(label)]))
            out.write(image(rng, int(label)).transpose(2, 0, 1).tobytes())


def main():
    if not 2 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    train, test, seed = (int(v) for v in
                         (sys.argv[2:] + ["20000", "4000", "2015"][len(sys.argv) - 2:]))
    if train % 5:
        sys.exit("make_glyphs: TRAIN must be a multiple of 5")
    out.mkdir(parents=True, exist_ok=True)
    for batch in range(1, 6):
        write_batch(out / f"data_batch_{batch}.bin",
                    np.random.default_rng([seed, batch]), train // 5)
    write_batch(out / "test_batch.bin", np.random.default_rng([seed, 0]), test)
    (out / "batches.meta.txt").write_text("\n".join("0123456789") + "\n")


if __name__ == "__main__":
    main()
