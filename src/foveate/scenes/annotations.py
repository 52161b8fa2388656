"""From one annotation (keypoints, a box, a turned box, polygons) to a gaze, or to the reason why it tells none."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from foveate.scenes import gaze

Annotation = Mapping[str, Any]
Points = Mapping[str, tuple[float, float]]

MAX_COORDINATE = 1e6
"""Coordinates beyond this many pixels belong to no picture."""

MIN_HALF_SIDE = 0.5
"""A window whose half-side is less than this many pixels shows nothing; coordinates that are shares of the picture
end here."""


class Unusable(ValueError):
    """One annotation tells no gaze; the text says why."""


@dataclass(frozen=True)
class Outline:
    """A rectangle: centre, sides (pixels) and the angle by which it is turned (radians, clockwise on the screen)."""

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0

    def inscribed(self) -> np.ndarray:
        """The gaze of the largest centred square inside, turned as the rectangle is."""
        half_side = min(self.width, self.height) / 2
        return np.array([half_side * math.cos(self.angle), half_side * math.sin(self.angle), self.x, self.y])

    def upright(self) -> tuple[float, float, float, float]:
        """The upright box (x0, y0, x1, y1) around it."""
        cosine, sine = abs(math.cos(self.angle)), abs(math.sin(self.angle))
        half_width = (self.width * cosine + self.height * sine) / 2
        half_height = (self.width * sine + self.height * cosine) / 2
        return self.x - half_width, self.y - half_height, self.x + half_width, self.y + half_height


@dataclass
class Found:
    """The gaze of every annotation, in order.

    Attributes:
        gazes: [4] each, or None for an annotation that tells none.
        reasons: Why, of those that tell none: (annotation's id as text, reason).
        notes: What a person should know about how the annotations were read.
    """

    gazes: list[np.ndarray | None]
    reasons: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def to_gazes(annotations: Sequence[Annotation], keypoint_names: Sequence[str], canonical: Points) -> Found:
    """The gazes of annotations of one kind: by their keypoints where they have any with known canonical points, else
    by boxes.

    Where keypoints are used, an annotation with only a box tells no gaze, since the two windows need not agree.

    Args:
        annotations: COCO annotations, no crowds.
        keypoint_names: The names of their keypoints, in order.
        canonical: Where named keypoints lie in the canonical window.
    """
    with_points = any(_has_keypoints(annotation) for annotation in annotations)
    known = [name in canonical for name in keypoint_names]
    if with_points and sum(known) >= 2:
        return _by_keypoints(annotations, keypoint_names, canonical)
    found = _by_boxes(annotations)
    if with_points and any(u is not None for u in found.gazes):
        named = ", ".join(keypoint_names) if keypoint_names else "without names"
        found.notes.append(f"no canonical points are known for the keypoints ({named}): the boxes are used")
    return found


def outline(annotation: Annotation) -> Outline:
    """The rectangle of an annotation.

    A `bbox` of four numbers is COCO's [x, y, width, height]; a rotation in degrees beside it (`attributes.rotation` or
    `rotation`, as CVAT writes) turns it clockwise about its centre. One of five numbers is Detectron2's
    [centre x, centre y, width, height, degrees counter-clockwise]. Without `bbox`, the upright box around the polygons
    of `segmentation`.

    Raises:
        Unusable: None of these is there, whole, finite and of positive size.
    """
    box = annotation.get("bbox")
    if box is None:
        return _around_polygons(annotation.get("segmentation"))
    if not isinstance(box, list) or len(box) not in (4, 5):
        raise Unusable(f"bbox {_short(box)} is not four numbers")
    values = [_number(value, "bbox") for value in box]
    if len(values) == 5:
        rectangle = Outline(*values[:4], angle=-math.radians(values[4]))
    else:
        x, y, width, height = values
        rectangle = Outline(x + width / 2, y + height / 2, width, height, math.radians(_rotation(annotation)))
    if not (rectangle.width > 0 and rectangle.height > 0):
        raise Unusable(f"bbox {_short(box)} has no area")
    return rectangle


def region_or_all(annotation: Annotation) -> tuple[float, float, float, float] | None:
    """The upright box of an annotation that is neither object nor background; None, the whole picture, if nothing
    tells it."""
    try:
        return outline(annotation).upright()
    except Unusable:
        pass
    try:
        points = [(x, y) for x, y, visible in _triples(annotation.get("keypoints"), None) if visible]
    except Unusable:
        return None
    if len(points) < 2:
        return None
    x, y = np.array(points).T
    margin = max(np.ptp(x), np.ptp(y)) / 2  # the object is larger than its keypoints' box
    return float(x.min() - margin), float(y.min() - margin), float(x.max() + margin), float(y.max() + margin)


def _by_boxes(annotations: Sequence[Annotation]) -> Found:
    found = Found([])
    for annotation in annotations:
        try:
            u = outline(annotation).inscribed()
            _refuse_small(math.hypot(u[0], u[1]))
            found.gazes.append(u)
        except Unusable as reason:
            found.gazes.append(None)
            found.reasons.append((_short(annotation.get("id")), str(reason)))
    boxes = [annotation.get("bbox") for annotation in annotations]
    turned = sum(isinstance(box, list) and len(box) == 5 for box in boxes)
    if turned:
        found.notes.append(
            f"{turned} boxes of five numbers: read as centre x, centre y, width, height, degrees counter-clockwise"
        )
    return found


def _by_keypoints(annotations: Sequence[Annotation], keypoint_names: Sequence[str], canonical: Points) -> Found:
    """Weighted least squares (`gaze.from_keypoints`), weight 1 for labelled points, seen or occluded, and 0 for the
    others."""
    used = [index for index, name in enumerate(keypoint_names) if name in canonical]
    targets = torch.tensor([canonical[keypoint_names[index]] for index in used], dtype=torch.float64)
    points = np.zeros((len(annotations), len(used), 2))
    weights = np.zeros((len(annotations), len(used)))
    reasons: dict[int, str] = {}
    for row, annotation in enumerate(annotations):
        try:
            triples = _triples(annotation.get("keypoints"), len(keypoint_names))
        except Unusable as reason:
            reasons[row] = str(reason)
            continue
        for column, index in enumerate(used):
            x, y, visible = triples[index]
            points[row, column] = x, y
            weights[row, column] = 1.0 if visible else 0.0
        if len({tuple(targets[column].tolist()) for column in np.flatnonzero(weights[row])}) < 2:
            reasons[row] = "fewer than two keypoints are labelled"
            weights[row] = 1.0
    weights[~weights.any(1)] = 1.0
    gazes = gaze.from_keypoints(targets, torch.from_numpy(points), torch.from_numpy(weights))
    found = Found([])
    for row, (annotation, u) in enumerate(zip(annotations, gazes.numpy(), strict=True)):
        if row not in reasons and not math.hypot(u[0], u[1]) >= MIN_HALF_SIDE:
            reasons[row] = "its keypoints lie on one point"
        found.gazes.append(None if row in reasons else u)
        if row in reasons:
            found.reasons.append((_short(annotation.get("id")), reasons[row]))
    return found


def _has_keypoints(annotation: Annotation) -> bool:
    keypoints = annotation.get("keypoints")
    return isinstance(keypoints, list) and len(keypoints) > 0


def _triples(keypoints: Any, count: int | None) -> list[tuple[float, float, bool]]:
    """Keypoints as (x, y, labelled)."""
    if not isinstance(keypoints, list) or not keypoints or len(keypoints) % 3:
        raise Unusable("it has no keypoints" if not keypoints else "keypoints are not x, y, v three by three")
    if count is not None and len(keypoints) != 3 * count:
        raise Unusable(f"it has {len(keypoints) // 3} keypoints where its category names {count}")
    triples = []
    for at in range(0, len(keypoints), 3):
        labelled = _number(keypoints[at + 2], "keypoints") > 0
        x, y = (_number(value, "keypoints") for value in keypoints[at : at + 2]) if labelled else (0.0, 0.0)
        triples.append((x, y, labelled))
    return triples


def _around_polygons(segmentation: Any) -> Outline:
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        raise Unusable("it has neither keypoints nor bbox")
    even = [polygon[: len(polygon) // 2 * 2] for polygon in segmentation]
    numbers = [_number(value, "segmentation") for polygon in even for value in polygon]
    if len(numbers) < 6:
        raise Unusable("it has neither keypoints nor bbox")
    x, y = np.array(numbers).reshape(-1, 2).T
    width, height = float(np.ptp(x)), float(np.ptp(y))
    if not (width > 0 and height > 0):
        raise Unusable("its polygons have no area")
    return Outline(float(x.min()) + width / 2, float(y.min()) + height / 2, width, height)


def _rotation(annotation: Annotation) -> float:
    attributes = annotation.get("attributes")
    told = attributes.get("rotation") if isinstance(attributes, dict) else None
    told = annotation.get("rotation") if told is None else told
    return 0.0 if told is None else _number(told, "rotation")


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_COORDINATE:
        raise Unusable(f"{what} holds {_short(value)}")
    return float(value)


def _refuse_small(half_side: float) -> None:
    if not half_side >= MIN_HALF_SIDE:
        raise Unusable("its box is smaller than a pixel (are the coordinates shares of the picture?)")


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
