"""Mosaics: photographs made of several, in which objects are smaller than in any one of them, and several at once.

Annotated photographs are often portraits: one large object in the middle. What is trained on them alone takes size and
middle for signs of the object. A mosaic cuts a canvas into cells, each of which shows a part of one photograph,
reduced; with it go the objects that are in view.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from foveate.runtime.progress import Progress, Quiet
from foveate.runtime.random import key
from foveate.scenes import gaze
from foveate.scenes.pyramid import Store
from foveate.training.gallery import NONE, Gallery, Shown, make
from foveate.training.labels import Objects
from foveate.training.settings import MosaicSettings

Cell = tuple[int, int, int, int]
"""A rectangle (x0, y0, x1, y1) of a picture, pixels."""
Frame = tuple[float, float, float]
"""Which part of a photograph a cell shows: (x0, y0) in its pixels, and cell pixels per pixel."""

WHOLE, GONE = 0.9, 0.05  # shares of an object's square in view: an object from the first, nothing below the second


def mosaics(
    gallery: Gallery,
    images: Sequence[int],
    count: int,
    seed: int,
    settings: MosaicSettings | None = None,
    progress: Progress | None = None,
    store: Store | None = None,
) -> Gallery:
    """`count` mosaics of some of a gallery's scenes; mosaic k depends on the seed, k and the scenes alone. Objects
    that a cell's edge cuts are ignored regions, as are those that were ignored."""

    def mosaic(k: int) -> Shown:
        rng = np.random.default_rng(key(seed, "mosaic", k))
        return _mosaic(f"mosaic {k}", gallery, images, rng, settings or MosaicSettings())

    return make("mosaics", range(count), mosaic, progress or Quiet(), store)


def _mosaic(
    name: str, gallery: Gallery, images: Sequence[int], rng: np.random.Generator, settings: MosaicSettings
) -> Shown:
    shape = (settings.long, settings.short) if rng.random() < 0.5 else (settings.short, settings.long)
    canvas = np.zeros((shape[1], shape[0], 3), np.uint8)
    objects, ignore, periods = [NONE], [NONE], []
    for cell in cells((0, 0, *shape), rng, settings.least, settings.stop):
        image = images[int(rng.integers(len(images)))]
        frame = _window(gallery, image, cell, rng, settings)
        x0, y0, x1, y1 = cell
        canvas[y0:y1, x0:x1] = _shown(gallery, image, cell, frame)
        carried, cut = _carried(gallery, image, cell, frame)
        objects.append(carried.gaze)
        periods += carried.periods().tolist()
        ignore.append(cut)
    return Shown(name, canvas, torch.cat(objects), torch.cat(ignore), periods)


def cells(cell: Cell, rng: np.random.Generator, least: int, stop: float, first: float | None = None) -> list[Cell]:
    """Cuts a rectangle across its longer side, and each part again, until chance or the least side stops it.

    The whole is left as it is with the probability `first`, or never; each part with the probability `stop`.
    """
    x0, y0, x1, y1 = cell
    longer = max(x1 - x0, y1 - y0)
    if longer < 2 * least or (first is not None and rng.random() < first):
        return [cell]
    at = int(rng.integers(least, longer - least + 1))
    wide = x1 - x0 >= y1 - y0
    one = (x0, y0, x0 + at, y1) if wide else (x0, y0, x1, y0 + at)
    other = (x0 + at, y0, x1, y1) if wide else (x0, y0 + at, x1, y1)
    return cells(one, rng, least, stop, stop) + cells(other, rng, least, stop, stop)


def _window(gallery: Gallery, image: int, cell: Cell, rng: np.random.Generator, settings: MosaicSettings) -> Frame:
    width, height = int(gallery.pyramids.width[image, 0]), int(gallery.pyramids.height[image, 0])
    w, h = cell[2] - cell[0], cell[3] - cell[1]
    least = max(w / width, h / height)
    most = max(min(settings.smaller * least, settings.enlarged), least)
    factor = least * (most / least) ** rng.random()
    low, high = np.zeros(2), np.array([width - w / factor, height - h / factor]).clip(0)
    objects = gallery.of(image).numpy()
    if len(objects) and rng.random() < settings.in_view:
        u = objects[rng.integers(len(objects))]
        s = np.hypot(u[0], u[1])
        low = np.clip(u[2:] + s - np.array([w, h]) / factor, low, high)
        high = np.maximum(np.clip(u[2:] - s, 0, high), low)
    x0, y0 = low + (high - low) * rng.random(2)
    return float(x0), float(y0), factor


def _shown(gallery: Gallery, image: int, cell: Cell, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
    x0, y0, factor = frame
    w, h = cell[2] - cell[0], cell[3] - cell[1]
    pixels = (gallery.pyramids.level(image, 0) >> 8).astype(np.uint8)
    right, bottom = min(x0 + w / factor, pixels.shape[1]), min(y0 + h / factor, pixels.shape[0])
    return np.asarray(Image.fromarray(pixels).resize((w, h), Image.Resampling.BILINEAR, (x0, y0, right, bottom)))


def _carried(gallery: Gallery, image: int, cell: Cell, frame: Frame) -> tuple[Objects, Float[Tensor, "regions 4"]]:
    """Objects in view, in pixels of the mosaic, and regions that are neither object nor background."""
    x0, y0, factor = frame
    corner = torch.tensor([cell[0] - x0 * factor, cell[1] - y0 * factor], dtype=torch.float64)
    edge = torch.tensor(cell, dtype=torch.float64)
    objects = gallery.subset([image])
    gazes = objects.gaze * factor
    gazes[:, 2:] += corner
    boxes, regions = gaze.to_boxes(gazes), gallery.ignore[image] * factor + corner.repeat(2)
    share, seen = (gaze.intersection(each, edge) / gaze.area(each).clamp(min=1e-9) for each in (boxes, regions))
    cut = torch.cat((regions[seen > 0], boxes[(share > GONE) & (share < WHOLE)]))
    cut = torch.cat((torch.maximum(cut[:, :2], edge[:2]), torch.minimum(cut[:, 2:], edge[2:])), 1)
    return objects._replace(gaze=gazes).take(share >= WHOLE), cut
