"""What is seen in a patch that the periphery learns from: which parts of which scenes, at what size and angle.

A patch is cut into cells, each of which shows a part of one scene at some angle: most of them an object at a size that
the network is to answer for, others a part of a scene enlarged, so that what is in it is too large. What an object's
scene doesn't cover shows another scene far from its objects. Some patches are one such cell without an object to be
found. Objects are partly covered at times.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float

from foveate.training.gallery import Gallery
from foveate.training.labels import Objects
from foveate.training.synthetic.mosaics import GONE, WHOLE, Cell, cells

SIDE = 128  # of a patch, pixels
BLOCKS = 32  # along a side, in which ignored regions are kept
LEAST_CELL = 28  # pixels
SMALL, LARGE = 5.5, 25.0  # half-sides at which objects are shown, pixels: what one level answers for and a fringe
ZOOM = (19.0, 90.0)  # half-sides of objects that are shown too large
ENLARGED = 1.5  # pixels of a patch per pixel of a scene, at most
EMPTY = 0.22  # share of patches without an object to be found
WITHOUT = 0.18  # share of the other patches' cells without
HARD = 0.5  # share of these that show a place that has been taken for an object
TINY, TINIEST = 0.08, 2.5  # share of the other cells that show an object too small, and its least half-side
SURROUNDED = 0.75  # share of objects whose scene lies on another
COVERED = 0.2  # share of objects that are partly covered
COVER = (0.15, 0.85)  # half-sides of the cover, beside the object's
TRIES = 4  # views of which the one that shows least of the outside is taken


class Shown(NamedTuple):
    """A rectangle of a patch through which one scene is seen."""

    source: int  # which of the sources the scene is from
    image: int  # its number there
    view: Float[np.ndarray, "4"]  # the gaze that carries the canonical patch to pixels of the scene
    cell: Cell  # x0, y0, x1, y1 in pixels of the patch
    clipped: bool  # whether what lies beneath shows where the scene ends


class Source:
    """Some scenes of one gallery, as patches are made of them; `hard` are places without an object that have been taken
    for one, which are shown as objects are."""

    def __init__(self, gallery: Gallery, images: Sequence[int], hard: Objects | None = None):
        self.pyramids = gallery.pyramids
        self.images = list(images)
        self.size = np.stack((gallery.pyramids.width[:, 0], gallery.pyramids.height[:, 0]), 1).astype(np.float64)
        both = torch.cat((gallery.objects.gaze, gallery.objects.periods().double()[:, None]), 1).numpy()
        of = gallery.objects.image.numpy()
        self.objects = [both[of == k] for k in range(len(gallery.names))]
        self.ignore = [each.numpy() for each in gallery.ignore]
        self.inhabited = [k for k in self.images if len(self.objects[k])]
        self.hard = [] if hard is None else list(zip(hard.image.tolist(), hard.gaze.numpy(), strict=True))


class Plan:
    """What is seen in one patch: layers, later ones over earlier ones, and where objects are; scenes are turned by
    `turn` degrees at most."""

    def __init__(self, sources: Sequence[Source], rng: np.random.Generator, turn: float = 180.0):
        self.sources, self.rng, self.turn = sources, rng, turn
        self.layers: list[Shown] = []
        self.objects: list[np.ndarray] = []
        self.ignored = np.zeros((BLOCKS, BLOCKS), np.bool_)
        whole = (0, 0, SIDE, SIDE)
        if rng.random() < EMPTY:
            self._enlarge(whole)
            return
        for cell in cells(whole, rng, LEAST_CELL, 0.3, 0.1):
            if rng.random() < WITHOUT or not self._show(cell):
                self._enlarge(cell)

    def _pick(self, inhabited: bool) -> tuple[int, int] | None:
        """A source and one of its images."""
        lists = [source.inhabited if inhabited else source.images for source in self.sources]
        at = int(self.rng.integers(max(sum(map(len, lists)), 1)))
        for number, images in enumerate(lists):
            if at < len(images):
                return number, images[at]
            at -= len(images)
        return None

    def _show(self, cell: Cell) -> bool:
        """A scene with an object, at a size that is looked for."""
        rng, picked = self.rng, self._pick(True)
        if picked is None:
            return False
        number, image = picked
        objects = self.sources[number].objects[image]
        u = objects[rng.integers(len(objects))]
        own = math.hypot(u[0], u[1])
        x0, y0, x1, y1 = cell
        least, most = (TINIEST, SMALL) if rng.random() < TINY else (SMALL, LARGE)
        most = min(most, 0.6 * min(x1 - x0, y1 - y0), ENLARGED * own)
        if most < least:
            return False
        s = least * (most / least) ** rng.random()
        slack = min(0.9 * s, 0.45 * min(x1 - x0, y1 - y0))
        x, y = rng.uniform(x0 + slack, x1 - slack), rng.uniform(y0 + slack, y1 - slack)
        surrounded = rng.random() < SURROUNDED
        if surrounded:
            self._enlarge(cell, beneath=True)
        self._add(number, image, _view(u, s, self._angle(), x, y), cell, surrounded)
        if rng.random() < COVERED:
            self._cover(cell, s, x, y)
        return True

    def _cover(self, cell: Cell, s: float, x: float, y: float) -> None:
        """Something else before a part of an object."""
        rng = self.rng
        cx, cy = x + s * rng.uniform(-1, 1), y + s * rng.uniform(-1, 1)
        w, h = s * rng.uniform(*COVER, 2)
        x0, y0 = max(int(cx - w), cell[0]), max(int(cy - h), cell[1])
        x1, y1 = min(int(cx + w) + 1, cell[2]), min(int(cy + h) + 1, cell[3])
        if x0 < x1 and y0 < y1:
            self._enlarge((x0, y0, x1, y1), beneath=True)

    def _mislead(self, cell: Cell) -> bool:
        """A place that was taken for an object, at a size at which objects are looked for; whether there is any."""
        rng, hard = self.rng, [(n, *each) for n, source in enumerate(self.sources) for each in source.hard]
        if not hard:
            return False
        number, image, u = hard[int(rng.integers(len(hard)))]
        s = min(SMALL * (LARGE / SMALL) ** rng.random(), ENLARGED * math.hypot(u[0], u[1]))
        x, y = rng.uniform(cell[0], cell[2]), rng.uniform(cell[1], cell[3])
        self._add(number, image, _view(u, s, self._angle(), x, y), cell, False)
        return True

    def _enlarge(self, cell: Cell, beneath: bool = False) -> None:
        """A part of a scene in which objects are too large, or of one without; beneath something else, with as little
        of an object as a few tries allow."""
        if not beneath and self.rng.random() < HARD and self._mislead(cell):
            return
        picked = self._pick(False)
        assert picked is not None  # there are scenes
        number, image = picked
        tries = [self._part(number, image, cell, beneath) for _ in range(TRIES)]
        view = min(tries, key=lambda each: self._in_view(number, image, each, cell, 3.0 if beneath else 0.0))
        self._add(number, image, view, cell, False, beneath)

    def _part(self, number: int, image: int, cell: Cell, beneath: bool) -> np.ndarray:
        """A view of a part of a scene: at a third of them an object's own surroundings."""
        rng, source = self.rng, self.sources[number]
        width, height = source.size[image]
        x, y = (cell[0] + cell[2]) / 2, (cell[1] + cell[3]) / 2
        fitting = min(max(cell[2] - cell[0], cell[3] - cell[1]) / min(width, height), ENLARGED)
        objects = source.objects[image]
        if len(objects):
            u = objects[rng.integers(len(objects))]
            own = math.hypot(u[0], u[1])
            s = ZOOM[0] * (ZOOM[1] / ZOOM[0]) ** rng.random()
            factor = max(min(s / own, ENLARGED), fitting)
            if not beneath and rng.random() < 1 / 3:
                shift = rng.normal(0, 0.6, 2) * factor * own
                return _view(u, factor * own, self._angle(), x + shift[0], y + shift[1])
        else:
            factor = fitting * (ENLARGED / fitting) ** rng.random()
        margin = min(0.5 * max(cell[2] - cell[0], cell[3] - cell[1]) / factor, 0.5 * min(width, height))
        px, py = rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)
        return _view(np.array([1.0, 0.0, px, py]), factor, self._angle(), x, y)

    def _in_view(self, number: int, image: int, view: np.ndarray, cell: Cell, weight: float) -> float:
        """How much of the outside a cell would show, and of objects times a weight."""
        source = self.sources[number]
        boxes = _boxes(_carried(source.objects[image], view))
        corners = np.array([[cell[i], cell[j]] for i in (0, 2) for j in (1, 3)], np.float64)
        at = _to_scene(view, corners)
        outside = np.mean((at < 0) | (at > source.size[image]))
        return float(_share(np.array(cell, np.float64)[None], boxes).sum()) * weight + float(outside)

    def _add(self, number: int, image: int, view: np.ndarray, cell: Cell, clipped: bool, beneath: bool = False) -> None:
        """A layer, with what is annotated in it."""
        source = self.sources[number]
        self.layers.append(Shown(number, image, view, cell, clipped))
        carried = _carried(source.objects[image], view)
        s = np.hypot(carried[:, 0], carried[:, 1])
        shares = _share(_boxes(carried), np.array(cell, np.float64)[None])[:, 0]
        for u, half, share in zip(carried, s, shares, strict=True):
            if share >= WHOLE and not beneath:
                self.objects.append(u)
            elif share > GONE and SMALL <= half <= LARGE:
                self._ignore(_blocks_around(u[2:4], 1.2 * half), cell)
        for box in source.ignore[image]:
            self._ignore(_blocks_in(view, box), cell)

    def _angle(self) -> float:
        """By how much a scene is turned; a quarter of them nearly not where patches are turned by right angles."""
        if self.turn >= 180 and self.rng.random() < 0.25:
            return float(self.rng.normal(0, 0.15))
        return float(self.rng.uniform(-self.turn, self.turn)) * math.pi / 180

    def _ignore(self, blocks: Bool[np.ndarray, "32 32"], cell: Cell) -> None:
        x0, y0, x1, y1 = (edge * BLOCKS // SIDE for edge in cell)
        self.ignored[y0 : y1 + 1, x0 : x1 + 1] |= blocks[y0 : y1 + 1, x0 : x1 + 1]


# Gazes as complex numbers here: one pair (a + ib, tx + i ty), without a tensor for each of a hundred thousand.
def _view(u: np.ndarray, s: float, turn: float, x: float, y: float) -> Float[np.ndarray, "4"]:
    """The gaze from the canonical patch to the scene under which `u` shows with half-side s at (x, y), turned."""
    own, at = complex(u[0], u[1]), complex(u[2], u[3])
    per_pixel = own / (s * own / abs(own) * complex(math.cos(turn), math.sin(turn)))
    half = SIDE / 2
    shift = at + per_pixel * (complex(half, half) - complex(x, y))
    linear = per_pixel * half
    return np.array([linear.real, linear.imag, shift.real, shift.imag])


def _carried(objects: Float[np.ndarray, "k 5"], view: Float[np.ndarray, "4"]) -> Float[np.ndarray, "k 5"]:
    """Objects of a scene in pixels of the patch."""
    linear, shift = complex(view[0], view[1]) / (SIDE / 2), complex(view[2], view[3])
    half = complex(SIDE / 2, SIDE / 2)
    own = (objects[:, 0] + 1j * objects[:, 1]) / linear
    at = (objects[:, 2] + 1j * objects[:, 3] - shift) / linear + half
    return np.stack((own.real, own.imag, at.real, at.imag, objects[:, 4]), 1)


def _to_scene(view: Float[np.ndarray, "4"], at: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Pixels of the patch in those of the scene."""
    linear, half = complex(view[0], view[1]) / (SIDE / 2), complex(SIDE / 2, SIDE / 2)
    there = linear * (at[:, 0] + 1j * at[:, 1] - half) + complex(view[2], view[3])
    return np.stack((there.real, there.imag), 1)


def _boxes(objects: Float[np.ndarray, "k 5"]) -> Float[np.ndarray, "k 4"]:
    s = np.hypot(objects[:, 0], objects[:, 1])[:, None]
    return np.concatenate((objects[:, 2:4] - s, objects[:, 2:4] + s), 1)


def _share(boxes: Float[np.ndarray, "n 4"], others: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Share of each box that lies in each other one."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return (high - low).clip(0).prod(-1) / np.maximum(area, 1e-9)[:, None]


_AT = (np.stack(np.meshgrid(np.arange(BLOCKS), np.arange(BLOCKS)), -1).reshape(-1, 2) + 0.5) * (SIDE / BLOCKS)


def _blocks_around(centre: Float[np.ndarray, "2"], radius: float) -> Bool[np.ndarray, "32 32"]:
    return (np.hypot(*(_AT - centre).T) <= radius).reshape(BLOCKS, BLOCKS)


def _blocks_in(view: Float[np.ndarray, "4"], box: Float[np.ndarray, "4"]) -> Bool[np.ndarray, "32 32"]:
    at = _to_scene(view, _AT)
    return ((at >= box[:2]) & (at <= box[2:])).all(1).reshape(BLOCKS, BLOCKS)
