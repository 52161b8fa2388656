"""Pictures larger than what is attended at once: overlapping tiles, level by level, and what was found put together.

The picture is attended whole, reduced to the size of a tile, and in tiles at full resolution; where these two would
leave out sizes in between, also at levels between. Neighbouring tiles share a quarter of their side, so that whatever
is no larger than that is whole in one of them. A gaze whose square is cut by a tile's edge is left to the neighbour, or
to a level at which it is whole. Gazes of all levels are then thinned out by `non_maximum_suppression`.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from foveate.attention.found import Found
from foveate.attention.nms import non_maximum_suppression

SHARED = 4  # neighbours share one part in four of a tile's side


class Tile(NamedTuple):
    """A part of one level of a picture."""

    pixels: Shaped[np.ndarray, "h w 3"]  # a view of the level
    x: int  # column of its left edge in the level
    y: int  # row of its upper edge
    width: int  # of the level, pixels
    height: int  # of the level
    scale: float  # pixels of the level per pixel of the picture

    def holds(self, found: Found) -> bool:
        """Whether a gaze's upright square is whole in the tile, or leaves it only where the picture ends."""
        (x, y), s, (h, w) = found.u[2:].tolist(), found.scale, self.pixels.shape[:2]
        return (
            (self.x == 0 or x - s > 0)
            and (self.y == 0 or y - s > 0)
            and (self.x + w == self.width or x + s < w)
            and (self.y + h == self.height or y + s < h)
        )

    def in_picture(self, found: Found) -> Found:
        """A gaze of the tile as one of the picture in full."""
        return found.moved(1.0, self.x, self.y).moved(1.0 / self.scale)


def scales(longest: int, side: int, smallest: float) -> list[float]:
    """Levels of a picture, from the one that one tile covers to full resolution.

    A tile shows every half-side from `smallest`, in its pixels, to half of what neighbours share; levels lie no further
    apart. `longest` is the side of the picture, `side` that of a tile.
    """
    if longest <= side:
        return [1.0]
    reach = max(side / SHARED / 2 / smallest, 2.0)
    steps = math.ceil(math.log(longest / side) / math.log(reach))
    return [(side / longest) ** (1 - step / steps) for step in range(steps + 1)]


def cut(level: Shaped[np.ndarray, "h w 3"], side: int, scale: float) -> Iterator[Tile]:
    """The tiles of a level, row by row; all of one size, evenly spread."""
    height, width = level.shape[:2]
    for y in _starts(height, side):
        for x in _starts(width, side):
            yield Tile(level[y : y + side, x : x + side], x, y, width, height, scale)


def together(founds: Sequence[Found]) -> list[Found]:
    """One gaze an object, best first, from what tiles and levels found; gazes are in pixels of the picture."""
    if not founds:
        return []
    kept = non_maximum_suppression(np.stack([found.u for found in founds]), np.array([found.rank for found in founds]))
    return [founds[k] for k in kept]


def _starts(length: int, side: int) -> list[int]:
    if length <= side:
        return [0]
    count = math.ceil((length - side) / (side - side // SHARED)) + 1
    return [round(k * (length - side) / (count - 1)) for k in range(count)]
