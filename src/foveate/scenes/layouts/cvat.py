"""CVAT's own XML 1.1, for images: one `annotations.xml`.

The rotation of a box or an ellipse is in degrees clockwise about its centre; the angle is known in full.
"""

import math
from typing import Any

import numpy as np

from foveate.errors import BadInput
from foveate.scenes.layouts.periods import FULL
from foveate.scenes.layouts.polygons import outline_of_ellipse, outline_of_polygons, outline_of_runs, ring_of_numbers
from foveate.scenes.layouts.shapes import Document, Entry, Outline, Shape, Unusable, parsed, shape_of, size_of

_NO_WINDOW = {"polyline": "a polyline", "points": "points without names", "cuboid": "a cuboid"}


def understand(root: Any, path: str, below: str = "") -> Document:
    """What an XML file of CVAT contains that is loaded; names of images in it are relative to the folder `below`."""
    images = root.findall("image")
    if not images and root.find("track") is not None:
        raise BadInput(f"{path}: tracks of a video; export it from CVAT as 'CVAT for images 1.1', with the images")
    document = Document("cvat", path)
    labels = root.iterfind("meta//label/name")
    document.categories = list(dict.fromkeys((label.text or "").strip() for label in labels))
    for image in images:
        # A tag says something of the image as a whole.
        shapes = [_shape(each, number) for number, each in enumerate(image, start=1) if each.tag != "tag"]
        name = image.get("name") or ""
        if not name:
            raise BadInput(f"{path}: an image has no name")
        size = size_of(image.get("width"), image.get("height"))
        document.entries.append(Entry(name, size, shapes, annotated=bool(shapes), below=below))
    return document


def _shape(element: Any, count: int) -> Shape:
    label = (element.get("label") or "").strip() or "object"
    shape = shape_of(label, f"shape {count} ({element.tag})", _outline, element)
    if element.tag == "skeleton":
        try:
            shape.keypoints, shape.outline = _skeleton(element), "it is a skeleton"
        except Unusable as reason:
            shape.outline = str(reason)
    return shape


def _outline(element: Any) -> tuple[Outline, int]:
    def numbers(*names: str) -> list[float]:
        return [parsed(element.get(name), f"{element.tag} {name}") for name in names]

    turn = math.radians(parsed(element.get("rotation", "0"), "rotation"))
    match element.tag:
        case "box":
            box = Outline.between(*numbers("xtl", "ytl", "xbr", "ybr")).with_area("its box")
            return (Outline.turned(box.x, box.y, box.width, box.height, turn) if turn else box), FULL
        case "ellipse":
            x, y, across, down = numbers("cx", "cy", "rx", "ry")
            return outline_of_ellipse(x, y, across, down, turn)
        case "polygon":
            corners = (element.get("points") or "").replace(",", ";").split(";")
            return outline_of_polygons([ring_of_numbers([parsed(x, "polygon") for x in corners], "polygon")])
        case "mask":
            left, top, width, height = numbers("left", "top", "width", "height")
            runs = np.array([int(parsed(run, "mask")) for run in (element.get("rle") or "").split(",")])
            return outline_of_runs(runs, int(height), int(width), columns=False, left=left, top=top)
    raise Unusable(f"{_NO_WINDOW.get(element.tag, 'a ' + element.tag[:20])} has no window")


def _skeleton(element: Any) -> dict[str, tuple[float, float]]:
    """Labelled points by name; those marked as outside the picture are none."""
    found = {}
    for each in element.iterfind("points"):
        if each.get("outside") == "1":
            continue
        x, _, y = (each.get("points") or "").partition(",")
        found[(each.get("label") or "").strip()] = (parsed(x, "points"), parsed(y, "points"))
    return found
