"""annotations.json: COCO's images, categories and annotations, checked and brought to gazes.

Nothing of a file is trusted. What concerns the whole (no JSON, no list of images, two pictures with one id) is a
`BadInput`. What concerns one annotation (NaN, a missing field, a box of no size, keypoints that tell no gaze) makes
that one unusable: it is counted and named, and where it lies becomes a region that is neither object nor background.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np

from foveate.errors import BadInput
from foveate.scenes import annotations as objects
from foveate.scenes.names import is_file

FACE_POINTS: dict[str, tuple[float, float]] = {
    "eye_left_of_image": (-0.42, -0.38),
    "eye_right_of_image": (0.42, -0.38),
    "mouth_centre": (0.0, 0.52),
}
"""Where named keypoints lie in the canonical window [-1, 1]^2, unless the file's info.canonical or the caller says
otherwise."""

_YES = (1, True, "1", "true")


@dataclass(frozen=True)
class ImageEntry:
    """One entry of `images`: its id, its name in the file, and the size that the annotations speak of, if it is
    told."""

    id: int | str
    file_name: str
    size: tuple[float, float] | None


@dataclass
class Marked:
    """What is annotated in one picture, in the pixels that the annotations speak of.

    Attributes:
        gazes: The objects, [4] each.
        ignore: Boxes (x0, y0, x1, y1) that are neither object nor background; None stands for the whole picture.
    """

    gazes: list[np.ndarray] = field(default_factory=list)
    ignore: list[tuple[float, float, float, float] | None] = field(default_factory=list)


@dataclass
class Annotations:
    """A file of annotations, understood.

    Attributes:
        images: Its entries, in the file's order.
        marked: By image id.
        category: Name of the one kind of object that is used, None if nothing is annotated.
        problems: What was wrong, a line each.
    """

    images: list[ImageEntry]
    marked: dict[int | str, Marked]
    category: str | None
    problems: list[str]


@dataclass(frozen=True)
class _Category:
    name: str
    keypoints: tuple[str, ...]


def read_annotations(
    path: str | os.PathLike,
    category: str | None = None,
    canonical: Mapping[str, tuple[float, float]] | None = None,
    usual: str | None = None,
) -> Annotations:
    """Reads annotations.json.

    Args:
        path: The file.
        category: Name of the kind of object to use, if several are annotated.
        canonical: Where named keypoints lie in the canonical window; overrides the file's `info.canonical`, which
            overrides `FACE_POINTS`.
        usual: Name of the kind to use if several are annotated, this one among them, and `category` names none.

    Raises:
        BadInput: The file as a whole can't be used, several kinds are annotated and none is chosen, or most of the
            annotations are unusable.
    """
    path = os.fspath(path)
    document = _load(path)
    images = _images(document, path)
    categories = _categories(document, path)
    annotations, problems = _of_images(document, images, path)
    by_category: dict[str, list[dict]] = {}
    crowds: list[tuple[str, dict]] = []
    for annotation in annotations:
        name = _category_name(annotation, categories)
        if annotation.get("iscrowd") in _YES or annotation.get("ignore") in _YES:
            crowds.append((name, annotation))
        else:
            by_category.setdefault(name, []).append(annotation)
    chosen = _choose(by_category, categories, category, usual, path)
    marked = {entry.id: Marked() for entry in images}
    for name, annotation in crowds:
        if chosen is None or name == chosen or name not in {kind.name for kind in categories.values()}:
            marked[annotation["image_id"]].ignore.append(objects.region_or_all(annotation))
    names_of_points = {kind.name: kind.keypoints for kind in categories.values()}.get(chosen or "", ())
    points = {**FACE_POINTS, **_canonical(document, path), **(canonical or {})}
    found = objects.to_gazes(by_category.get(chosen or "", []), names_of_points, points)
    for annotation, u in zip(by_category.get(chosen or "", []), found.gazes, strict=True):
        here = marked[annotation["image_id"]]
        if u is None:
            here.ignore.append(objects.region_or_all(annotation))
        else:
            here.gazes.append(u)
    _refuse_mostly_unusable(found, path)
    return Annotations(images, marked, chosen, problems + found.notes)


def _load(path: str) -> dict:
    if not is_file(path):
        raise BadInput(f"{path}: not a file that can be read")
    try:
        with open(path, "rb") as handle:
            document = json.loads(handle.read())
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None
    except RecursionError:
        raise BadInput(f"{path}: nested too deeply") from None
    except ValueError as error:  # also what is not UTF-8, and numbers of thousands of digits
        raise BadInput(f"{path}: not JSON ({str(error).splitlines()[0][:200]})") from None
    if not isinstance(document, dict):
        raise BadInput(f"{path}: not COCO annotations (an object with images and annotations is expected)")
    return document


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


def _id(value: Any) -> int | str | None:
    """An id, the same whether written as 7, 7.0 or "7"; None for what is no id."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _images(document: dict, path: str) -> list[ImageEntry]:
    images: dict[int | str, ImageEntry] = {}
    for index, entry in enumerate(_entries(document, "images", path, required=True)):
        identity, name = _id(entry.get("id")), entry.get("file_name")
        if identity is None:
            raise BadInput(f"{path}: images[{index}] has no usable id ({str(entry.get('id'))[:40]})")
        if not isinstance(name, str) or not name:
            raise BadInput(f"{path}: images[{index}] has no file_name")
        other = images.get(identity)
        if other is not None and other.file_name != name:
            raise BadInput(f"{path}: two images have the id {identity}: {other.file_name} and {name}")
        images[identity] = ImageEntry(identity, name, _size(entry))
    return list(images.values())


def _size(entry: dict) -> tuple[float, float] | None:
    width, height = entry.get("width"), entry.get("height")
    return (float(width), float(height)) if _is_side(width) and _is_side(height) else None


def _is_side(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 1e6


def _categories(document: dict, path: str) -> dict[int | str, _Category]:
    categories: dict[int | str, _Category] = {}
    for index, entry in enumerate(_entries(document, "categories", path)):
        identity, name, keypoints = _id(entry.get("id")), entry.get("name"), entry.get("keypoints") or []
        if identity is None:
            raise BadInput(f"{path}: categories[{index}] has no usable id")
        if not isinstance(keypoints, list) or not all(isinstance(point, str) for point in keypoints):
            raise BadInput(f"{path}: the keypoints of categories[{index}] are not names")
        categories[identity] = _Category(name if isinstance(name, str) and name else str(identity), tuple(keypoints))
    return categories


def _canonical(document: dict, path: str) -> dict[str, tuple[float, float]]:
    info = document.get("info")
    told = info.get("canonical") if isinstance(info, dict) else None
    return {} if told is None else check_canonical(told, f"{path}: info.canonical")


def check_canonical(points: Any, what: str) -> dict[str, tuple[float, float]]:
    """Canonical points by keypoint name, checked: {name: (x, y)}, all finite.

    Raises:
        BadInput: It is something else; the text begins with `what`.
    """
    if not isinstance(points, Mapping):
        raise BadInput(f"{what} is not an object of names with points")
    for name, point in points.items():
        pair = isinstance(point, list | tuple) and len(point) == 2
        if not pair or not all(isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < 1e3 for x in point):
            raise BadInput(f"{what}: {name} is not a point (x, y)")
    return {str(name): (float(point[0]), float(point[1])) for name, point in points.items()}


def _of_images(document: dict, images: list[ImageEntry], path: str) -> tuple[list[dict], list[str]]:
    """The annotations of known images, with `image_id` brought to one form, and what is to be said of the others."""
    known = {entry.id for entry in images}
    annotations = _entries(document, "annotations", path)
    kept = [{**each, "image_id": _id(each.get("image_id"))} for each in annotations]
    kept = [each for each in kept if each["image_id"] in known]
    lost = len(annotations) - len(kept)
    if 2 * lost > len(annotations):
        raise BadInput(f"{path}: {lost} of {len(annotations)} annotations are of images that it does not list")
    return kept, [f"{lost} annotations are of images that are not listed"] if lost else []


def _category_name(annotation: dict, categories: dict[int | str, _Category]) -> str:
    identity = _id(annotation.get("category_id"))
    if identity in categories:
        return categories[identity].name
    if identity is None and len(categories) == 1:
        return next(iter(categories.values())).name
    return f"unnamed {annotation.get('category_id')}" if identity is None else str(identity)


def _choose(
    by_category: dict[str, list[dict]], categories: dict, category: str | None, usual: str | None, path: str
) -> str | None:
    """The kind of object to use: the one chosen, or the only one that is annotated, or of several the usual one; unused
    categories do not count."""
    counted = ", ".join(f"{name} ({len(by_category[name])})" for name in sorted(by_category))
    if category is not None:
        if category in by_category or category in {kind.name for kind in categories.values()}:
            return category
        raise BadInput(f"{path}: nothing is called {category!r}; annotated are: {counted or 'none'}")
    if len(by_category) > 1 and usual in by_category:
        return usual
    if len(by_category) > 1:
        raise BadInput(f"{path}: several kinds of object are annotated, choose one category: {counted}")
    return next(iter(by_category), None)


def _refuse_mostly_unusable(found: objects.Found, path: str) -> None:
    total, bad = len(found.gazes), len(found.reasons)
    if bad == 0:
        return
    identity, reason = found.reasons[0]
    if 2 * bad > total:
        raise BadInput(f"{path}: {bad} of {total} annotations tell no gaze; the first, id {identity}: {reason}")
    named = "; ".join(f"id {which}: {why}" for which, why in found.reasons[:3])
    more = f"; and {bad - 3} more" if bad > 3 else ""
    found.notes.append(f"{bad} of {total} annotations tell no gaze, their regions are left out ({named}{more})")
