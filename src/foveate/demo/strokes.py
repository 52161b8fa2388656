"""Handwritten digits of 8x8 cells as smooth strokes, drawn into a picture at any size and angle."""

import functools

import numpy as np
from jaxtyping import Float
from PIL import Image

from foveate.demo.photographs import luminance

FRAME = 0.75  # a digit's 8x8 cells fill [-FRAME, FRAME]^2 of its canonical window [-1, 1]^2

_PAD = 2  # cells of paper around a digit
_FINE = 10  # points a cell in the outline that is drawn from
_LOW, _HIGH = 0.25, 0.6  # of the interpolated ink: below is paper, above is ink, a smooth step lies between
_OPACITY = 0.96


def outline(ink: Float[np.ndarray, "8 8"]) -> Float[np.ndarray, "fine fine"]:
    """The share of stroke at each of 10x10 points a cell, with paper of two cells around.

    Cubic convolution of the cells (Keys, "Cubic convolution interpolation for digital image processing", 1981, with
    a = -1/2), softly thresholded.
    """
    spread = _interpolation()
    value = spread @ np.pad(ink, _PAD) @ spread.T
    step = np.clip((value - _LOW) / (_HIGH - _LOW), 0, 1)
    return (step * step * (3 - 2 * step)).astype(np.float32)


@functools.cache
def _interpolation() -> Float[np.ndarray, "fine cells"]:
    """The linear map from values at cells' centres to the interpolated ones at the fine points; beyond the cells is
    0."""
    cells = 8 + 2 * _PAD
    place = (np.arange(cells * _FINE) + 0.5) / _FINE - 0.5
    distance = np.abs(place[:, None] - np.arange(cells))
    near = 1 - distance**2 * (2.5 - 1.5 * distance)
    far = 2 - distance * (4 - distance * (2.5 - 0.5 * distance))
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def draw(
    picture: Float[np.ndarray, "height width 3"],
    ink: Float[np.ndarray, "8 8"],
    u: Float[np.ndarray, "4"],
    colour: Float[np.ndarray, "3"],
) -> None:
    """Draws a digit into a picture, in place, through the gaze u of its window; what lies outside is cut off.

    The outline is averaged down to the picture's pixels before it is turned, so that small digits do not alias.
    """
    height, width = picture.shape[:2]
    half = FRAME * (8 + 2 * _PAD) / 8  # of the padded outline, in the canonical window
    reach = half * (abs(u[0]) + abs(u[1]))
    top, bottom = (int(np.clip(edge, 0, height)) for edge in (u[3] - reach, u[3] + reach + 1))
    left, right = (int(np.clip(edge, 0, width)) for edge in (u[2] - reach, u[2] + reach + 1))
    if bottom <= top or right <= left:
        return
    side = int(min((8 + 2 * _PAD) * _FINE, max(1, np.ceil(2 * half * np.hypot(u[0], u[1])))))
    shape = Image.fromarray(outline(ink)).resize((side, side), Image.Resampling.BOX)
    c, s = np.array([u[0], u[1]]) / (u[0] ** 2 + u[1] ** 2) * side / (2 * half)
    x, y = left - u[2], top - u[3]
    inverse = (c, s, c * x + s * y + side / 2, -s, c, c * y - s * x + side / 2)
    size = (right - left, bottom - top)
    covered = shape.transform(size, Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
    opacity = (_OPACITY * np.asarray(covered))[:, :, None]
    part = picture[top:bottom, left:right]
    part += opacity * (colour.astype(picture.dtype) - part)


def light_colour(rng: np.random.Generator, lowest: float, highest: float) -> Float[np.ndarray, "3"]:
    """A colour of random hue and saturation whose luminance is uniform in [lowest, highest]."""
    hue, saturation, target = rng.uniform(0, 6), rng.uniform(0.2, 0.9), rng.uniform(lowest, highest)
    pure = np.clip(np.abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    colour = 1 - saturation * (1 - pure)
    present = float(luminance(colour))
    if present > target:
        return colour * (target / present)
    return colour + (1 - colour) * (target - present) / (1 - present)
