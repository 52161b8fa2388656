"""Attention on one's own photographs: each with what was found in it, and the aligned crop of the best.

    python examples/own_photographs.py [RUN FOLDER [PICTURE.png]]

Without a RUN and a folder it takes what `make demo` has made. The picture is a sheet of at most twelve photographs.
"""

import math
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

import foveate
from foveate.attention.outputs import crop, draw_overlay
from foveate.scenes.folder import list_images, read_image

SHOWN, ACROSS, CELL = 12, 3, 360


def cell(image, gazes) -> Image.Image:
    """A photograph with its gazes, the best one's crop in the corner."""
    picture = ImageOps.pad(draw_overlay(image, gazes), (CELL, CELL), color="white", centering=(0.5, 0))
    if gazes:
        picture.paste(ImageOps.expand(crop(image, gazes[0].u, 96), 3, "white"), (CELL - 102, CELL - 102))
    else:
        ImageDraw.Draw(picture).text((8, CELL - 20), "nothing found", fill="black")
    return picture


def describe(gaze) -> str:
    """Where the gaze is, in words."""
    a, b, x, y = gaze.u
    size, angle = 2 * math.hypot(a, b), math.degrees(math.atan2(b, a))
    return f"at ({x:.0f}, {y:.0f}), {size:.0f} pixels wide, turned by {angle:.0f} degrees, P {gaze.probability:.2f}"


def main(run: str = "demo/run", folder: str = "demo/scenes/test-known", out: str = "own_photographs.png") -> None:
    """Attends, prints, draws."""
    if not Path(run).is_dir():
        sys.exit(f"no {run} here: run `make demo` first, or name a RUN and a folder of photographs")
    attention = foveate.load(run)
    names, paths = zip(*list(list_images(folder))[:SHOWN], strict=True)
    images = [read_image(path) for path in paths]
    found = attention.attend(images, list(names))
    sheet = Image.new("RGB", (ACROSS * CELL, -(-len(images) // ACROSS) * CELL), "white")
    for place, (name, image, gazes) in enumerate(zip(names, images, found, strict=True)):
        sheet.paste(cell(image, gazes), (place % ACROSS * CELL, place // ACROSS * CELL))
        print(f"{name}: {describe(gazes[0]) if gazes else 'nothing found'}")
    sheet.save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
