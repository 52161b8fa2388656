"""Pascal VOC: one XML file an image, beside it or in `Annotations/`, as labelImg, CVAT and Roboflow write it.

`bndbox` holds the sides of the box in pixels. The benchmark's own files count pixels from 1 and tools count from 0: the
difference is half a pixel and is let be. A rotation in degrees among the attributes (CVAT) turns the box clockwise
about its centre. `robndbox` (roLabelImg) is a turned box whose angle in radians is known up to half turns. Objects
marked `difficult` are neither object nor background, as in the benchmark.
"""

import math
from typing import Any

from foveate.errors import BadInput
from foveate.scenes.layouts.documents import load_xml
from foveate.scenes.layouts.periods import FULL, HALF_TURN
from foveate.scenes.layouts.polygons import outline_of_polygons, ring_of_numbers
from foveate.scenes.layouts.shapes import Entry, Outline, Shape, Unusable, parsed, shape_of, size_of


def read(path: str) -> Entry:
    """What the XML file of an image contains."""
    root = load_xml(path)
    if root.tag != "annotation":
        raise BadInput(f"{path}: not a VOC annotation")
    size = size_of(root.findtext("size/width"), root.findtext("size/height"))
    shapes = [_shape(element, number) for number, element in enumerate(root.findall("object"), start=1)]
    return Entry((root.findtext("filename") or "").strip(), size, shapes)


def _shape(element: Any, count: int) -> Shape:
    name, difficult, cut = ((element.findtext(each) or "").strip() for each in ("name", "difficult", "truncated"))
    shape = shape_of(name or "object", f"object {count}", _outline, element)
    shape.kind = "unsure" if difficult == "1" else "object"
    shape.truncated = {"0": False, "1": True}.get(cut)
    return shape


def _outline(element: Any) -> tuple[Outline, int]:
    if (turned := element.find("robndbox")) is not None:
        told = [parsed(turned.findtext(each), "robndbox") for each in ("cx", "cy", "w", "h", "angle")]
        return Outline.turned(*told).with_area("robndbox"), HALF_TURN
    box, polygon = element.find("bndbox"), element.find("polygon")
    if box is None and polygon is not None:
        numbers = [parsed(corner.text, "polygon") for corner in polygon]
        return outline_of_polygons([ring_of_numbers(numbers, "polygon")])
    if box is None:
        raise Unusable("it has no bndbox")
    sides = [parsed(box.findtext(side), "bndbox") for side in ("xmin", "ymin", "xmax", "ymax")]
    outline = Outline.between(*sides).with_area("bndbox")
    if degrees := _rotation(element):
        outline = Outline.turned(outline.x, outline.y, outline.width, outline.height, math.radians(degrees))
    return outline, FULL


def _rotation(element: Any) -> float | None:
    for attribute in element.iterfind("attributes/attribute"):
        if (attribute.findtext("name") or "").strip() == "rotation":
            return parsed(attribute.findtext("value"), "rotation")
    return None
