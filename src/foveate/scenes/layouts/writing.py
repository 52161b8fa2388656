"""Gazes as pre-annotations for annotation tools, to be corrected there and read again: turned boxes, angle in full.

A gaze's box is the turned square of its window. What is written here is read by the layout of the same name, and gives
the same gazes. Lines are those of `attend`; images that couldn't be read are left out.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
"""Of the canonical window: upper left first, then clockwise."""

Line = Mapping[str, Any]


def corners(u: Iterable[float]) -> list[tuple[float, float]]:
    """The corners of a gaze's window, pixels: its upper left first, then clockwise."""
    a, b, x, y = u
    return [(a * p - b * q + x, b * p + a * q + y) for p, q in CORNERS]


def cvat(lines: Iterable[Line], category: str) -> Iterator[str]:
    """CVAT's XML 1.1 for images, in parts: to be imported into a task that holds the same images.

    Args:
        lines: Of `attend`.
        category: Name of the kind of object; a label of the task.
    """
    yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
    yield f"  <meta><task><labels><label><name>{escape(category)}</name></label></labels></task></meta>\n"
    for number, line in enumerate(_read(lines)):
        size = f'width="{line["width"]}" height="{line["height"]}"'
        yield f'  <image id="{number}" name={quoteattr(line["image"])} {size}>\n'
        for gaze in line["gazes"]:
            a, b, x, y = gaze["u"]
            s, turn = math.hypot(a, b), math.degrees(math.atan2(b, a)) % 360
            sides = f'xtl="{x - s:.3f}" ytl="{y - s:.3f}" xbr="{x + s:.3f}" ybr="{y + s:.3f}" rotation="{turn:.3f}"'
            yield f'    <box label={quoteattr(category)} source="auto" occluded="0" z_order="0" {sides}></box>\n'
        yield "  </image>\n"
    yield "</annotations>\n"


def label_studio(lines: Iterable[Line], category: str) -> Iterator[dict[str, Any]]:
    """Label Studio's tasks with predictions, for a project with RectangleLabels `label` on an Image `image`.

    The images are named as the tool names files in local storage, below the folder that it serves.

    Args:
        lines: Of `attend`.
        category: Name of the kind of object; a label of the project.
    """
    for number, line in enumerate(_read(lines), start=1):
        width, height = line["width"], line["height"]
        results = []
        for place, gaze in enumerate(line["gazes"], start=1):
            a, b, _, _ = gaze["u"]
            side, (left, top) = 2 * math.hypot(a, b), corners(gaze["u"])[0]
            value = {
                "x": 100 * left / width,
                "y": 100 * top / height,
                "width": 100 * side / width,
                "height": 100 * side / height,
                "rotation": math.degrees(math.atan2(b, a)) % 360,
                "rectanglelabels": [category],
            }
            results.append(
                {
                    "id": f"{number}-{place}",
                    "type": "rectanglelabels",
                    "from_name": "label",
                    "to_name": "image",
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "score": gaze["probability"],
                    "value": value,
                }
            )
        prediction = {"model_version": "foveate", "result": results}
        address = f"/data/local-files/?d={quote(line['image'])}"
        yield {"id": number, "data": {"image": address}, "predictions": [prediction]}


def yolo_obb(line: Line) -> str:
    """The text of an image's label file: kind 0 and the four corners of each box, in shares of the picture."""
    rows = []
    for gaze in line["gazes"]:
        shares = (share for x, y in corners(gaze["u"]) for share in (x / line["width"], y / line["height"]))
        rows.append("0 " + " ".join(f"{share:.7f}" for share in shares))
    return "".join(f"{row}\n" for row in rows)


def _read(lines: Iterable[Line]) -> Iterator[Line]:
    return (line for line in lines if "error" not in line)
