"""labelme: one JSON file an image, beside it.

Rectangles, circles, polygons and masks are objects of the kind that their label names. The angle of oriented rectangles
(four corners, upper left first, then clockwise) is known in full. Points are keypoints, their labels the names: of the
object whose `group_id` they share, else of an object of their own. Lines have no window.
"""

import base64
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from foveate.errors import BadInput
from foveate.scenes.layouts.documents import load_json
from foveate.scenes.layouts.periods import ANY, FULL
from foveate.scenes.layouts.polygons import outline_of_cells, outline_of_oriented, outline_of_polygons, ring_of_pairs
from foveate.scenes.layouts.shapes import Entry, Outline, Shape, Unusable, short, size_of, with_points

ORIENTED = ("rotation", "oriented_rectangle", "rotated_rectangle", "rotated_box")
"""Names that labelme and its kin have for oriented rectangles."""
MAX_MASK = 2**27  # pixels of the largest mask that is decoded


def is_labelme(document: Any) -> bool:
    """Whether a JSON document looks like this layout."""
    return isinstance(document, dict) and isinstance(document.get("shapes"), list) and "imagePath" in document


def read(path: str) -> Entry:
    """What the JSON file of an image contains."""
    document = load_json(path)
    if not is_labelme(document):
        raise BadInput(f"{path}: not a labelme file (expected shapes and imagePath)")
    name, size = document["imagePath"], size_of(document.get("imageWidth"), document.get("imageHeight"))
    return Entry(name if isinstance(name, str) else "", size, _shapes(document["shapes"]))


def _shapes(entries: list[Any]) -> list[Shape]:
    shapes: list[Shape] = []
    by_group: dict[str, Shape] = {}
    points: dict[str, dict[str, tuple[float, float]]] = {}
    for count, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            continue
        label, group, kind = entry.get("label"), short(entry.get("group_id")), entry.get("shape_type", "polygon")
        label = label if isinstance(label, str) and label else "object"
        shape = Shape(label, f"shape {count} ({short(kind)})", "")
        try:
            corners = ring_of_pairs(entry.get("points"))
            if kind == "point" and len(corners) == 1:
                points.setdefault(group, {})[label] = (float(corners[0, 0]), float(corners[0, 1]))
                continue
            shape.outline, shape.period = _outline(kind, corners, entry)
        except Unusable as reason:
            shape.outline = str(reason)
        shapes.append(shape)
        if group != "None":
            by_group.setdefault(group, shape)
    return with_points(shapes, by_group, points)


def _outline(kind: Any, corners: np.ndarray, entry: Mapping[str, Any]) -> tuple[Outline, int]:
    if kind in ("rectangle", "mask") and len(corners) in (2, 4):
        (x0, y0), (x1, y1) = corners.min(0).tolist(), corners.max(0).tolist()
        if kind == "mask":
            return _of_mask(entry.get("mask"), x0, y0)
        return Outline.between(x0, y0, x1, y1).with_area("its rectangle"), FULL
    if kind == "circle" and len(corners) == 2:
        radius = math.dist(*corners.tolist())
        x, y = corners[0].tolist()
        return Outline(x, y, 2 * radius, 2 * radius).with_area("its circle"), ANY
    if kind in ORIENTED:
        return outline_of_oriented(corners)
    if kind in ("polygon", None):
        return outline_of_polygons([corners])
    raise Unusable(f"a {short(kind)} has no window")


def _of_mask(data: Any, left: float, top: float) -> tuple[Outline, int]:
    """A mask is a small picture as text (PNG in base64), whose upper left corner is the first of the points."""
    from PIL.PngImagePlugin import PngImageFile

    try:
        image = PngImageFile(io.BytesIO(base64.b64decode(data, validate=True)))
        cells = np.asarray(image.convert("L")) > 0 if image.width * image.height <= MAX_MASK else None
    except Exception:  # decoders raise nearly anything on damaged data
        raise Unusable("its mask can't be read") from None
    if cells is None:
        raise Unusable(f"its mask of {image.width} x {image.height} is too large")
    return outline_of_cells(cells.ravel(), image.height, image.width, left, top)
