"""Gazes and their posteriors as the marks of an SVG, in the photograph's own pixels."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from markupsafe import Markup, escape

from foveate.attention.overlay import ELLIPSE_95, INTERVAL_95, trail_colour
from foveate.report.story import Number, Numbers, SceneStory, Spread, Step
from foveate.scenes import gaze

OUTLINE = torch.tensor([(-1, -1), (1, -1), (1, 1), (-1, 1), (0, -1), (0, -0.66)], dtype=torch.float64)
"""In the canonical frame: the window's corners, its top edge first, and the tick inwards from the middle of that."""


def finite(u: Numbers) -> bool:
    """Whether a gaze can be drawn."""
    return all(math.isfinite(value) and abs(value) < 1e7 for value in u)


def scale(u: Numbers) -> float:
    """Half the side of the window, pixels."""
    return math.hypot(u[0], u[1])


def gaze_path(u: Numbers) -> str:
    """The window's turned square, and the tick at the middle of its top edge; empty where it can't be drawn."""
    if not finite(u):
        return ""
    *corners, foot, head = map(_point, gaze.apply(torch.tensor(u, dtype=torch.float64), OUTLINE).tolist())
    return f"M{'L'.join(corners)}ZM{foot}L{head}"


def ellipse_path(spread: Spread) -> str:
    """The ellipse that holds 95 % of a Gaussian posterior of the centre, as a closed path."""
    covariance = np.array(spread.covariance, dtype=float)
    if not np.isfinite(covariance).all() or not finite(spread.centre):
        return ""
    variances, axes = np.linalg.eigh((covariance + covariance.T) / 2)
    radii = ELLIPSE_95 * np.sqrt(variances.clip(min=0.0))
    turns = np.linspace(0.0, 2.0 * math.pi, 41)[:-1]
    points = np.array(spread.centre) + (np.stack([np.cos(turns), np.sin(turns)], axis=1) * radii) @ axes.T
    return f"M{'L'.join(map(_point, points))}Z"


def wedge_path(spread: Spread, radius: Number) -> str:
    """The sector around the top of the window in which its angle lies with 95 %: half-width 1.96 standard deviations.

    The top of a window turned by `angle` points to (sin angle, -cos angle) on the screen, where y is down.
    """
    if not finite([*spread.centre, spread.angle, spread.angle_std, radius]):
        return ""
    half = min(INTERVAL_95 * spread.angle_std, math.pi * 0.999)
    angles = np.linspace(spread.angle - half, spread.angle + half, max(3, math.ceil(half * 12)))
    x, y = spread.centre
    points = [(x, y), *((x + radius * math.sin(turn), y - radius * math.cos(turn)) for turn in angles)]
    return f"M{'L'.join(map(_point, points))}Z"


def close_up(gazes: Sequence[Numbers], width: int, height: int) -> tuple[float, float, float, float]:
    """The smallest square view (x, y, side, side) of all these windows with some air, kept over the photograph."""
    drawn = [(x, y, 1.55 * math.hypot(a, b)) for a, b, x, y in filter(finite, gazes)]
    if not drawn:
        return 0.0, 0.0, float(width), float(height)
    x0, x1 = min(x - reach for x, _, reach in drawn), max(x + reach for x, _, reach in drawn)
    y0, y1 = min(y - reach for _, y, reach in drawn), max(y + reach for _, y, reach in drawn)
    side = float(max(min(max(x1 - x0, y1 - y0), width, height), 4.0))
    left = min(max((x0 + x1 - side) / 2, 0.0), width - side)
    top = min(max((y0 + y1 - side) / 2, 0.0), height - side)
    return left, top, side, side


def hex_colour(place: Number) -> str:
    """The colour at a place of a trail, 0 to 1: yellow to blue."""
    return "#{:02x}{:02x}{:02x}".format(*trail_colour(place))


def colours(steps: list[Step]) -> list[str]:
    """The colour of each step of a trail, by its place in it.

    The many small moves of HMC share the last quarter, so that the few big ones of the ConvNet can be told apart.
    """
    slow = sum(step.kind == "hmc" for step in steps)
    quick = len(steps) - slow - 1
    weights = [quick / (3.0 * slow) if step.kind == "hmc" and quick > 0 else 1.0 for step in steps]
    places = np.cumsum([0.0, *weights[1:]])
    return [hex_colour(place) for place in (places / max(places[-1], 1e-9)).tolist()][: len(steps)]


def stroke(path: str, style: str, colour: str = "") -> str:
    """A line with a dark casing under it, so that it shows on any photograph."""
    if not path:
        return ""
    ink = f' style="stroke:{colour}"' if colour else ""
    return f'<path class="casing {style}" d="{path}"/><path class="ink {style}" d="{path}"{ink}/>'


def truth_marks(scene: SceneStory) -> str:
    """The annotated gazes."""
    return "".join(stroke(gaze_path(truth), "truth") for truth in scene.truths or [])


def posterior_marks(scene: SceneStory) -> str:
    """The ellipse of the best gaze's centre and the wedge of its angle."""
    if not scene.found or scene.found[0].spread is None:
        return ""
    spread, reach = scene.found[0].spread, 0.92 * scale(scene.found[0].u)
    paths = {"wedge": wedge_path(spread, reach), "ellipse": ellipse_path(spread)}
    return "".join(f'<path class="{style}" d="{path}"/>' for style, path in paths.items() if path)


def trail_marks(steps: list[Step], chosen: list[int]) -> str:
    """The windows of some of the steps, coloured by their place in the whole trail, the last one boldest."""
    inks, marks = colours(steps), []
    for index in chosen:
        style = "last" if index == chosen[-1] else "first" if index == 0 else "between"
        marks.append(stroke(gaze_path(steps[index].u), style, inks[index]))
    return "".join(marks)


def photograph(photo: str, view: Sequence[Number], marks: str, words: str) -> Markup:
    """A photograph, or the part (x, y, width, height) of it, with marks drawn on it."""
    box = " ".join(map(_short, view))
    return Markup(
        f'<svg class="photo" viewBox="{box}" role="img" aria-label="{escape(words)}">'
        f'<use href="#{photo}"/>{marks}</svg>'
    )


def _point(point: Sequence[float] | np.ndarray) -> str:
    return f"{_short(point[0])} {_short(point[1])}"


def _short(value: Number) -> str:
    return f"{value:.1f}".removesuffix(".0")
