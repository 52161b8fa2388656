"""Pictures seen through an affine map, resampled without aliasing: turned photographs and aligned crops for people.

The patch model looks through `scenes.glimpse`, bilinear and fast. What people look at is resampled here: bicubic
(Keys 1981, a = -1/2) and, where the picture shrinks, averaged over blocks and over samples inside every output pixel.
"""

import math
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Shaped
from numba import njit
from numpy import ndarray

from foveate.errors import BadInput


def mean_colour(image: Shaped[ndarray, "height width 3"]) -> Float[ndarray, "3"]:
    """What lies outside a picture: its mean, channel by channel, in the picture's own units."""
    return image.reshape(-1, 3).mean(axis=0, dtype=np.float64)


def warp(
    image: Shaped[ndarray, "height width 3"],
    linear: Float[ndarray, "2 2"],
    shift: Float[ndarray, "2"],
    width: int,
    height: int,
    fill: Float[ndarray, "3"] | None = None,
) -> Shaped[ndarray, "new_height new_width 3"]:
    """The picture whose point q shows the point linear q + shift of `image`.

    Coordinates are (x, y) in pixels with (0, 0) the outer corner of the first pixel, on both sides.

    Args:
        image: uint8, uint16 or floating; the result has the same type, and no value outside the picture's own range.
        linear: Pixels of `image` per pixel of the result.
        shift: Where the result's outer corner lies in `image`.
        width: Of the result, pixels.
        height: Of the result, pixels.
        fill: Colour outside the picture; its mean where left out.

    Raises:
        BadInput: The map is not finite.
    """
    fill = mean_colour(image) if fill is None else np.asarray(fill, dtype=np.float64)
    linear, shift = np.asarray(linear, dtype=np.float64), np.asarray(shift, dtype=np.float64)
    if not (np.isfinite(linear).all() and np.isfinite(shift).all()):
        raise BadInput("a picture can't be seen through a map that is not finite")
    spacing = float(np.linalg.svd(linear, compute_uv=False)[0])
    factor = max(1, math.floor(spacing))
    source, corner = _needed(image, linear, shift, width, height, 3 * factor)
    source = _averaged(source.astype(np.float32), factor, fill.astype(np.float32))
    linear, shift = linear / factor, (shift - corner) / factor
    # Samples at most half a source pixel apart once an output pixel has several: no detail falls between them.
    samples = 1 if spacing <= 1.0 + 1e-6 else math.ceil(2.0 * spacing / factor)
    out = np.empty((height, width, 3), dtype=np.float32)
    _warp(source, linear, shift, fill.astype(np.float32), samples, out)
    # The cubic's weights are partly negative: it must not invent a darker dark or a lighter light.
    out = np.clip(out, min(source.min(initial=np.inf), fill.min()), max(source.max(initial=-np.inf), fill.max()))
    return np.rint(out).astype(image.dtype) if np.issubdtype(image.dtype, np.integer) else out.astype(image.dtype)


def _needed(
    image: ndarray, linear: ndarray, shift: ndarray, width: int, height: int, margin: int
) -> tuple[ndarray, ndarray]:
    """The part of the image that the result shows, with a margin, and its outer corner (x, y)."""
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ linear.T + shift
    size = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(corners.min(axis=0)) - margin, 0, size).astype(np.int64)
    high = np.clip(np.ceil(corners.max(axis=0)) + margin, low, size).astype(np.int64)
    return image[low[1] : high[1], low[0] : high[0]], low


def _averaged(image: ndarray, factor: int, fill: ndarray) -> ndarray:
    """Means of blocks of factor x factor pixels; what a block has outside the image counts as `fill`."""
    if factor == 1:
        return np.ascontiguousarray(image)
    rows, columns = (math.ceil(side / factor) for side in image.shape[:2])
    padded = np.broadcast_to(fill, (rows * factor, columns * factor, 3)).copy()
    padded[: image.shape[0], : image.shape[1]] = image
    return padded.reshape(rows, factor, columns, factor, 3).mean(axis=(1, 3))


@njit(cache=True, nogil=True)
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def _warp(source, linear, shift, fill, samples, out):
    """Mean of samples x samples bicubic samples in every output pixel."""
    height, width = out.shape[0], out.shape[1]
    rows, columns = source.shape[0], source.shape[1]
    wx, wy = np.empty(4, dtype=np.float32), np.empty(4, dtype=np.float32)
    share = np.float32(1.0 / (samples * samples))
    for i in range(height):
        for j in range(width):
            red, green, blue = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for m in range(samples):
                for n in range(samples):
                    x, y = j + (n + 0.5) / samples, i + (m + 0.5) / samples
                    column = linear[0, 0] * x + linear[0, 1] * y + shift[0] - 0.5
                    row = linear[1, 0] * x + linear[1, 1] * y + shift[1] - 0.5
                    if not (-2.0 < column < columns + 1.0 and -2.0 < row < rows + 1.0):
                        red, green, blue = red + fill[0], green + fill[1], blue + fill[2]
                        continue
                    left, top = math.floor(column), math.floor(row)
                    _keys(np.float32(column - left), wx)
                    _keys(np.float32(row - top), wy)
                    for k in range(4):
                        r = top - 1 + k
                        for q in range(4):
                            c = left - 1 + q
                            weight = wy[k] * wx[q]
                            if 0 <= r < rows and 0 <= c < columns:
                                red += weight * source[r, c, 0]
                                green += weight * source[r, c, 1]
                                blue += weight * source[r, c, 2]
                            else:
                                red += weight * fill[0]
                                green += weight * fill[1]
                                blue += weight * fill[2]
            out[i, j, 0], out[i, j, 1], out[i, j, 2] = red * share, green * share, blue * share


@njit(cache=True, nogil=True)
@no_type_check
def _keys(t, weights):
    """Keys' cubic at distances 1 + t, t, 1 - t, 2 - t: exact on quadratics, its weights sum to 1."""
    weights[0] = ((-0.5 * t + 1.0) * t - 0.5) * t
    weights[1] = (1.5 * t - 2.5) * t * t + 1.0
    weights[2] = ((-1.5 * t + 2.0) * t + 0.5) * t
    weights[3] = (0.5 * t - 0.5) * t * t
