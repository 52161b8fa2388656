"""What a folder's annotations look like as a whole: doubts that no single one of them shows."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from foveate.errors import BadInput
from foveate.scenes.doubts import Doubts
from foveate.scenes.scene import Scene

FEWEST = 6  # images with an object below which nothing can be learned and checked
FEW = 30
ELONGATED = 4.0
TINY = 8.0  # pixels across a window below which it shows little
SMALL = 1 / 3  # share of the side that nine in ten objects exceed, below which one is far smaller than the rest
HUGE = 0.95  # share of the picture's shorter side from which on a window fills it
_LEAVES_OUT = (
    "unknown_layout", "unreadable", "unannotated", "left_out", "crowds", "difficult", "unusable", "mirrored", "misfit",
    "outside", "specks",
)  # fmt: skip
SLACK = 0.02  # share of its own side by which a box may reach out of its picture unnoticed: tools round


def examine_boxes(boxes: Sequence[tuple[float, ...]], where: Sequence[str], doubts: Doubts) -> None:
    """Adds doubts about boxes as they were drawn, those outside their picture among them: whether they reach out of
    their pictures, may be corners, or percent.

    They are upright: (x0, y0, x1, y1, width and height of the picture).
    """
    x0, y0, x1, y1, width, height = np.array(boxes, np.float64).reshape(-1, 6).T
    sides, total = np.stack([x1 - x0, y1 - y0]), len(x0)

    def add(kind: str, which: np.ndarray, **facts: Any) -> None:
        for number in np.flatnonzero(which).tolist():
            doubts.add(kind, where[number], total=total, **facts)

    slack = np.maximum(2.0, SLACK * sides)
    out = (x1 > width + slack[0]) | (y1 > height + slack[1]) | (x0 < -slack[0]) | (y0 < -slack[1])
    fits = (sides[0] > x0) & (sides[1] > y0) & (sides[0] <= width + 1) & (sides[1] <= height + 1)
    corners = total > 0 and fits.mean() > 0.95 and (x0 >= 0).all() and (y0 >= 0).all()
    add("corners" if corners else "reach_out", out)
    within = (x1 <= 100.5) & (y1 <= 100.5) & (width > 200) & (height > 200)
    if total >= 5 and within.all() and x1.max() > 75 and y1.max() > 75:
        add("percent", within)
    add("elongated", sides.max(0) > ELONGATED * np.maximum(sides.min(0), 1e-9), ratio=ELONGATED)


def examine(scenes: Sequence[Scene], doubts: Doubts) -> None:
    """Adds doubts about the objects of all scenes together: their sizes, their angles, their number."""
    placed = [(scene, each, each.gaze) for scene in scenes for each in scene.objects if each.gaze]
    sides, total = [2 * math.hypot(a, b) for _, _, (a, b, _, _) in placed], len(placed)
    least = SMALL * float(np.quantile(sides, 0.1)) if total >= 10 else 0.0
    for (scene, each, _), side in zip(placed, sides, strict=True):
        where = f"{scene.name}, {each.source}"
        if side < TINY:
            doubts.add("tiny", where, total=total, pixels=TINY)
        if side > HUGE * min(scene.width, scene.height):
            doubts.add("huge", where, total=total)
        if side < least:
            doubts.add("small", where, total=total, pixels=least)
    angles = [math.degrees(math.atan2(b, a)) for _, _, (a, b, _, _) in placed]
    known = all(each.angle_period == 360 for _, each, _ in placed)
    if total >= 10 and known and max(angles) - min(angles) < 0.5:
        doubts.add("angles", None, total, degrees=round(angles[0]) % 360)
    with_objects = sum(scene.state == "objects" for scene in scenes)
    if total and with_objects < FEW:
        doubts.add("few", None, with_objects, least=FEWEST)


def require_objects(scenes: Sequence[Scene], doubts: Doubts, place: str) -> None:
    """Checks that there is something to learn from.

    Raises:
        BadInput: Too few images have an object.
    """
    count = sum(scene.state == "objects" for scene in scenes)
    if count >= FEWEST:
        return
    left_out = [doubt for doubt in doubts.found() if doubt.kind in _LEAVES_OUT]
    worst = max(left_out, key=lambda doubt: doubt.count, default=None)
    why = "" if worst is None else f" ({worst.line()})"
    raise BadInput(f"{place}: {count} images with an annotated object, at least {FEWEST} are needed to train{why}")
