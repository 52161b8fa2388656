"""Gazes drawn on a photograph: where the objects are, how they are turned, how sure that is, how they were found.

And what they look at, cut out of it.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from foveate.errors import BadInput
from foveate.scenes.layouts.writing import corners
from foveate.scenes.warp import warp

TRAIL = ((255, 214, 10), (139, 205, 80), (32, 170, 190), (37, 99, 235))
"""Yellow, through green and teal, to blue: a trail from its first gaze to its last."""
CASING = (12, 16, 24)
SMALLEST, LARGEST, LARGEST_FACTOR = 900, 2400, 10.0
SUPERSAMPLE = 2
STEPS_DRAWN = 9
FILLED = 0.7  # of the half-side: an ellipse that reaches further is an outline, so that it covers no photograph
ELLIPSE_95 = math.sqrt(-2.0 * math.log(0.05))
"""Radius, in deviations, of the ellipse that holds 95 % of a Gaussian in the plane."""
INTERVAL_95 = 1.959963984540054  # half the interval that holds 95 % on a line


@runtime_checkable
class Drawn(Protocol):
    """What of a `Found` is drawn; `posterior` is its `Refined`, or None."""

    @property
    def u(self) -> Float[ndarray, "4"]: ...
    @property
    def trail(self) -> Float[ndarray, "steps 4"]: ...
    @property
    def network_steps(self) -> int: ...
    @property
    def probability(self) -> float: ...
    @property
    def likeness(self) -> float | None: ...
    @property
    def category(self) -> str | None: ...
    @property
    def posterior(self) -> Any: ...
    @property
    def scale(self) -> float: ...
    @property
    def spread(self) -> Float[ndarray, "4"]: ...
    @property
    def spread_is_known(self) -> bool: ...


def draw_overlay(image: Shaped[ndarray, "height width 3"], founds: Sequence[Drawn]) -> Image.Image:
    """The photograph with every gaze on it.

    A thick blue square where the object is, a tick that stands on the middle of its top edge and points up in the
    object's own frame, and the probability, with the likeness where one is in mind. Thin squares are the way there,
    the start yellow, later ones turning blue, and a line through their centres. The ellipse holds 95 % of the
    posterior of the centre, the wedge 95 % of that of the angle; where the chains did not move there is neither.
    Small photographs are enlarged, so that lines and numbers can be read; very large ones are reduced.

    Args:
        image: uint8, uint16 or floating in [0, 1].
        founds: Best first.
    """
    picture = Image.fromarray(as_bytes(image))
    longest = max(picture.size)
    factor = min(max(1.0, SMALLEST / longest), LARGEST / longest, LARGEST_FACTOR)
    if factor != 1.0:
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        picture = picture.resize(size, Image.Resampling.BICUBIC if factor > 1.0 else Image.Resampling.LANCZOS)
    line = max(2.0, max(picture.size) / 300.0)
    layer = Image.new("RGBA", (picture.width * SUPERSAMPLE, picture.height * SUPERSAMPLE), (0, 0, 0, 0))
    pen = _Pen(ImageDraw.Draw(layer, "RGBA"), factor * SUPERSAMPLE, line * SUPERSAMPLE)
    shown = [found for found in founds if _drawable(found.u)]
    # The best is drawn last: it lies on top.
    for found in reversed(shown):
        _draw_trail(pen, found)
    for found in reversed(shown):
        _draw_posterior(pen, found)
        _draw_gaze(pen, found)
    blended = Image.alpha_composite(picture.convert("RGBA"), _reduced(layer))
    draw = ImageDraw.Draw(blended)
    for found in reversed(shown):
        _write_probability(draw, blended.size, found, factor, line)
    return blended.convert("RGB")


def crop(
    image: Shaped[ndarray, "height width 3"], u: Sequence[float | int] | Float[ndarray, "4"], size: int
) -> Image.Image:
    """What the gaze looks at, upright and `size` pixels wide: resampled without aliasing, the mean colour outside.

    Raises:
        BadInput: The gaze is not finite or has no size.
    """
    a, b, x, y = map(float, u)
    if not all(map(math.isfinite, (a, b, x, y))) or math.hypot(a, b) == 0.0:
        raise BadInput(f"gaze {[a, b, x, y]} can't be cropped: it must be finite, with a half-side above 0")
    linear = np.array([[a, -b], [b, a]]) * (2.0 / size)
    shift = np.array([x - a + b, y - b - a])
    pixels = warp(image, linear, shift, size, size)
    return Image.fromarray(as_bytes(pixels))


def as_bytes(image: Shaped[ndarray, "height width 3"]) -> UInt8[ndarray, "height width 3"]:
    """8 bits a channel: 16-bit values scaled by 255 / 65535, floating ones from [0, 1]."""
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    top = 65535.0 if image.dtype == np.uint16 else 1.0
    return np.rint(np.clip(image.astype(np.float64) / top, 0.0, 1.0) * 255.0).astype(np.uint8)


def trail_colour(position: float | int) -> tuple[int, int, int]:
    """The colour at a place of a trail, 0 its first gaze (yellow) and 1 its last (blue)."""
    place = min(max(float(position), 0.0), 1.0) * (len(TRAIL) - 1)
    low = min(int(place), len(TRAIL) - 2)
    red, green, blue = (round(a + (place - low) * (b - a)) for a, b in zip(TRAIL[low], TRAIL[low + 1], strict=True))
    return red, green, blue


class _Pen:
    """Draws in pixels of the photograph on a layer that is `factor` times as large."""

    def __init__(self, draw: ImageDraw.ImageDraw, factor: float, width: float):
        self.draw, self.factor, self.width = draw, factor, width

    def lines(self, points: Sequence, colour: tuple, width: float, casing: float = 0.0, closed: bool = False) -> None:
        """A line of `width` (1: the usual one), over a dark one `casing` wider so that it shows on any ground."""
        points = self._scaled([*points, *points[:2]] if closed else points)
        for ink, breadth in (((*CASING, colour[3]), width + casing), (colour, width)):
            if casing or ink is colour:
                self.draw.line(points, fill=ink, width=max(1, round(breadth * self.width)), joint="curve")

    def filled(self, points: Sequence, colour: tuple) -> None:
        self.draw.polygon(self._scaled(points), fill=colour)

    def _scaled(self, points: Sequence) -> list[tuple[float, float]]:
        return [(float(x) * self.factor, float(y) * self.factor) for x, y in points]


def _draw_trail(pen: _Pen, found: Drawn) -> None:
    """The network's steps; Monte Carlo's small ones would lie on the final square and hide it."""
    trail = [u for u in found.trail[: found.network_steps + 1] if _drawable(u)]
    if len(trail) < 2:
        return
    places = np.unique(np.linspace(0, len(trail) - 1, min(STEPS_DRAWN, len(trail))).round().astype(int))
    for low, high in itertools.pairwise(places):
        colour = (*trail_colour(float(low) / (len(trail) - 1)), 255)
        pen.lines(corners(trail[low]), colour, 0.7, 0.5, closed=True)
        pen.lines([u[2:] for u in trail[low : high + 1]], colour, 0.7, 0.5)


def _draw_posterior(pen: _Pen, found: Drawn) -> None:
    """The ellipse of the centre and the wedge of the angle; neither where the chains did not move."""
    if found.posterior is None or not found.spread_is_known:
        return
    u, spread, s = found.u, found.spread, found.scale
    half = min(INTERVAL_95 * spread[1], math.pi)
    angles = math.atan2(u[1], u[0]) + np.linspace(-half, half, 41)
    arc = u[2:] + s * np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    pen.filled([u[2:], *arc], (255, 255, 255, 70))
    pen.lines([u[2:], *arc], (255, 255, 255, 200), 0.3, 0.3, closed=True)
    turns = np.linspace(0.0, 2.0 * math.pi, 61)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    offsets = ELLIPSE_95 * circle @ _root_covariance(found.posterior.unweighed().reshape(-1, 4), found.spread).T
    ellipse = list(u[2:] + offsets)
    if np.hypot(*offsets.T).max() < FILLED * s:
        pen.filled(ellipse, (*TRAIL[-1], 90))
    pen.lines(ellipse, (255, 255, 255, 230), 0.5, 0.4)


def _root_covariance(draws: Float[ndarray, "draws 4"], spread: Float[ndarray, "4"]) -> Float[ndarray, "2 2"]:
    """R with R R^T the centre's covariance: the correlation of its draws, the standard deviations as stated."""
    correlation = 0.0
    if len(draws) > 9:
        covariance = np.cov(draws[:, 2:].T)
        size = math.sqrt(covariance[0, 0] * covariance[1, 1])
        correlation = covariance[0, 1] / size if math.isfinite(size) and size > 0.0 else 0.0
    rest = math.sqrt(max(1.0 - correlation**2, 0.0))
    return spread[2:, None] * np.array([[1.0, 0.0], [correlation, rest]])


def _draw_gaze(pen: _Pen, found: Drawn) -> None:
    u = found.u
    pen.lines(corners(u), (*TRAIL[-1], 255), 1.4, 1.0, closed=True)
    pen.lines([_carry(u, 0.0, -1.0), _carry(u, 0.0, -1.28)], (*TRAIL[-1], 255), 1.4, 1.0)


def _write_probability(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], found: Drawn, factor: float, line: float
) -> None:
    """Above the square's highest corner, kept within the picture."""
    probability = float(found.probability)
    text = ">0.99" if probability > 0.995 else f"{probability:.2f}"
    text = text if found.category is None else f"{found.category} {text}"
    text += "" if found.likeness is None else f", likeness {found.likeness:.1f}"
    font = ImageFont.load_default(size=max(12.0, 7.0 * line))
    square = np.array(corners(found.u)) * factor
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height, pad = right - left, bottom - top, 1.5 * line
    x = min(max(square[:, 0].min(), pad), size[0] - width - pad)
    y = min(max(square[:, 1].min() - height - 3.0 * pad, pad), size[1] - height - pad)
    draw.rounded_rectangle((x - pad, y - pad, x + width + pad, y + height + pad), radius=pad, fill=(*TRAIL[-1], 255))
    draw.text((x - left, y - top), text, font=font, fill=(255, 255, 255, 255))


def _reduced(layer: Image.Image) -> Image.Image:
    """Means of 2 x 2 pixels with colours weighted by their opacity, so that edges have no dark fringe."""
    return layer.convert("RGBa").reduce(SUPERSAMPLE).convert("RGBA")


def _carry(u: ndarray, x: float, y: float) -> tuple[float, float]:
    a, b, tx, ty = u
    return a * x - b * y + tx, b * x + a * y + ty


def _drawable(u: Float[ndarray, "4"]) -> bool:
    return bool(np.isfinite(u).all() and (np.abs(u) < 1e6).all())
