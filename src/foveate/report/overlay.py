"""Gazes and their posterior as paths of an SVG in the photograph's own pixels."""

import math
from collections.abc import Sequence

import numpy as np

from foveate.attention.overlay import ELLIPSE_95, INTERVAL_95
from foveate.report.figures import square, tick
from foveate.report.story import Number, Numbers, Spread, numbers


def finite(u: Numbers) -> bool:
    """Whether a gaze can be drawn."""
    return all(math.isfinite(value) and abs(value) < 1e7 for value in numbers(u))


def gaze_path(u: Numbers) -> str:
    """The window's turned square, and the tick at the middle of its top edge; empty where it can't be drawn."""
    if not finite(u):
        return ""
    corners, (foot, head) = square(u), tick(u)
    return "M" + "L".join(map(_point, corners)) + f"ZM{_point(foot)}L{_point(head)}"


def ellipse_path(spread: Spread) -> str:
    """The ellipse that holds 95 % of a Gaussian posterior of the centre, as a closed path."""
    covariance = np.array(spread.covariance, dtype=float)
    if covariance.shape != (2, 2) or not np.isfinite(covariance).all() or not finite(spread.centre):
        return ""
    variances, axes = np.linalg.eigh((covariance + covariance.T) / 2)
    radii = ELLIPSE_95 * np.sqrt(variances.clip(min=0.0))
    turns = np.linspace(0.0, 2.0 * math.pi, 41)[:-1]
    points = np.array(spread.centre) + (np.stack([np.cos(turns), np.sin(turns)], axis=1) * radii) @ axes.T
    return "M" + "L".join(_point(point) for point in points) + "Z"


def wedge_path(spread: Spread, radius: Number) -> str:
    """The sector around the top of the window in which its angle lies with 95 %: half-width 1.96 standard deviations.

    The top of a window turned by `angle` points to (sin angle, -cos angle) on the screen, where y is down.
    """
    if not all(map(math.isfinite, (spread.angle, spread.angle_std, radius))) or not finite(spread.centre):
        return ""
    half = min(INTERVAL_95 * spread.angle_std, math.pi * 0.999)
    angles = np.linspace(spread.angle - half, spread.angle + half, max(3, math.ceil(half * 12)))
    x, y = numbers(spread.centre)
    points = [(x + radius * math.sin(angle), y - radius * math.cos(angle)) for angle in angles]
    return f"M{_point((x, y))}L" + "L".join(map(_point, points)) + "Z"


def scale(u: Numbers) -> float:
    """Half the side of the window, pixels."""
    a, b, _, _ = numbers(u)
    return math.hypot(a, b)


def close_up(gazes: Sequence[Numbers], width: int, height: int) -> tuple[float, float, float, float]:
    """The smallest square view (x, y, side, side) of all these windows with some air, kept over the photograph."""
    drawn = [numbers(u) for u in gazes if finite(u)]
    if not drawn:
        return 0.0, 0.0, float(width), float(height)
    reach = [1.55 * scale(u) for u in drawn]
    x0, x1 = (pick(u[2] + sign * r for u, r in zip(drawn, reach, strict=True)) for pick, sign in ((min, -1), (max, 1)))
    y0, y1 = (pick(u[3] + sign * r for u, r in zip(drawn, reach, strict=True)) for pick, sign in ((min, -1), (max, 1)))
    side = float(max(min(max(x1 - x0, y1 - y0), width, height), 4.0))
    left = min(max((x0 + x1 - side) / 2, 0.0), width - side)
    top = min(max((y0 + y1 - side) / 2, 0.0), height - side)
    return left, top, side, side


def _point(point: Sequence[float] | np.ndarray) -> str:
    return f"{_short(point[0])} {_short(point[1])}"


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
