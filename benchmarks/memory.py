"""Resident memory of `attend`: flat in the number of images, bounded for the largest, and reading beside looking.

Claims:
- 20,000 small images take no more memory than 2,000 (within 20 MB): with a model that looks at nothing, since what
  grows or not is what surrounds it; a few with the real one.
- A JPEG of 100 megapixels takes no more than one of a megapixel and a half does, plus its reduced pixels: it is never
  decoded in full. In tiles, it is decoded once, and takes its pixels and what Pillow needs beside them.
- While one image is decoded another is looked at: with two cores, a batch takes hardly longer than the longer of
  decoding all and looking at all.

Each case is a process of its own, since what a process has freed is not told from what it needs.

    python benchmarks/memory.py [--images 20000] [--megapixels 100] [--run RUN]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from peak import peak_memory
from PIL import Image

from foveate.attention.attend import Attention, Seen
from foveate.attention.images.image_files import attend_images
from foveate.attention.settings import AttendSettings
from foveate.runtime.progress import Quiet


class Nothing(Attention):
    """Attention that finds nothing, after a moment in which it keeps a core busy without the interpreter's lock."""

    def __init__(self, seconds: float = 0.0):
        self.seconds = seconds

    def see(self, image, name, settings):
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            time.sleep(0)
        return Seen([], [], torch.zeros(0, 4, dtype=torch.float64), np.zeros(0))


def resident() -> float:
    """Resident memory now, MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def attend(model, paths, tiles: bool = False, at: int = 0) -> float:
    """Attend to files; resident memory after `at` of them."""
    early = 0.0
    with Quiet().phase("attend") as tick:
        images = [(f"{number}", path) for number, path in enumerate(paths)]
        for number, attended in enumerate(attend_images(model, images, AttendSettings(), tick, tiles=tiles), start=1):
            assert attended.error is None, attended.error
            attended.line()
            if number == at:
                early = resident()
    return early


def many(folder: Path, count: int) -> None:
    """Small images, one file under many names."""
    path = folder / "small.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
    at = max(count // 10, 1)
    early = attend(Nothing(), [str(path)] * count, at=at)
    print(f"{early:.0f} MB after {at:,} images, {resident():.0f} MB after {count:,}: {resident() - early:+.1f} MB")


def large(folder: Path, megapixels: float, tiles: bool, model) -> None:
    """One large JPEG."""
    path, before = str(folder / f"{megapixels:g}.jpg"), peak_memory()
    attend(model, [path], tiles=tiles)
    more = (peak_memory() - before) / 1e6
    print(f"{megapixels:g} megapixels{' in tiles' if tiles else ''}: {more:.0f} MB more than before it")


def both_at_once(folder: Path, megapixels: float) -> None:
    """Decoding beside looking."""
    path = str(folder / f"{megapixels:g}.jpg")
    begun = time.perf_counter()
    attend(Nothing(), [path])
    each = time.perf_counter() - begun
    begun = time.perf_counter()
    attend(Nothing(each), [path] * 6)
    print(f"6 images, {each:.2f} s to decode and {each:.2f} s to look at each: {time.perf_counter() - begun:.2f} s")


def write_large(path: Path, megapixels: float) -> None:
    """A JPEG of many pixels, written strip by strip of one pattern so that it needs little memory here."""
    side = round((megapixels * 1e6) ** 0.5 / 64) * 64
    pattern = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).resize((512, 512))
    canvas = Image.new("RGB", (side, side))
    for y in range(0, side, 512):
        for x in range(0, side, 512):
            canvas.paste(pattern, (x, y))
    canvas.save(path, quality=80)


def case(folder: Path, options: argparse.Namespace) -> None:
    """One measurement, in this process."""
    name = options.case
    if name == "many":
        many(folder, options.images)
    elif name == "real":
        large(folder, 1.5, False, Attention.load(options.run))
    elif name == "both":
        both_at_once(folder, options.megapixels)
    else:
        large(folder, 1.5 if name == "plain" else options.megapixels, name == "tiles", Nothing())


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--images", type=int, default=20_000)
    asked.add_argument("--megapixels", type=float, default=100)
    asked.add_argument("--run", type=Path, help="a RUN to look with; one that has learned nothing by default")
    asked.add_argument("--quick", action="store_true", help="few images, and a smaller large one")
    asked.add_argument("--case", help=argparse.SUPPRESS)
    asked.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.quick:
        options.images, options.megapixels = 2_000, 25
    if options.case:
        return case(options.folder, options)
    from untrained import write_untrained

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = options.run or write_untrained(folder / "run")
        for megapixels in (1.5, options.megapixels):
            write_large(folder / f"{megapixels:g}.jpg", megapixels)
        for each in ("many", "plain", "large", "tiles", "real", "both"):
            words = ["--case", each, "--folder", folder, "--run", run, "--images", options.images]
            command = [sys.executable, __file__, *map(str, words), "--megapixels", str(options.megapixels)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
