"""Annotations made by the tests themselves."""

import numpy as np

from foveate.scenes.annotations import Annotation
from foveate.scenes.layouts.shapes import Outline


def records(gazes, regions=()):
    """Objects with these gazes, and regions (boxes) that are neither object nor background."""
    objects = [
        Annotation(
            (float(a), float(b), float(x), float(y)), 360, _around(a, b, x, y), True, (), "object", f"id {number}"
        )
        for number, (a, b, x, y) in enumerate(np.asarray(gazes).reshape(-1, 4))
    ]
    unsure = [
        Annotation(None, 360, Outline.between(*map(float, box)), True, (), "unsure", f"region {number}")
        for number, box in enumerate(np.asarray(regions).reshape(-1, 4))
    ]
    return (*objects, *unsure)


def _around(a, b, x, y):
    side = float(np.hypot(a, b))
    return Outline(float(x), float(y), 2 * side, 2 * side, float(a) / side, float(b) / side)
