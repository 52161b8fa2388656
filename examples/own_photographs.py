"""Attention on your own images: each with the gazes found in it, and the aligned crops of the best three.

    python examples/own_photographs.py [RUN FOLDER [PICTURE.png]]

Without a RUN and a folder it uses those that `make demo` has made. The figure shows at most twelve images.
"""

import sys
from pathlib import Path

from PIL import Image, ImageOps

import foveate
from foveate.scenes.listing import scan

SHOWN, ACROSS, PHOTO, CROP, GAP = 12, 3, 360, 112, 12


def cell(image, gazes) -> Image.Image:
    """An image with its gazes, and the crops of the best three."""
    picture = Image.new("RGB", (PHOTO + CROP + 2 * GAP, PHOTO + GAP), "white")
    picture.paste(ImageOps.pad(foveate.plot(image, gazes), (PHOTO, PHOTO), color="#eeeeee"))
    for place, gaze in enumerate(gazes[:3]):
        picture.paste(gaze.crop(image, CROP), (PHOTO + GAP, place * (CROP + GAP)))
    return picture


def describe(gaze) -> str:
    """Position, size, angle and probability of a gaze, as text."""
    x, y = gaze.u[2:]
    where = f"at ({x:.0f}, {y:.0f}), {2 * gaze.scale:.0f} pixels wide, angle {gaze.angle:.0f} degrees"
    return f"{where}, P {gaze.probability:.2f}"


def main(run: str = "demo/run", folder: str = "demo/scenes/test-known", out: str = "own_photographs.png") -> None:
    """Attends, prints, plots."""
    if not Path(run).is_dir():
        sys.exit(f"no {run} here: run `make demo` first, or name a RUN and a folder of photographs")
    attention = foveate.load(run)
    names, paths = zip(*list(scan(folder).images)[:SHOWN], strict=True)
    found = attention.attend(paths)
    cells = [cell(path, gazes) for path, gazes in zip(paths, found, strict=True)]
    width, height = cells[0].size
    sheet = Image.new("RGB", (ACROSS * width, -(-len(cells) // ACROSS) * height), "white")
    for place, picture in enumerate(cells):
        sheet.paste(picture, (place % ACROSS * width, place // ACROSS * height))
    sheet.save(out)
    for name, gazes in zip(names, found, strict=True):
        print(f"{name}: {describe(gazes[0]) if gazes else 'nothing found'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
