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
from foveate.scenes.layouts.polygons import outline_of_polygons, ring_of_numbers
from foveate.scenes.layouts.shapes import FULL, HALF_TURN, Entry, Outline, Shape, Unusable, parsed, size_of, with_area


def read(path: str) -> Entry:
    """What the XML file of an image contains."""
    root = load_xml(path)
    if root.tag != "annotation":
        raise BadInput(f"{path}: not a VOC annotation")
    size = size_of(root.findtext("size/width"), root.findtext("size/height"))
    shapes = [_shape(element, number) for number, element in enumerate(root.findall("object"), start=1)]
    return Entry((root.findtext("filename") or "").strip(), size, shapes)


def _shape(element: Any, count: int) -> Shape:
    flag = {name: (element.findtext(name) or "").strip() for name in ("difficult", "truncated")}
    shape = Shape((element.findtext("name") or "").strip() or "object", f"object {count}", "it has no bndbox")
    shape.kind = "unsure" if flag["difficult"] == "1" else "object"
    shape.truncated = None if flag["truncated"] not in ("0", "1") else flag["truncated"] == "1"
    try:
        shape.outline, shape.period = _outline(element)
    except Unusable as reason:
        shape.outline = str(reason)
    return shape


def _outline(element: Any) -> tuple[Outline, int]:
    if (turned := element.find("robndbox")) is not None:
        told = (parsed(turned.findtext(each), "robndbox") for each in ("cx", "cy", "w", "h", "angle"))
        x, y, width, height, angle = told
        return with_area(Outline.turned(x, y, width, height, angle), "robndbox"), HALF_TURN
    box, polygon = element.find("bndbox"), element.find("polygon")
    if box is None and polygon is not None:
        numbers = [parsed(corner.text, "polygon") for corner in polygon]
        return outline_of_polygons([ring_of_numbers(numbers, "polygon")])
    if box is None:
        raise Unusable("it has no bndbox")
    x0, y0, x1, y1 = (parsed(box.findtext(side), "bndbox") for side in ("xmin", "ymin", "xmax", "ymax"))
    outline = with_area(Outline.between(x0, y0, x1, y1), "bndbox")
    if degrees := _rotation(element):
        outline = Outline.turned(outline.x, outline.y, outline.width, outline.height, math.radians(degrees))
    return outline, FULL


def _rotation(element: Any) -> float | None:
    for attribute in element.iterfind("attributes/attribute"):
        if (attribute.findtext("name") or "").strip() == "rotation":
            return parsed(attribute.findtext("value"), "rotation")
    return None
