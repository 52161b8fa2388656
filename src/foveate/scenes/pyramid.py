"""Images as pyramids, many of them in one flat buffer that compiled loops can walk.

Level 0 is the image, each next level its 2 x 2 box average, down to a short side of one pixel. Values are 16-bit: v /
65535 is the pixel in [0, 1], so 8-bit images are exact (v = 257 x) and the rounding of a level is below 1e-5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, Int64, Shaped, UInt16

from foveate.scenes.pixels import as_uint16

MAX_LEVELS = 16


@dataclass(frozen=True)
class Pyramids:
    """Pyramids of several images, ready for the loops in `glimpse`.

    Attributes:
        buffer: All levels of all images, each row-major with channels last.
        offset: Where each level begins in `buffer`.
        height: Rows of each level (0 where an image has no such level).
        width: Columns of each level.
        levels: How many levels each image has.
        fill: Mean colour of each image in [0, 1]: what lies outside it.
    """

    buffer: UInt16[np.ndarray, "values"]
    offset: Int64[np.ndarray, "images levels"]
    height: Int32[np.ndarray, "images levels"]
    width: Int32[np.ndarray, "images levels"]
    levels: Int32[np.ndarray, "images"]
    fill: Float32[np.ndarray, "images 3"]

    @classmethod
    def from_images(cls, images: Sequence[Shaped[np.ndarray, "..."]]) -> "Pyramids":
        """Builds the pyramids of uint8, uint16 or float (in [0, 1]) images of any sizes.

        Raises:
            BadInput: An image is not [height, width, 3], is empty, has another type, or floats outside [0, 1].
        """
        pyramids = [_reduce(as_uint16(image)) for image in images]
        shape = (len(pyramids), MAX_LEVELS)
        offset, height, width = np.zeros(shape, np.int64), np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        total = 0
        for i, levels in enumerate(pyramids):
            for k, level in enumerate(levels):
                offset[i, k], height[i, k], width[i, k] = total, level.shape[0], level.shape[1]
                total += level.size
        flat = [level.reshape(-1) for levels in pyramids for level in levels]
        return cls(
            buffer=np.concatenate(flat) if flat else np.zeros(0, np.uint16),
            offset=offset,
            height=height,
            width=width,
            levels=np.array([len(levels) for levels in pyramids], np.int32),
            fill=np.array(
                [levels[0].mean((0, 1), dtype=np.float64) / 65535 for levels in pyramids], np.float32
            ).reshape(-1, 3),
        )

    def __len__(self) -> int:
        return len(self.levels)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The fields in order, as compiled loops take them."""
        return self.buffer, self.offset, self.height, self.width, self.levels, self.fill

    def only(self, image: int) -> "Pyramids":
        """The pyramid of one image; it shares the buffer."""
        one = slice(image, image + 1)
        return Pyramids(
            self.buffer, self.offset[one], self.height[one], self.width[one], self.levels[one], self.fill[one]
        )

    def level(self, image: int, level: int) -> UInt16[np.ndarray, "h w 3"]:
        """A view of one level of one image."""
        start, h, w = self.offset[image, level], self.height[image, level], self.width[image, level]
        return self.buffer[start : start + 3 * h * w].reshape(h, w, 3)


def _reduce(image: UInt16[np.ndarray, "h w 3"]) -> list[UInt16[np.ndarray, "_ _ 3"]]:
    """The image and its successive 2 x 2 averages; an odd last row or column is averaged with itself.

    The last row of a level of odd size covers half as much of the level below as the others do, but is placed as if it
    covered as much: a level k pixel always stands for a 2^k x 2^k block, whose part outside repeats the border.
    """
    levels = [np.ascontiguousarray(image)]
    while min(levels[-1].shape[:2]) > 1 and len(levels) < MAX_LEVELS:
        below = levels[-1]
        below = np.pad(below, ((0, below.shape[0] % 2), (0, below.shape[1] % 2), (0, 0)), mode="edge").astype(np.uint32)
        total = below[0::2, 0::2] + below[1::2, 0::2] + below[0::2, 1::2] + below[1::2, 1::2]
        levels.append(((total + 2) // 4).astype(np.uint16))
    return levels
