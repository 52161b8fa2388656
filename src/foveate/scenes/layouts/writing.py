"""Gazes as other programs take them: COCO, tables, and pre-annotations for annotation tools.

Pre-annotations are to be corrected in the tool and read again: turned boxes, the angle known in full. A gaze's box is
the turned square of its window. What is written for a tool is read by the layout of the same name, and gives the same
gazes. Lines are those of `attend`; images that couldn't be read are left out of all but the table of images.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
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


def coco(
    lines: Iterable[Line],
    category: str,
    known: Mapping[str, tuple[int | str, str]] | None = None,
    categories: Mapping[str, int | str] | None = None,
) -> dict[str, Any]:
    """One COCO file, which pycocotools, FiftyOne and CVAT load.

    `bbox` is the gaze's box, `segmentation` the turned square, `rotation` its clockwise turn in degrees in [0, 360), as
    CVAT turns a box around its centre (it reads it among the `attributes`). `score` is the probability, as such files
    have it; `log_ratio` is the object's density beside the background's, nats.

    Args:
        lines: Of `attend`.
        category: Name of the kind of object.
        known: Id and `file_name` of images in the annotations that they come from, by the line's `image`: so results
            and annotations can be joined. The others are numbered after them.
        categories: Ids of kinds there, by name.
    """
    known, categories = known or {}, {category: 1} if not categories else dict(categories)
    numbers = _free({identity for identity, _ in known.values()})
    if category not in categories:
        categories[category] = next(_free(set(categories.values())))
    images, annotations = [], []
    for line in _read(lines):
        identity, name = known.get(line["image"]) or (next(numbers), line["image"])
        images.append({"id": identity, "file_name": name, "width": line["width"], "height": line["height"]})
        for gaze in line["gazes"]:
            kind = gaze.get("category", category)
            if kind not in categories:
                categories[kind] = next(_free(set(categories.values())))
            fields = {"id": len(annotations) + 1, "image_id": identity, "category_id": categories[kind]}
            annotations.append({**fields, **_annotation(gaze)})
    return {
        "info": {"description": f"{category}: gazes found by foveate"},
        "licenses": [],
        "categories": [{"id": each, "name": name, "supercategory": ""} for name, each in categories.items()],
        "images": images,
        "annotations": annotations,
    }


def _annotation(gaze: Mapping[str, Any]) -> dict[str, Any]:
    x0, y0, x1, y1 = gaze["box"]
    rotation = gaze["angle"] % 360.0
    return {
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "segmentation": [[part for corner in corners(gaze["u"]) for part in corner]],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "score": gaze["probability"],
        "log_ratio": gaze.get("log_ratio"),
        "rotation": rotation,
        "attributes": {"rotation": rotation},
        "u": list(gaze["u"]),
        "std": gaze["std"],
    }


def _free(taken: set[int | str]) -> Iterator[int]:
    """Numbers from 1 on that are above all that are taken."""
    return count(1 + max((each for each in taken if isinstance(each, int)), default=0))


GAZE_COLUMNS = (
    "image", "rank", "x", "y", "scale", "angle", "x0", "y0", "x1", "y1", "probability", "score", "log_ratio",
    "likeness", "std_a", "std_b", "std_x", "std_y", "inside", "crop", "category",
)  # fmt: skip
IMAGE_COLUMNS = (
    "image", "width", "height", "gazes", "probability", "p_none", "count", "count_low", "count_high", "error"
)  # fmt: skip


def gaze_rows(line: Line) -> Iterator[dict[str, Any]]:
    """A row a gaze, best first: place and half-side in pixels, angle in degrees, deviations of its four numbers."""
    for rank, gaze in enumerate(line.get("gazes", []), start=1):
        std = gaze.get("std") or [None] * 4
        row = {"image": line["image"], "rank": rank, "x": gaze["u"][2], "y": gaze["u"][3]}
        row |= dict(zip(("x0", "y0", "x1", "y1"), gaze["box"], strict=True))
        row |= dict(zip(("std_a", "std_b", "std_x", "std_y"), std, strict=True))
        yield row | {name: gaze[name] for name in GAZE_COLUMNS if name not in row and name in gaze}


def image_row(line: Line) -> dict[str, Any]:
    """The row of an image: how many gazes, the probability of the best, or why it could not be read."""
    if "error" in line:
        return {"image": line["image"], "error": line["error"]}
    row = {"image": line["image"], "width": line["width"], "height": line["height"], "gazes": len(line["gazes"])}
    row |= {"probability": line["gazes"][0]["probability"]} if line["gazes"] else {}
    row |= {"p_none": line["p_none"]} if "p_none" in line else {}
    return row | dict(zip(("count", "count_low", "count_high"), line.get("count", ()), strict=False))


def cvat(lines: Iterable[Line], category: str, others: Sequence[str] = ()) -> Iterator[str]:
    """CVAT's XML 1.1 for images, in parts: to be imported into a task that holds the same images and has the labels.

    `others` are further kinds, of gazes that name theirs.
    """
    labels = "".join(f"<label><name>{escape(name)}</name></label>" for name in (category, *others))
    yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
    yield f"  <meta><task><labels>{labels}</labels></task></meta>\n"
    for number, line in enumerate(_read(lines)):
        size = f'width="{line["width"]}" height="{line["height"]}"'
        yield f'  <image id="{number}" name={quoteattr(line["image"])} {size}>\n'
        for gaze in line["gazes"]:
            a, b, x, y = gaze["u"]
            s, turn = math.hypot(a, b), math.degrees(math.atan2(b, a)) % 360
            sides = f'xtl="{x - s:.3f}" ytl="{y - s:.3f}" xbr="{x + s:.3f}" ybr="{y + s:.3f}" rotation="{turn:.3f}"'
            label = quoteattr(gaze.get("category", category))
            yield f'    <box label={label} source="auto" occluded="0" z_order="0" {sides}></box>\n'
        yield "  </image>\n"
    yield "</annotations>\n"


def label_studio(lines: Iterable[Line], category: str) -> Iterator[dict[str, Any]]:
    """Label Studio's tasks with predictions, for a project with RectangleLabels `label` on an Image `image`.

    The images are named as the tool names files in local storage, below the folder that it serves.
    """
    for number, line in enumerate(_read(lines), start=1):
        width, height = line["width"], line["height"]
        results = []
        for place, gaze in enumerate(line["gazes"], start=1):
            a, b, _, _ = gaze["u"]
            side, (left, top) = 2 * math.hypot(a, b), corners(gaze["u"])[0]
            value = {
                "x": 100 * left / width, "y": 100 * top / height,
                "width": 100 * side / width, "height": 100 * side / height,
                "rotation": math.degrees(math.atan2(b, a)) % 360,
                "rectanglelabels": [gaze.get("category", category)],
            }  # fmt: skip
            results.append({
                "id": f"{number}-{place}", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
                "original_width": width, "original_height": height, "image_rotation": 0,
                "score": gaze["probability"], "value": value,
            })  # fmt: skip
        prediction = {"model_version": "foveate", "result": results}
        address = f"/data/local-files/?d={quote(line['image'])}"
        yield {"id": number, "data": {"image": address}, "predictions": [prediction]}


def yolo_obb(line: Line, kinds: Sequence[str] = ()) -> str:
    """The text of an image's label file: the kind's number and the four corners of each box, in shares of the picture.

    `kinds` are the names of several, from number 0 on; else all are 0.
    """
    rows = []
    for gaze in line["gazes"]:
        shares = (share for x, y in corners(gaze["u"]) for share in (x / line["width"], y / line["height"]))
        kind = kinds.index(gaze["category"]) if "category" in gaze else 0
        rows.append(f"{kind} " + " ".join(f"{share:.7f}" for share in shares))
    return "".join(f"{row}\n" for row in rows)


def _read(lines: Iterable[Line]) -> Iterator[Line]:
    return (line for line in lines if "error" not in line)
