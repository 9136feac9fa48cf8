#!/usr/bin/env python3
"""Draws a small labelled image set: PNG files of 48 x 48 pixels in folders, with
lists and label names.  Needs nothing but Python.

  make_shapes.py FOLDER [first|second]

`first`: circle, square, triangle, cross; `second`: ring, diamond, frame, bars.
The same call draws the same images."""
import pathlib
import random
import struct
import sys
import zlib

SIDE = 48
PER_CLASS = {"train": 250, "test": 25}
SETS = {
    "first": {
        "circle": lambda x, y: x * x + y * y < 1,
        "square": lambda x, y: max(abs(x), abs(y)) < 0.85,
        "triangle": lambda x, y: -0.8 < y < 0.9 and abs(x) < (y + 0.8) / 1.7,
        "cross": lambda x, y: min(abs(x), abs(y)) < 0.3 and max(abs(x), abs(y)) < 1,
    },
    "second": {
        "ring": lambda x, y: 0.4 < x * x + y * y < 1,
        "diamond": lambda x, y: abs(x) + abs(y) < 1,
        "frame": lambda x, y: 0.5 < max(abs(x), abs(y)) < 0.9,
        "bars": lambda x, y: abs(y) < 0.9 and 0.3 < abs(x) < 0.8,
    },
}


def write_png(path, rows):
    """RGB rows of bytes."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data +
                struct.pack(">I", zlib.crc32(kind + data)))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    pixels = b"".join(b"\0" + row for row in rows)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) +
                     chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b""))


def draw(rng, inside):
    radius = rng.uniform(9, 18)
    center_x, center_y = (rng.uniform(radius, SIDE - radius) for _ in range(2))
    paper = [rng.randrange(256) for _ in range(3)]
    ink = [(value + rng.randrange(80, 176)) % 256 for value in paper]
    rows = []
    for y in range(SIDE):
        row = bytearray(rng.randbytes(3 * SIDE))  # noise, of which some shines through
        for x in range(SIDE):
            color = ink if inside((x - center_x) / radius, (y - center_y) / radius) else paper
            for c in range(3):
                row[3 * x + c] = (9 * color[c] + row[3 * x + c]) // 10
        rows.append(bytes(row))
    return rows


def main():
    if len(sys.argv) not in (2, 3) or (len(sys.argv) == 3 and sys.argv[2] not in SETS):
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    shapes = SETS[sys.argv[2] if len(sys.argv) == 3 else "first"]
    rng = random.Random(1)
    for part, count in PER_CLASS.items():
        lines = []
        for label, (name, inside) in enumerate(shapes.items()):
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                path = f"{part}/{name}/{i:03d}.png"
                write_png(folder / path, draw(rng, inside))
                lines.append(f"{path} {label}\n")
        (folder / f"{part}.txt").write_text("".join(lines))
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in shapes))


if __name__ == "__main__":
    main()
