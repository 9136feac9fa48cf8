#!/usr/bin/python3
"""Resizes images so that the short side has the length asked for, and crops the
centre: squares, as ImageNet's nets are trained on. On several processes."""
import argparse
import concurrent.futures
import os
import sys

from PIL import Image


def resize_and_crop(source, target, side):
    """One image, written whole or not at all; None, or what went wrong."""
    try:
        with Image.open(source) as image:
            image = image.convert("RGB")
            scale = side / min(image.size)
            size = [max(side, round(extent * scale)) for extent in image.size]
            left, top = ((extent - side) // 2 for extent in size)
            square = image.resize(size, Image.BILINEAR).crop((left, top, left + side, top + side))
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        unfinished = f"{target}.{os.getpid()}.part"
        square.save(unfinished, format="PNG" if target.lower().endswith("png") else "JPEG",
                    quality=95)
        os.replace(unfinished, target)
        return None
    except OSError as error:
        return f"{source}: {error}"


def list_images(folder, listing):
    """Paths below `folder`: those that a list names (first word a line), or all."""
    if listing:
        with open(listing) as file:
            return [line.split()[0] for line in file if line.strip()]
    endings = (".jpg", ".jpeg", ".png", ".bmp")
    return sorted(os.path.relpath(os.path.join(here, name), folder)
                  for here, _, names in os.walk(folder) for name in names
                  if name.lower().endswith(endings))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input_folder", required=True)
    parser.add_argument("--output_folder", required=True)
    parser.add_argument("--input", help="list of paths below input_folder; default: all")
    parser.add_argument("--output_side_length", type=int, default=256)
    parser.add_argument("--num_clients", type=int, default=os.cpu_count(), help="processes")
    arguments = parser.parse_args(argv)
    if arguments.output_side_length < 1:
        parser.error("--output_side_length must be > 0")
    names = list_images(arguments.input_folder, arguments.input)
    if not names:
        raise ValueError(f"{arguments.input or arguments.input_folder}: holds no images")
    with concurrent.futures.ProcessPoolExecutor(max(1, arguments.num_clients)) as pool:
        failed = [message for message in pool.map(
            resize_and_crop, [os.path.join(arguments.input_folder, name) for name in names],
            [os.path.join(arguments.output_folder, name) for name in names],
            [arguments.output_side_length] * len(names), chunksize=16) if message]
    print(f"{len(names) - len(failed)} of {len(names)} images resized")
    if failed:
        raise ValueError(f"{len(failed)} images failed, the first: {failed[0]}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"resize_and_crop_images.py: {error}")
