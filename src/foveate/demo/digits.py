"""Made scenes to try everything on: real handwriting on real photographs, and where it is.

Scikit-learn's digits (8x8 cells, 1,797 of them) in a random light colour, 20 to 160 pixels large, up to 30 degrees
turned, on crops of the photographs that scikit-image bundles, with scraps of other digits as clutter. Scene i of a kind
depends on (seed, split, classes, i) alone, however many are made. Digits and parts of photographs that training scenes
use are never in test scenes.
"""

import functools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from foveate.demo.photographs import crop, luminance
from foveate.demo.strokes import FRAME, draw, light_colour
from foveate.errors import BadInput
from foveate.runtime.random import numpy_generator
from foveate.runtime.workers import map_images
from foveate.storage.files import write_json

KNOWN = (0, 1, 2, 3, 4)
NEW = (5, 6, 7, 8, 9)

CANONICAL = {"digit_top_left": (-FRAME, -FRAME), "digit_top_right": (FRAME, -FRAME), "digit_bottom": (0.0, FRAME)}
"""Where the annotated keypoints lie in a digit's canonical window: on the outline of its 8x8 cells."""

DEMO_SPLITS = {
    "train": (KNOWN, "train"),
    "new": (NEW, "train"),
    "test-known": (KNOWN, "test"),
    "test-new": (NEW, "test"),
}
"""The demo's folders: the classes and which half of handwriting and photographs."""

_SIDES = (224, 320)  # of a scene, pixels
_SIZES = (20.0, 160.0)  # of a digit's 8x8 cells
_MAX_ANGLE = math.radians(30)
_CONTRAST = 0.4  # least difference of luminance between a digit and most of its ground
_NOISE = 0.01  # standard deviation of the camera
_FIRST_TEST_DIGIT = 1347  # the last quarter, written by other people


@dataclass(frozen=True)
class DigitScene:
    """A made scene."""

    pixels: UInt8[np.ndarray, "height width 3"]  # the picture, uint8
    gazes: Float[np.ndarray, "objects 4"]  # of every digit
    digits: Int[np.ndarray, "objects"]  # what they are, 0 to 9
    samples: Int[np.ndarray, "objects"]  # which rows of `handwriting` they are


@functools.cache
def handwriting() -> tuple[Float[np.ndarray, "n 8 8"], Int[np.ndarray, "n"]]:
    """Scikit-learn's digits: ink in [0, 1], and which digit it is."""
    from sklearn.datasets import load_digits

    cells, labels = load_digits(return_X_y=True)
    return np.asarray(cells).reshape(-1, 8, 8) / 16.0, np.asarray(labels)


def pool(classes: Sequence[int], split: str) -> Int[np.ndarray, "n"]:
    """Which of the digits a split may use; train and test have none in common."""
    if split not in ("train", "test"):
        raise BadInput(f"split {split!r}: expected train or test")
    _, labels = handwriting()
    rows = np.arange(len(labels))
    half = rows < _FIRST_TEST_DIGIT if split == "train" else rows >= _FIRST_TEST_DIGIT
    return rows[half & np.isin(labels, classes)]


def make_scene(classes: Sequence[int], seed: int, index: int, split: str = "train", objects: int = 1) -> DigitScene:
    """Scene `index` of the endless sequence of (seed, split, classes)."""
    rng = numpy_generator(seed, "digit scene", split, ",".join(map(str, classes)), index)
    height, width = (int(side) for side in rng.integers(_SIDES[0], _SIDES[1] + 1, size=2))
    ink, labels = handwriting()
    own, anything = pool(classes, split), pool(range(10), split)
    gazes = _places(rng, objects, height, width)
    colours = [light_colour(rng, 0.7, 0.95) for _ in gazes]
    picture = crop(rng, height, width, test=split == "test") * rng.uniform(0.6, 1.0)
    picture = (picture * _exposure(picture, gazes, colours)).astype(np.float32)
    for _ in range(rng.integers(4, 11)):
        scrap, u = _scrap(rng, ink[rng.choice(anything)], gazes, height, width)
        if u is not None:
            draw(picture, scrap, u, light_colour(rng, 0.2, 0.95))
    chosen = np.array([rng.choice(own[labels[own] == rng.choice(classes)]) for _ in gazes], dtype=np.int64)
    for which, u, colour in zip(chosen, gazes, colours, strict=True):
        draw(picture, ink[which], u, colour)
    picture += _NOISE * rng.standard_normal(picture.shape, dtype=np.float32)
    pixels = np.rint(picture.clip(0, 1) * 255).astype(np.uint8)
    return DigitScene(pixels, np.array(gazes).reshape(-1, 4), labels[chosen].astype(np.int64), chosen)


def write_digit_scenes(
    folder: str | os.PathLike,
    classes: Sequence[int],
    count: int,
    seed: int,
    split: str = "train",
    start: int = 0,
    objects: int = 1,
    tick: Callable[[int], None] | None = None,
) -> None:
    """Writes scenes start to start + count as a SCENES folder: images/ and, last, annotations.json (COCO keypoints)."""
    if count < 1 or not classes or not set(classes) <= set(range(10)):
        raise BadInput(f"{count} scenes of the digits {list(classes)}: at least one of each is needed, from 0 to 9")
    images, annotations = [], []
    folder = Path(folder)

    def saved(index: int) -> tuple[DigitScene, str]:
        scene, name = make_scene(classes, seed, index, split, objects), f"{index:05d}.jpg"
        Image.fromarray(scene.pixels).save(folder / "images" / name, quality=95, subsampling=0)
        return scene, name

    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        made = map_images(saved, range(start, start + count))
        for done, (index, (scene, name)) in enumerate(zip(range(start, start + count), made, strict=True), start=1):
            height, width = scene.pixels.shape[:2]
            images.append({"id": index, "file_name": name, "width": width, "height": height})
            for u, digit in zip(scene.gazes, scene.digits, strict=True):
                annotations.append({"id": len(annotations) + 1, "image_id": index, **_annotation(u, int(digit))})
            if tick is not None:
                tick(done)
    except OSError as error:
        raise BadInput(f"{folder}: {error.strerror or error}") from None
    description = f"digits {', '.join(map(str, classes))} on photographs: made scenes, seed {seed}, {split}"
    category = {"id": 1, "name": "digit", "keypoints": list(CANONICAL), "skeleton": []}
    info = {"description": description, "canonical": {name: list(point) for name, point in CANONICAL.items()}}
    document = {"info": info, "images": images, "annotations": annotations, "categories": [category]}
    write_json(folder / "annotations.json", document)


def _annotation(u: Float[np.ndarray, "4"], digit: int) -> dict:
    a, b, tx, ty = (float(value) for value in u)
    half_side = math.hypot(a, b)
    keypoints = []
    for x, y in CANONICAL.values():
        keypoints += [round(a * x - b * y + tx, 3), round(b * x + a * y + ty, 3), 2]
    box = [round(value, 3) for value in (tx - half_side, ty - half_side, 2 * half_side, 2 * half_side)]
    return {
        "category_id": 1, "iscrowd": 0, "bbox": box, "area": round(box[2] * box[3], 3),
        "keypoints": keypoints, "num_keypoints": 3, "digit": digit,
    }  # fmt: skip


def _places(rng: np.random.Generator, count: int, height: int, width: int) -> list[Float[np.ndarray, "4"]]:
    """Gazes of digits that lie wholly in the picture and apart from each other; fewer than `count` if there is no
    room."""
    gazes: list[np.ndarray] = []
    for _ in range(50 * count):
        if len(gazes) == count:
            break
        size = math.exp(rng.uniform(*np.log(_SIZES)))
        angle = rng.uniform(-_MAX_ANGLE, _MAX_ANGLE)
        half = size / 2 * (abs(math.cos(angle)) + abs(math.sin(angle)))
        x, y = rng.uniform(half, width - half), rng.uniform(half, height - half)
        scale = size / 2 / FRAME
        if all(math.hypot(x - u[2], y - u[3]) > 1.1 * (scale + math.hypot(u[0], u[1])) for u in gazes):
            gazes.append(np.array([scale * math.cos(angle), scale * math.sin(angle), x, y]))
    return gazes


def _exposure(picture: np.ndarray, gazes: list[np.ndarray], colours: list[np.ndarray]) -> float:
    """The factor, at most 1, that makes the grounds of all digits darker than them: one for the whole picture."""
    factor = 1.0
    for u, colour in zip(gazes, colours, strict=True):
        reach = math.hypot(u[0], u[1])
        rows = slice(max(0, int(u[3] - reach)), int(u[3] + reach) + 1)
        columns = slice(max(0, int(u[2] - reach)), int(u[2] + reach) + 1)
        bright = float(np.quantile(luminance(picture[rows, columns]), 0.9))
        factor = min(factor, (float(luminance(colour)) - _CONTRAST) / max(bright, 1e-3))
    return factor


def _scrap(
    rng: np.random.Generator, ink: np.ndarray, gazes: list[np.ndarray], height: int, width: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """A piece of 3 to 5 by 3 to 5 of a digit's cells, and a gaze that puts it clear of all digits (None without
    room)."""
    rows, columns = rng.integers(3, 6, size=2)
    top, left = rng.integers(0, 9 - rows), rng.integers(0, 9 - columns)
    piece = np.zeros_like(ink)
    at_row, at_column = (8 - rows) // 2, (8 - columns) // 2
    piece[at_row : at_row + rows, at_column : at_column + columns] = ink[top : top + rows, left : left + columns]
    scale = math.exp(rng.uniform(*np.log(_SIZES))) / 2 / FRAME
    reach = FRAME * scale * math.hypot(rows, columns) / 8
    for _ in range(20):
        angle, x, y = rng.uniform(-math.pi, math.pi), rng.uniform(0, width), rng.uniform(0, height)
        if all(math.hypot(x - u[2], y - u[3]) > reach + 0.95 * math.hypot(u[0], u[1]) for u in gazes):
            return piece, np.array([scale * math.cos(angle), scale * math.sin(angle), x, y])
    return piece, None
