"""COCO's `segmentation`: polygons, or a mask in run-length form."""

from typing import Any

import numpy as np
from jaxtyping import Int

from foveate.scenes.layouts.polygons import (
    MAX_CELLS,
    outline_of_polygons,
    outline_of_runs,
    rectangle_of,
    ring_of_numbers,
    upright_most,
)
from foveate.scenes.layouts.shapes import Outline, Unusable, number, short

UPRIGHT = 0.02
"""Sine of the angle up to which a rectangle of four corners is taken as the upright box around it."""


def of_segmentation(segmentation: Any) -> tuple[Outline, int]:
    """Of polygons, a list of lists of numbers or one such list; or of a mask, {"counts", "size": [height, width]}."""
    if isinstance(segmentation, dict):
        size = segmentation.get("size")
        if not isinstance(size, list) or len(size) != 2:
            raise Unusable("its mask has no size")
        height, width = (int(number(side, "segmentation.size")) for side in size)
        return outline_of_runs(decode_counts(segmentation.get("counts")), height, width, columns=True)
    if not isinstance(segmentation, list):
        raise Unusable(f"segmentation {short(segmentation)} is neither polygons nor a mask")
    flat = not any(isinstance(polygon, list) for polygon in segmentation)
    polygons = [segmentation] if flat else segmentation
    if not all(isinstance(polygon, list) for polygon in polygons):
        raise Unusable(f"segmentation {short(segmentation)} is neither polygons nor a mask")
    return outline_of_polygons([ring_of_numbers(polygon, "segmentation") for polygon in polygons])


def turned_rectangle(segmentation: Any) -> Outline | None:
    """The rectangle of one polygon of four corners, if it is one and not upright."""
    if not isinstance(segmentation, list) or len(segmentation) != 1 or not isinstance(segmentation[0], list):
        return None
    if len(segmentation[0]) not in (8, 10):
        return None
    try:
        ring = ring_of_numbers(segmentation[0], "segmentation")
    except Unusable:
        return None
    if len(ring) == 5 and (ring[0] == ring[4]).all():
        ring = ring[:4]
    rectangle = rectangle_of(ring)
    if rectangle is None:
        return None
    rectangle = upright_most(rectangle)
    return rectangle if abs(rectangle.sine) > UPRIGHT else None


def decode_counts(counts: Any) -> Int[np.ndarray, "runs"]:
    """COCO's `counts`, a list of numbers or their compressed text, as lengths of runs.

    In the text each number is written in characters of five bits and one that says whether more follow, lowest first,
    signed, from the third on as a difference to the number two before (pycocotools' maskApi.c, rleFrString).

    Raises:
        Unusable: It is neither.
    """
    if isinstance(counts, list):
        values = [number(value, "segmentation") if not _is_count(value) else value for value in counts]
        return np.array(values, dtype=np.float64).astype(np.int64)
    if not isinstance(counts, str) or not counts:
        raise Unusable("its mask can't be read")
    found: list[int] = []
    value, shift = 0, 0
    for character in counts.encode("utf-8", "replace"):
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
    if any(not _is_count(each) for each in found):
        raise Unusable("its mask can't be read")
    return np.array(found, dtype=np.int64)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_CELLS
