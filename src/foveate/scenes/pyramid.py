"""Images as pyramids, many of them in one flat buffer that compiled loops can walk.

Level 0 is the image, each next level its 2 x 2 box average, down to a short side of one pixel. Values are 16-bit: v /
65535 is the pixel in [0, 1], so 8-bit images are exact (v = 257 x) and the rounding of a level is below 1e-5.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Int32, Int64, Shaped, UInt16
from numba import njit

from foveate.scenes.pixels import as_uint16

MAX_LEVELS = 16


class Store:
    """The pixels of many pyramids, one after the other, so that sets of images are joined without a copy.

    It grows by doubling: room beyond what was added is address space, not memory.
    """

    def __init__(self, room: int = 0):
        self._kept, self._used = np.empty(room, np.uint16), 0

    @property
    def values(self) -> UInt16[np.ndarray, "values"]:
        """All that was added."""
        return self._kept[: self._used]

    def add(self, image: UInt16[np.ndarray, "h w 3"]) -> tuple[int, list[tuple[int, int]]]:
        """Adds the pyramid of an image; gives where it begins, and rows and columns of each level."""
        begin, shapes = self._used, _shapes(*image.shape[:2])
        self._used += _size(shapes)
        if self._used > len(self._kept):
            grown = np.empty(max(self._used, 2 * len(self._kept)), np.uint16)
            grown[:begin] = self._kept[:begin]
            self._kept = grown
        level = self.values[begin : begin + image.size].reshape(image.shape)
        level[...] = image
        at = begin + image.size
        for rows, columns in shapes[1:]:
            above = self.values[at : at + 3 * rows * columns].reshape(rows, columns, 3)
            _halve(level, above)
            level, at = above, at + above.size
        return begin, shapes

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """What is added within is let go of at the end: its pyramids must not be looked at after that."""
        used = self._used
        try:
            yield
        finally:
            self._used = used


@dataclass(frozen=True)
class Pyramids:
    """Pyramids of several images, ready for the loops in `glimpse`."""

    store: Store  # all levels of all images, each row-major with channels last; other pyramids may lie there too
    offset: Int64[np.ndarray, "images levels"]  # where each level begins in the store
    height: Int32[np.ndarray, "images levels"]  # rows of each level (0 where an image has no such level)
    width: Int32[np.ndarray, "images levels"]  # columns of each level
    levels: Int32[np.ndarray, "images"]  # how many levels each image has
    fill: Float32[np.ndarray, "images 3"]  # mean colour of each image in [0, 1]: what lies outside it

    @classmethod
    def from_images(cls, images: Iterable[Shaped[np.ndarray, "..."]], store: Store | None = None) -> "Pyramids":
        """Builds the pyramids of uint8, uint16 or float (in [0, 1]) images, in a store of their own by default.

        Raises:
            BadInput: An image is not [height, width, 3], is empty, has another type, or floats outside [0, 1].
        """
        if store is None:
            known = images if isinstance(images, Sequence) else []
            store = Store(sum(_size(_shapes(*image.shape[:2])) for image in known if image.ndim == 3))
        tables, fill = [np.zeros((0, 3, MAX_LEVELS), np.int64)], []
        for image in images:
            at, shapes = store.add(pixels := as_uint16(image))
            table = np.zeros((1, 3, MAX_LEVELS), np.int64)
            for k, (rows, columns) in enumerate(shapes):
                table[0, :, k] = at, rows, columns
                at += 3 * rows * columns
            tables.append(table)
            fill.append(np.ascontiguousarray(pixels).mean((0, 1), dtype=np.float64) / 65535)
        offset, height, width = np.ascontiguousarray(np.concatenate(tables).swapaxes(0, 1))
        height, width = height.astype(np.int32), width.astype(np.int32)
        levels = (height > 0).sum(1, dtype=np.int32)
        return cls(store, offset, height, width, levels, np.array(fill, np.float32).reshape(-1, 3))

    def __len__(self) -> int:
        return len(self.levels)

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What is known of each image: offset, height, width, levels, fill."""
        return self.offset, self.height, self.width, self.levels, self.fill

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The fields in order, as compiled loops take them."""
        return self.store.values, *self.tables

    def take(self, images: Sequence[int] | slice) -> "Pyramids":
        """The pyramids of some of the images, in the order given; they share the store."""
        return Pyramids(self.store, *(table[images] for table in self.tables))

    def only(self, image: int) -> "Pyramids":
        """The pyramid of one image; it shares the store."""
        return self.take(slice(image, image + 1))

    def level(self, image: int, level: int) -> UInt16[np.ndarray, "h w 3"]:
        """A view of one level of one image."""
        start, h, w = self.offset[image, level], self.height[image, level], self.width[image, level]
        return self.store.values[start : start + 3 * h * w].reshape(h, w, 3)


def _shapes(height: int, width: int) -> list[tuple[int, int]]:
    """Rows and columns of each level of an image."""
    shapes = [(height, width)]
    while min(shapes[-1]) > 1 and len(shapes) < MAX_LEVELS:
        shapes.append(((shapes[-1][0] + 1) // 2, (shapes[-1][1] + 1) // 2))
    return shapes


def _size(shapes: list[tuple[int, int]]) -> int:
    """Values of a pyramid with levels of these shapes."""
    return 3 * sum(height * width for height, width in shapes)


@njit(cache=True, nogil=True)
@no_type_check  # the tests' import hook would wrap what numba has to compile
def _halve(below, above):
    """The 2 x 2 averages of a level, rounded; an odd last row or column is averaged with itself.

    The last row of a level of odd size covers half as much of the level below as the others do, but is placed as if it
    covered as much: a level k pixel always stands for a 2^k x 2^k block, whose part outside repeats the border.
    """
    rows, columns = below.shape[0] - 1, below.shape[1] - 1
    for y in range(above.shape[0]):
        top, bottom = 2 * y, min(2 * y + 1, rows)
        for x in range(above.shape[1]):
            left, right = 2 * x, min(2 * x + 1, columns)
            for c in range(3):
                total = (
                    np.uint32(below[top, left, c]) + np.uint32(below[bottom, left, c])
                    + np.uint32(below[top, right, c]) + np.uint32(below[bottom, right, c])
                )  # fmt: skip
                above[y, x, c] = (total + 2) // 4
