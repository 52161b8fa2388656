"""Polygons and masks as outlines: a rectangle around them, and how far its angle is known; `Unusable` without area.

- Four points that make a rectangle are that rectangle. Which of its sides is the object's upper one is unknown, so its
  angle is known up to quarter turns; the one within 45 degrees of upright is taken.
- Every other region has the rectangle around it along its principal axes, those of its matrix of second moments. An
  axis has no direction: the angle is known up to half turns.
- A region whose axes are about as long as each other (a disc, a regular star) has no angle: its rectangle is upright.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from foveate.scenes.layouts.periods import ANY, FULL, HALF_TURN, QUARTER_TURN
from foveate.scenes.layouts.shapes import Outline, Unusable, number, short

ROUND = 1.15  # axes (standard deviations along them) whose ratio is below this are taken as equal
SQUARE = math.sin(math.radians(12))  # cosine of the corner angle up to which four points are a rectangle
UPRIGHT = 0.02  # sine of the angle up to which a rectangle of four corners is taken as the upright box around it
MAX_CELLS = 2**31  # cells of the largest mask that is read

Points = Float[np.ndarray, "points 2"]


def outline_of_polygons(polygons: Sequence[Points]) -> tuple[Outline, int]:
    """The outline of one region that is made of polygons, and the period of its angle in degrees."""
    rings = [_open(ring) for ring in polygons]
    if len(rings) == 1 and (rectangle := rectangle_of(rings[0])) is not None:
        return upright_most(rectangle), QUARTER_TURN
    corners = np.concatenate([np.zeros((0, 2)), *rings])
    origin = corners.sum(0) / max(len(corners), 1)  # far from it the sums of moments would cancel
    moments = sum((_ring_moments(ring - origin) for ring in rings if len(ring) >= 3), np.zeros(6))
    if not moments[0] > 0:
        raise Unusable("its polygons have no area")
    outline, period = _along_axes(moments, corners - origin)
    return outline.moved((1.0, 0.0, float(origin[0]), float(origin[1]))), period


def rectangle_of(ring: Points) -> Outline | None:
    """The rectangle of four corners in their own order: its x runs from the first to the second; None for any other
    four, or another number of them. The corners of a rectangle may go round either way."""
    if len(ring) != 4:
        return None
    points: list[tuple[float, float]] = [(x, y) for x, y in ring.tolist()]  # tens of thousands of four: no arrays
    edges = [(u - x, v - y) for (x, y), (u, v) in pairwise([*points, points[0]])]
    lengths = [math.hypot(*edge) for edge in edges]
    if not min(lengths) > 0:
        return None
    for k in range(4):
        (x, y), (u, v) = edges[k - 1], edges[k]
        if abs(x * u + y * v) > SQUARE * lengths[k - 1] * lengths[k]:
            return None
    x, y = (sum(values) / 4 for values in zip(*points, strict=True))
    along = (edges[0][0] - edges[2][0], edges[0][1] - edges[2][1])
    size = math.hypot(*along)
    return Outline(x, y, size / 2, (lengths[1] + lengths[3]) / 2, along[0] / size, along[1] / size)


def upright_most(outline: Outline) -> Outline:
    """The same rectangle with its sides named so that its angle is within 45 degrees of upright."""
    for _ in range(round(math.degrees(outline.angle) / 90) % 4):
        outline = outline.across()
    return outline


def outline_of_runs(
    runs: Int[np.ndarray, "runs"], height: int, width: int, columns: bool, left: float = 0.0, top: float = 0.0
) -> tuple[Outline, int]:
    """The outline of a mask in run-length form, and the period of its angle in degrees.

    Lengths of runs of cells outside and inside take turns, the first is outside; they go down the columns (as COCO's)
    or along the rows. (left, top) is where the mask lies in its picture.
    """
    lines, length = (width, height) if columns else (height, width)
    if not (0 < lines * length <= MAX_CELLS) or len(runs) == 0 or runs.min() < 0 or runs.max() > MAX_CELLS:
        raise Unusable(f"its mask of {width} x {height} can't be read")
    ends = np.cumsum(runs)
    if ends[-1] != lines * length:
        raise Unusable(f"its mask holds {ends[-1]} cells where {width} x {height} has {lines * length}")
    keep = ends[1::2] > ends[:-1:2]
    first, last = ends[:-1:2][keep], ends[1::2][keep]
    if len(first) == 0:
        raise Unusable("its mask is empty")
    # A run may go on over several lines: one piece for each.
    several = (last - 1) // length - first // length + 1
    line = np.repeat(first // length - np.cumsum(several) + several, several) + np.arange(several.sum())
    begin = np.maximum(np.repeat(first, several), line * length) - line * length
    end = np.minimum(np.repeat(last, several), (line + 1) * length) - line * length
    across, low, high = line.astype(float), begin.astype(float), end.astype(float)
    count, middle, at = high - low, (low + high) / 2, across + 0.5
    moments = np.array([
        count.sum(), (count * at).sum(), (count * middle).sum(),
        (count * (at**2 + 1 / 12)).sum(), (count * at * middle).sum(), ((high**3 - low**3) / 3).sum(),
    ])  # fmt: skip
    corners = np.concatenate([np.stack((x, y), 1) for x in (across, across + 1) for y in (low, high)])
    if not columns:
        moments, corners = moments[[0, 2, 1, 5, 4, 3]], corners[:, ::-1]
    outline, period = _along_axes(moments, corners)
    return outline.moved((1.0, 0.0, left, top)), period


def outline_of_cells(
    cells: Bool[np.ndarray, "cells"], height: int, width: int, left: float = 0.0, top: float = 0.0
) -> tuple[Outline, int]:
    """As `outline_of_runs`, of a mask given cell by cell along its rows."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], cells, [False]))))
    runs = np.diff(np.concatenate(([0], edges, [cells.size])))
    return outline_of_runs(runs, height, width, columns=False, left=left, top=top)


def outline_of_ellipse(x: float, y: float, across: float, down: float, turn: float) -> tuple[Outline, int]:
    """The outline of an ellipse with these half-axes, turned by radians; a circle has no angle."""
    ellipse = Outline.turned(x, y, 2 * across, 2 * down, turn).with_area("its ellipse")
    return ellipse, ANY if max(across, down) < ROUND * min(across, down) and not turn else FULL


def outline_of_oriented(ring: Points) -> tuple[Outline, int]:
    """The outline of corners in a tool's own order, upper left first and clockwise: its angle is known in full."""
    rectangle = rectangle_of(ring)
    if rectangle is None:
        return outline_of_polygons([ring])
    clockwise = (ring[:, 0] * np.roll(ring[:, 1], -1) - np.roll(ring[:, 0], -1) * ring[:, 1]).sum() > 0
    return (rectangle, FULL) if clockwise else (upright_most(rectangle), QUARTER_TURN)


def of_segmentation(segmentation: Any) -> tuple[Outline, int]:
    """COCO's `segmentation`: polygons, a list of lists of numbers or one such list; or a mask, {"counts", "size":
    [height, width]}."""
    if isinstance(segmentation, dict):
        size = segmentation.get("size")
        if not isinstance(size, list) or len(size) != 2:
            raise Unusable("its mask has no size")
        height, width = (int(number(side, "segmentation.size")) for side in size)
        return outline_of_runs(decode_counts(segmentation.get("counts")), height, width, columns=True)
    flat = isinstance(segmentation, list) and not any(isinstance(polygon, list) for polygon in segmentation)
    polygons = [segmentation] if flat else segmentation
    if not isinstance(polygons, list) or not all(isinstance(polygon, list) for polygon in polygons):
        raise Unusable(f"segmentation {short(segmentation)} is neither polygons nor a mask")
    return outline_of_polygons([ring_of_numbers(polygon, "segmentation") for polygon in polygons])


def turned_rectangle(segmentation: Any) -> Outline | None:
    """The rectangle of COCO's `segmentation` by one polygon of four corners, if it is one and not upright."""
    polygon = segmentation[0] if isinstance(segmentation, list) and len(segmentation) == 1 else None
    if not isinstance(polygon, list) or len(polygon) not in (8, 10):
        return None
    try:
        ring = ring_of_numbers(polygon, "segmentation")
    except Unusable:
        return None
    rectangle = rectangle_of(ring[:4] if (ring[0] == ring[-1]).all() else ring)
    if rectangle is None or abs(upright_most(rectangle).sine) <= UPRIGHT:
        return None
    return upright_most(rectangle)


def decode_counts(counts: Any) -> Int[np.ndarray, "runs"]:
    """COCO's `counts`, a list of numbers or their compressed text, as lengths of runs.

    In the text each number is written in characters of five bits and one that says whether more follow, lowest first,
    signed, from the third on as a difference to the number two before (pycocotools' maskApi.c, rleFrString).
    """
    found: list[Any] = counts if isinstance(counts, list) else []
    value, shift = 0, 0
    for character in counts.encode("utf-8", "replace") if isinstance(counts, str) else b"":
        chunk = character - 48
        if not 0 <= chunk < 64 or shift > 35:
            raise Unusable("its mask can't be read")
        value |= (chunk & 0x1F) << shift
        shift += 5
        if not chunk & 0x20:
            if chunk & 0x10:
                value -= 1 << shift
            found.append(value + (found[-2] if len(found) > 2 else 0))
            value, shift = 0, 0
    if not found or not all(type(each) in (int, float) and 0 <= each <= MAX_CELLS for each in found):
        raise Unusable("its mask can't be read")
    return np.array(found, dtype=np.float64).astype(np.int64)


def ring_of_numbers(values: Sequence[Any], what: str) -> Points:
    """Corners from numbers x, y, x, y ...; a last one without its fellow is left out."""
    return np.array([number(value, what) for value in values[: len(values) // 2 * 2]]).reshape(-1, 2)


def ring_of_pairs(points: Any) -> Points:
    """Corners from a list [[x, y], ...] as JSON has it."""
    pairs = isinstance(points, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in points)
    if not pairs or not points:
        raise Unusable(f"points {short(points)} are not pairs")
    return np.array([[number(x, "points"), number(y, "points")] for x, y in points])


def _open(ring: Points) -> Float[np.ndarray, "kept 2"]:
    """Corners each once: without those that repeat the one before, or the first at the end."""
    kept = [point for point, after in pairwise([*ring, ring[0]]) if (point != after).any()] if len(ring) else []
    return np.array(kept).reshape(-1, 2)


def _ring_moments(ring: Points) -> Float[np.ndarray, "6"]:
    """Integrals of 1, x, y, x^2, xy, y^2 over a polygon, by Green's theorem; positive whichever way it goes round."""
    (x, y), (u, v) = ring.T, np.roll(ring, -1, axis=0).T
    cross = x * v - u * y
    moments = np.array([
        cross.sum() / 2, (cross * (x + u)).sum() / 6, (cross * (y + v)).sum() / 6,
        (cross * (x * x + x * u + u * u)).sum() / 12, (cross * (x * v + 2 * x * y + 2 * u * v + u * y)).sum() / 24,
        (cross * (y * y + y * v + v * v)).sum() / 12,
    ])  # fmt: skip
    return moments if moments[0] >= 0 else -moments


def _along_axes(moments: Float[np.ndarray, "6"], corners: Points) -> tuple[Outline, int]:
    """The rectangle around a region along its principal axes, the longer one first, or upright where it is round."""
    area, x, y, xx, xy, yy = moments
    x, y = x / area, y / area
    xx, xy, yy = xx / area - x * x, xy / area - x * y, yy / area - y * y
    mean, difference = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    if not mean > difference:
        raise Unusable("its region has no area")
    if math.sqrt((mean + difference) / (mean - difference)) < ROUND:
        turn, period = 0.0, ANY
    else:
        turn, period = math.atan2(2 * xy, xx - yy) / 2, HALF_TURN  # of the longer axis, in (-90, 90] degrees
    cosine, sine = math.cos(turn), math.sin(turn)
    along, across = corners @ (cosine, sine), corners @ (-sine, cosine)
    width, height = float(np.ptp(along)), float(np.ptp(across))
    middle, beside = (along.max() + along.min()) / 2, (across.max() + across.min()) / 2
    centre = (float(middle * cosine - beside * sine), float(middle * sine + beside * cosine))
    return Outline(*centre, width, height, cosine, sine), period
