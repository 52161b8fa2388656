"""Pictures seen through an affine map, resampled without aliasing: turned photographs and aligned crops for people.

The patch model looks through `scenes.glimpse`, bilinear and fast. What people look at is resampled here: by cubic
splines (scipy), and, where the picture shrinks, averaged over blocks and over samples inside every output pixel.
"""

import math

import numpy as np
from jaxtyping import Float, Float32, Shaped
from numpy import ndarray

from foveate.errors import BadInput

_REACH = 12  # pixels beyond which a cubic spline feels nothing of a value: 0.27^12 of it


def warp(
    image: Shaped[ndarray, "height width 3"],
    linear: Float[ndarray, "2 2"],
    shift: Float[ndarray, "2"],
    width: int,
    height: int,
) -> Shaped[ndarray, "new_height new_width 3"]:
    """The picture whose point q shows the point linear q + shift of `image`; outside lies the picture's mean colour.

    Coordinates are (x, y) in pixels with (0, 0) the outer corner of the first pixel, on both sides. The result has the
    type of the image (uint8, uint16 or floating), this width and height, and no value outside the picture's own range.

    Raises:
        BadInput: The map is not finite.
    """
    from scipy.ndimage import affine_transform

    if not (np.isfinite(linear).all() and np.isfinite(shift).all()):
        raise BadInput("an image can't be resampled by a map that is not finite")
    mean = image.reshape(-1, 3).mean(axis=0, dtype=np.float64)
    spacing = float(np.linalg.norm(linear, 2))
    factor = max(1, math.floor(spacing / 2))  # of the blocks; at least two of them make an output pixel then
    part, corner = _needed(image, linear, shift, width, height, _REACH * factor)
    samples = max(1, math.ceil(spacing / factor - 1e-6))  # at most a block apart: no detail falls between them
    turn = linear[::-1, ::-1] / (factor * samples)  # scipy counts rows first, and from the centre of the first one
    begin = (shift - corner)[::-1] / factor + turn.sum(axis=1) / 2 - 0.5
    fine = (height * samples, width * samples)
    out = np.empty((height, width, 3), np.float32)
    for channel, outside in enumerate(mean):
        source = _means(part[..., channel].astype(np.float32), factor, outside)
        seen = affine_transform(source, turn, begin, fine, order=3, mode="grid-constant", cval=outside)
        out[..., channel] = _means(seen, samples, outside)
    # Splines overshoot: they must not invent a darker dark or a lighter light.
    out = np.clip(out, min(part.min(), mean.min()), max(part.max(), mean.max()))
    return np.rint(out).astype(image.dtype) if np.issubdtype(image.dtype, np.integer) else out.astype(image.dtype)


def _needed(
    image: ndarray, linear: ndarray, shift: ndarray, width: int, height: int, margin: int
) -> tuple[ndarray, ndarray]:
    """The part of the image that the result shows, with a margin, and its outer corner (x, y)."""
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ linear.T + shift
    size = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(corners.min(axis=0)) - margin, 0, size - 1).astype(np.int64)
    high = np.clip(np.ceil(corners.max(axis=0)) + margin, low + 1, size).astype(np.int64)
    return image[low[1] : high[1], low[0] : high[0]], low


def _means(channel: Float32[ndarray, "height width"], factor: int, outside: float) -> Float32[ndarray, "rows columns"]:
    """Means of blocks of factor x factor pixels; what a block has outside the image counts as `outside`."""
    if factor == 1:
        return channel
    missing = [(0, -side % factor) for side in channel.shape]
    padded = np.pad(channel, missing, constant_values=outside)
    return padded.reshape(padded.shape[0] // factor, factor, -1, factor).mean(axis=(1, 3))
