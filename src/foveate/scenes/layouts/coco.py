"""COCO: one JSON file of images, categories and annotations, as nearly every annotation tool exports it.

Nothing of a file is trusted. What concerns the whole (no list of images, two pictures with one id) is a `BadInput`.
What concerns one annotation (NaN, a missing field, a box of no size) makes that one unusable.

The outline of an annotation is, in this order:

- its `bbox` [x, y, width, height], with a rotation in degrees beside it (`attributes.rotation` or `rotation`, as CVAT
  writes) turned clockwise about its centre; or Detectron2's [centre x, centre y, width, height, degrees
  counter-clockwise];
- where one polygon of four corners is a turned rectangle, that rectangle instead of the upright box around it;
- where there is no usable `bbox`, the polygons or the run-length mask of `segmentation` (`layouts.polygons`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from foveate.errors import BadInput
from foveate.scenes.layouts.keypoints import check_canonical
from foveate.scenes.layouts.periods import FULL, QUARTER_TURN
from foveate.scenes.layouts.polygons import of_segmentation, turned_rectangle
from foveate.scenes.layouts.shapes import Document, Entry, Outline, Unusable, number, shape_of, short, size_of

Annotation = Mapping[str, Any]
Identity = int | str

_YES = (1, True, "1", "true")


def is_coco(document: Any) -> bool:
    """Whether a JSON document looks like this layout."""
    return isinstance(document, dict) and "images" in document and bool({"annotations", "categories"} & document.keys())


def understand(document: Any, path: str, below: str = "") -> Document:
    """What a COCO file contains that is loaded; names of images in it are relative to the folder `below`."""
    if not isinstance(document, dict):
        raise BadInput(f"{path}: not COCO annotations (expected an object with images and annotations)")
    entries, declared = _images(document, path, below), _categories(document, path)
    names = [name for name, _ in declared.values()]
    identities = {name: identity for identity, (name, _) in declared.items()}
    info = document.get("info")
    points = info.get("canonical") if isinstance(info, dict) else None
    canonical = {} if points is None else check_canonical(points, f"{path}: info.canonical")
    told = Document("coco", path, list(entries.values()), names, identities, canonical)
    find, kinds = _Finder(entries), _Finder(declared)
    annotations = _entries(document, "annotations", path)
    lost = 0
    for annotation in annotations:
        entry = find(annotation.get("image_id"))
        if entry is None:
            lost += 1
            told.doubts.add("unlisted_annotations", _source(annotation), total=len(annotations))
            continue
        name, points = _category(annotation, kinds)
        shape = shape_of(name, _source(annotation), outline, annotation)
        shape.keypoints = keypoints_of(annotation, points)
        if annotation.get("iscrowd") in _YES:
            shape.kind = "crowd"
        elif annotation.get("ignore") in _YES:
            shape.kind = "unsure"
        entry.shapes.append(shape)
        entry.annotated = True
    if 2 * lost > len(annotations):
        raise BadInput(f"{path}: {lost} of {len(annotations)} annotations are of images that it does not list")
    return told


def outline(annotation: Annotation) -> tuple[Outline, int]:
    """The rectangle of an annotation and how far its angle is known; see the module's text. `Unusable` where there is
    none that is whole, finite and of positive size."""
    box, segmentation = annotation.get("bbox"), annotation.get("segmentation")
    if box is None and not segmentation:
        keypoints = "" if annotation.get("keypoints") else "keypoints, "
        raise Unusable(f"it has neither {keypoints}bbox nor segmentation")
    try:
        found = of_box(annotation)
    except Unusable:
        if not segmentation:
            raise
        return of_segmentation(segmentation)
    told = _rotation(annotation) is not None or len(box or ()) == 5
    if not told and (turned := turned_rectangle(segmentation)) is not None:
        return turned, QUARTER_TURN
    return found, FULL


def of_box(annotation: Annotation) -> Outline:
    """The rectangle of `bbox`, turned where the annotation says so; raises as `outline` does."""
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) not in (4, 5):
        raise Unusable(f"bbox {short(box)} is not four numbers")
    values = [number(value, "bbox") for value in box]
    x, y, width, height = values[:4]
    if len(values) == 5:
        turn = -math.radians(values[4])
    else:
        x, y, turn = x + width / 2, y + height / 2, math.radians(_rotation(annotation) or 0.0)
    return Outline.turned(x, y, width, height, turn).with_area(f"bbox {short(box)}")


def keypoints_of(annotation: Annotation, names: Sequence[str]) -> dict[str, tuple[float, float]] | str | None:
    """Labelled keypoints (visibility 1 or 2) by name, or by number from 1 on where the category names none; in words
    why they can't be used; None where there are none."""
    told = annotation.get("keypoints")
    if told is None or told == []:
        return None
    if not isinstance(told, list) or len(told) % 3:
        return "keypoints are not x, y, v three by three"
    if names and len(told) != 3 * len(names):
        return f"it has {len(told) // 3} keypoints where its category names {len(names)}"
    found = {}
    try:
        for at in range(0, len(told), 3):
            if number(told[at + 2], "keypoints") > 0:
                name = names[at // 3] if names else str(at // 3 + 1)
                found[name] = (number(told[at], "keypoints"), number(told[at + 1], "keypoints"))
    except Unusable as reason:
        return str(reason)
    return found


def _rotation(annotation: Annotation) -> float | None:
    attributes = annotation.get("attributes")
    told = attributes.get("rotation") if isinstance(attributes, dict) else None
    told = annotation.get("rotation") if told is None else told
    return None if told is None else number(told, "rotation")


def _source(annotation: Annotation) -> str:
    return f"id {short(annotation.get('id'))}"


def _entries(document: dict, key: str, path: str, required: bool = False) -> list[dict]:
    found = document.get(key)
    if found is None and not required:
        return []
    if not isinstance(found, list):
        raise BadInput(f"{path}: {key} is not a list")
    for index, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise BadInput(f"{path}: {key}[{index}] is not an object")
    return found


def _id(value: Any) -> Identity | None:
    """An id as it stands: a whole number, also where it is written as 7.0, or a text; None for what is no id."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


class _Finder:
    """Finds what an id refers to: text ids are text, "01" is not "1"; where no other is meant, "7" is the number 7."""

    def __init__(self, known: Mapping[Identity, Any]):
        self._known = known
        self._by_text: dict[str, Any] = {}
        for identity, thing in known.items():
            self._by_text.setdefault(str(identity).strip(), thing)

    def __call__(self, value: Any) -> Any:
        identity = _id(value)
        if identity is None:
            return None
        return self._known[identity] if identity in self._known else self._by_text.get(str(identity).strip())

    def only(self) -> Any:
        """What is known if it is one thing alone, else None."""
        return next(iter(self._known.values())) if len(self._known) == 1 else None


def _images(document: dict, path: str, below: str) -> dict[Identity, Entry]:
    images: dict[Identity, Entry] = {}
    for index, entry in enumerate(_entries(document, "images", path, required=True)):
        identity, name = _id(entry.get("id")), entry.get("file_name")
        if identity is None:
            raise BadInput(f"{path}: images[{index}] has no usable id ({short(entry.get('id'))})")
        if not isinstance(name, str) or not name:
            raise BadInput(f"{path}: images[{index}] has no file_name")
        other = images.get(identity)
        if other is not None and other.file_name != name:
            raise BadInput(f"{path}: two images have the id {identity}: {other.file_name} and {name}")
        size = size_of(entry.get("width"), entry.get("height"))
        images[identity] = Entry(name, size, annotated=False, below=below, identity=identity)
    return images


def _categories(document: dict, path: str) -> dict[Identity, tuple[str, tuple[str, ...]]]:
    """Name and names of keypoints of every category, by its id."""
    categories: dict[Identity, tuple[str, tuple[str, ...]]] = {}
    for index, entry in enumerate(_entries(document, "categories", path)):
        identity, name, keypoints = _id(entry.get("id")), entry.get("name"), entry.get("keypoints") or []
        if identity is None:
            raise BadInput(f"{path}: categories[{index}] has no usable id")
        if not isinstance(keypoints, list) or not all(isinstance(point, str) for point in keypoints):
            raise BadInput(f"{path}: the keypoints of categories[{index}] are not names")
        categories[identity] = (name if isinstance(name, str) and name else str(identity), tuple(keypoints))
    return categories


def _category(annotation: Annotation, kinds: _Finder) -> tuple[str, tuple[str, ...]]:
    """Name and names of keypoints of an annotation's category; of the only one where it names none."""
    told = annotation.get("category_id")
    if (found := kinds(told)) is not None:
        return found
    identity = _id(told)
    return (kinds.only() or (f"unnamed {short(told)}", ())) if identity is None else (str(identity), ())
