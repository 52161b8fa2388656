"""Label Studio: one JSON file, a list of tasks (JSON) or of their results (JSON-MIN).

Coordinates are percent of the picture, whose size each result states. Rectangles are turned in degrees clockwise about
their upper left corner, ellipses about their centre: in full. Brush strokes are masks in the tool's own run-length
form. Key points whose `parentID` is a rectangle are that object's keypoints, named by their labels.

Uploaded pictures are called `/data/upload/1/0a1b2c3d-name.jpg`, where eight digits and a dash stand before the name
that the file had: it is looked for with and without them. Names in cloud storage or on disk (`?d=folder/name.jpg`) are
looked for by their path. A task without a finished annotation is not annotated; one whose annotation is empty is empty.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from foveate.errors import BadInput
from foveate.scenes.layouts.periods import FULL
from foveate.scenes.layouts.polygons import outline_of_cells, outline_of_ellipse, outline_of_polygons, ring_of_pairs
from foveate.scenes.layouts.shapes import Document, Entry, Outline, Shape, Unusable, number, short, size_of, with_points

_SUFFIX = re.compile(r"\.(jpe?g|png|gif|webp|tiff?|bmp|avif|heic|jp2|ppm)([?#].*)?$", re.IGNORECASE)
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
MAX_MASK = 2**26  # pixels of the largest mask that is decoded

Fields = Mapping[str, Any]
Size = tuple[float, float]


def is_export(document: Any) -> bool:
    """Whether a JSON document looks like one, in either form."""
    return is_tasks(document) or is_min(document)


def is_tasks(document: Any) -> bool:
    """Whether a JSON document looks like a list of tasks."""
    listed = isinstance(document, list) and all(isinstance(task, dict) for task in document)
    if not listed or not all(isinstance(task.get("data"), dict) for task in document):
        return False
    return any({"annotations", "completions", "predictions", "result"} & task.keys() for task in document)


def is_min(document: Any) -> bool:
    """Whether a JSON document looks like a list of results: each names a picture, and some hold lists of regions."""
    if not isinstance(document, list) or not document or not all(isinstance(item, dict) for item in document):
        return False
    named = all(_image(item) is not None for item in document)
    return named and any("original_width" in region for item in document for _, region in _regions(item))


def understand(document: Any, path: str, below: str = "") -> Document:
    """What an export (`is_export`) contains that is loaded; names in it are relative to `below`."""
    told = Document("label-studio", path)
    if is_tasks(document):
        for count, task in enumerate(document, start=1):
            name = _image(task["data"])
            if name is None:
                raise BadInput(f"{path}: task {short(task.get('id', count))} names no image")
            told.entries.append(_entry(name, below, *_finished(task)))
    else:
        for item in document:
            regions = enumerate(_regions(item), start=1)
            results: list[Fields] = [{**region, "id": f"{key} {number}"} for number, (key, region) in regions]
            told.entries.append(_entry(_image(item) or "", below, results, True))
    return told


def _image(fields: Fields) -> str | None:
    """The picture that a task names: under `image` or its like, else the first value with a picture's suffix."""
    ordered = sorted(fields.items(), key=lambda pair: pair[0] not in ("image", "img", "picture", "photo"))
    found = [value for key, value in ordered if isinstance(value, str) and (_SUFFIX.search(value) or key == "image")]
    return found[0] if found and found[0] else None


def _regions(item: Fields) -> Iterator[tuple[str, Fields]]:
    for key, value in item.items():
        if isinstance(value, list):
            yield from ((key, region) for region in value if isinstance(region, dict))


def _finished(task: Fields) -> tuple[list[Fields], bool]:
    """The results of all finished annotations of a task, and whether there is one."""
    told = task.get("annotations", task.get("completions"))
    done = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
    done = [each for each in done if not each.get("was_cancelled") and isinstance(each.get("result"), list)]
    found: list[Fields] = []
    for before, each in enumerate(done):  # one annotator may begin with another's regions, under the same names
        mark = f"{before + 1}/" if before else ""
        for result in each["result"]:
            if isinstance(result, dict):
                named = [name for name in ("id", "parentID") if isinstance(result.get(name), str)]
                found.append({**result, **{name: f"{mark}{result[name]}" for name in named}})
    return found, bool(done)


def _entry(name: str, below: str, results: list[Fields], annotated: bool) -> Entry:
    """One picture, with its results in pixels of the size that they state."""
    entry = Entry(_local(name), annotated=annotated, below=below)
    base = entry.file_name.rpartition("/")[2]
    if _UPLOADED.match(base):
        entry.other_name = _UPLOADED.sub("", base)
    regions: dict[str, dict[str, Any]] = {}
    for count, result in enumerate(results, start=1):
        region = regions.setdefault(str(result.get("id", count))[:40], {})
        value = result.get("value")
        region |= {**result, **(value if isinstance(value, dict) else {})}  # a label may be a result of its own
    points: dict[str, dict[str, tuple[float, float]]] = {}
    shapes: dict[str, Shape] = {}
    for identity, region in regions.items():
        size = size_of(region.get("original_width"), region.get("original_height"))
        entry.size = entry.size or size
        label, kind = _label(region)
        if kind is None:
            continue  # a choice, a text or a relation says nothing of a place
        shape = Shape(label, f"region {identity}", "")
        try:
            if size is None:
                raise Unusable("it gives no size of the image")
            if region.get("image_rotation"):
                raise Unusable("the image was rotated in the tool")
            if kind == "keypoint":
                owner = str(region.get("parentID"))[:40]
                points.setdefault(owner, {})[label] = _shares(region, size)
                continue
            shape.outline, shape.period = _outline(kind, region, size)
        except Unusable as reason:
            shape.outline = str(reason)
        shapes[identity] = shape
    entry.shapes = with_points(list(shapes.values()), shapes, points)
    return entry


def _local(name: str) -> str:
    """The path within a name: of `/data/local-files/?d=path` and of addresses with the path as a parameter."""
    try:
        told = parse_qs(urlsplit(name).query)
    except ValueError:
        return name
    return (told.get("d") or told.get("fileuri") or [name])[0]


_KINDS = ("rectangle", "ellipse", "polygon", "brush", "keypoint")
_BY_FIELD = {"radiusX": "ellipse", "rle": "brush", "points": "polygon", "height": "rectangle"}


def _label(region: Fields) -> tuple[str, str | None]:
    """The label of a region, and what it is; None for what has no place in the picture."""
    label = next((v for k, v in region.items() if k.endswith("labels") and isinstance(v, list) and v), None)
    name = label[0] if label and isinstance(label[0], str) and label[0] else "object"
    told = str(region.get("type", ""))
    kind = next((kind for kind in _KINDS if told.startswith(kind) or f"{kind}labels" in region), None)
    return name, kind or next((kind for field, kind in _BY_FIELD.items() if field in region), None)


def _outline(kind: str, region: Fields, size: Size) -> tuple[Outline, int]:
    turn = math.radians(number(region.get("rotation") or 0, "rotation"))
    if kind == "polygon":
        return outline_of_polygons([ring_of_pairs(region.get("points")) * size / 100])
    if kind == "brush":
        if region.get("format", "rle") != "rle":
            raise Unusable(f"its mask is in the form {short(region.get('format'))}")
        return _of_brush(region.get("rle"), int(size[1]), int(size[0]))
    x, y = _shares(region, size)
    width, height = _shares(region, size, ("radiusX", "radiusY") if kind == "ellipse" else ("width", "height"))
    if kind == "ellipse":
        return outline_of_ellipse(x, y, width, height, turn)
    cosine, sine = math.cos(turn), math.sin(turn)
    x, y = x + (cosine * width - sine * height) / 2, y + (sine * width + cosine * height) / 2
    return Outline(x, y, width, height, cosine, sine).with_area("its rectangle"), FULL


def _shares(region: Fields, size: Size, names: tuple[str, str] = ("x", "y")) -> tuple[float, float]:
    """Two numbers, percent of the picture's sides, in pixels."""
    x, y = (number(region.get(name), name) * side / 100 for name, side in zip(names, size, strict=True))
    return x, y


def _of_brush(data: Any, height: int, width: int) -> tuple[Outline, int]:
    """A mask in the form of thi.ng/rle-pack: the fourth of four channels says whether a pixel is inside."""
    if not isinstance(data, list) or not all(isinstance(byte, int) and 0 <= byte < 256 for byte in data):
        raise Unusable("its mask can't be read")
    if width * height > MAX_MASK:
        raise Unusable(f"its mask of {width} x {height} is too large")
    cells = unpack(bytes(data), 4 * width * height)[3::4] > 0
    if len(cells) != width * height:
        raise Unusable(f"its mask is of another size than {width} x {height}")
    return outline_of_cells(cells, height, width)


def unpack(data: bytes, most: int) -> np.ndarray:
    """Values packed by thi.ng/rle-pack.

    How many (32 bits), bits a value less one (5), four sizes of run lengths less one (4 each); then runs, each with a
    bit that says whether one value is repeated or several follow, two bits that say which size its length less one has,
    the length, and the value or the values. `Unusable` where the data end too early, or hold more values than `most`.
    """
    at = 0

    def take(count: int) -> int:
        nonlocal at
        begin, at = at, at + count
        if at > 8 * len(data):
            raise Unusable("its mask ends too early")
        end = (at + 7) // 8
        return (int.from_bytes(data[begin // 8 : end], "big") >> (8 * end - at)) & ((1 << count) - 1)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    if total > most or word > 8:
        raise Unusable("its mask can't be read")
    values = np.zeros(total, dtype=np.uint8)
    place = 0
    while place < total:
        repeated, length = take(1), take(sizes[take(2)]) + 1
        end = min(place + length, total)
        if repeated:
            values[place:end] = take(word)
        else:
            values[place:end] = [take(word) for _ in range(end - place)]
        place = end
    return values
