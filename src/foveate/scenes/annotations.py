"""One record for each annotation, whatever file it came from: later work reads these and parses nothing again.

An object's window, its gaze, is made in one of two ways for a whole folder: from keypoints, by least squares, where
annotations have some whose canonical points are known; else from outlines, as the square inscribed in each.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from foveate.errors import BadInput
from foveate.scenes.layouts.keypoints import Points, fit
from foveate.scenes.layouts.periods import FULL, HALF_TURN
from foveate.scenes.layouts.shapes import Document, Frame, Kind, Outline, Shape

FACE_POINTS: dict[str, tuple[float, float]] = {
    "eye_left_of_image": (-0.42, -0.38),
    "eye_right_of_image": (0.42, -0.38),
    "mouth_centre": (0.0, 0.52),
}
"""Where named keypoints lie in the canonical window [-1, 1]^2, unless the file's info.canonical or the caller says
otherwise."""

MIN_HALF_SIDE = 0.5
"""A window whose half-side is less than this many pixels shows nothing, as where coordinates are shares."""

MISFIT = 0.5  # share of the keypoints' variance that a gaze may leave unexplained. A face in full profile leaves 0.4.

_REMEDY = " (tools that export brush masks mark every one so: where each is one object, set iscrowd to 0)"

Side = Literal["left", "top", "right", "bottom"]
SIDES: tuple[Side, ...] = ("left", "top", "right", "bottom")


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotation of one image, in pixels of the upright picture."""

    gaze: Frame | None  # (a, b, tx, ty) of an object's window; None for a region that is neither object nor background
    # how far the gaze's angle is known: 360 in full, 180 or 90 up to turns by as many degrees, 0 not at all
    angle_period: int
    extent: Outline | None  # the rectangle that was drawn, or that holds what was; None stands for the whole picture
    drawn: bool  # whether it was; it is a guess around keypoints otherwise
    # sides of the picture at which the extent ends because the picture does. (Before it is known where in the
    # picture it lies: those at which it may.)
    cut: tuple[Side, ...]
    kind: Kind  # an object; a crowd of objects that are not separated; or unsure (can't be used, marked as difficult)
    source: str  # which annotation of its file it is, for people

    def moved(self, frame: Frame) -> "Annotation":
        """The same in the pixels of another picture, to which a frame carries those of this one."""
        gaze = None if self.gaze is None else compose(frame, self.gaze)
        return replace(self, gaze=gaze, extent=None if self.extent is None else self.extent.moved(frame))

    def unsure(self) -> "Annotation":
        """The same as a region of which nobody knows whether it is an object."""
        return replace(self, gaze=None, kind="unsure")


def compose(frame: Frame, u: Frame) -> Frame:
    """The gaze frame o u (`gaze.compose`, for one gaze and without torch)."""
    a, b, tx, ty = frame
    c, d, x, y = u
    return a * c - b * d, b * c + a * d, a * x - b * y + tx, b * x + a * y + ty


def choose_category(document: Document, category: str | None, usual: str | None) -> str | None:
    """The kind of object to use: the one asked for, or the only one that is annotated, or of several the usual one.

    Kinds that are declared and not used do not count.

    Raises:
        BadInput: There is none of that name, or several are annotated and none is chosen.
    """
    counts = Counter(s.category for entry in document.entries for s in entry.shapes if s.kind == "object")
    counted = [f"{name} ({counts[name]})" for name in sorted(counts)]
    if category is not None:
        if category in counts or category in document.categories:
            return category
        annotated = ", ".join(counted) or "none"
        raise BadInput(f"{document.place}: no annotations of {category!r}; annotated kinds: {annotated}")
    if len(counts) > 1:
        chosen = f": {usual!r} is used" if usual in counts else ", one has to be chosen (--category NAME)"
        for each in counted:
            document.doubts.add("categories", each, chosen=chosen)
        if usual in counts:
            return usual
        listed = ", ".join(counted)
        raise BadInput(f"{document.place}: several kinds of object are annotated, choose one category: {listed}")
    return next(iter(counts), None)


class _Window(NamedTuple):
    """An object's gaze, the outline and how far the angle is known; or, in words, why there is none."""

    gaze: Frame | None
    extent: Outline | None = None
    period: int = FULL
    doubt: str = ""
    reason: str = ""


def of_document(document: Document, category: str | None, canonical: Points) -> list[list[Annotation]]:
    """The annotations of one kind, entry by entry, in the pixels that their file speaks of; adds to the doubts.

    Raises:
        BadInput: Most of the annotations have no window.
    """
    declared = set(document.categories)
    shapes = [(number, shape) for number, entry in enumerate(document.entries) for shape in entry.shapes]
    # A crowd of what nobody declared may be one of the objects that are used.
    alike = {category, *(shape.category for _, shape in shapes if shape.category not in declared)}
    objects = [(n, s) for n, s in shapes if s.kind == "object" and s.category == category]
    others = [(n, s) for n, s in shapes if s.kind != "object" and (category is None or s.category in alike)]
    found: list[list[Annotation]] = [[] for _ in document.entries]
    doubts, total = document.doubts, len(objects) + len(others)
    for number, shape in others:
        region = shape.outline if isinstance(shape.outline, Outline) else _around(shape.keypoints)
        found[number].append(Annotation(None, FULL, region, *_drawn(shape), shape.kind, shape.source))
        where = f"{document.entries[number].file_name}, {shape.source}"
        doubts.add("crowds" if shape.kind == "crowd" else "difficult", where, total=total)
    doubts.state("crowds", remedy=_REMEDY if 2 * doubts.count("crowds") > total else "")
    windows = _windows([shape for _, shape in objects], canonical, document)
    for (number, shape), window in zip(objects, windows, strict=True):
        kind: Kind = "unsure" if window.gaze is None else "object"
        found[number].append(Annotation(window.gaze, window.period, window.extent, *_drawn(shape), kind, shape.source))
        if window.doubt:
            where = f"{document.entries[number].file_name}, {shape.source}"
            doubts.add(window.doubt, where + (f": {window.reason}" if window.reason else ""), total=len(objects))
    kinds = ("unusable", "mirrored", "misfit")
    if 2 * sum(doubts.count(kind) for kind in kinds) > len(objects):
        worst = max(kinds, key=doubts.count)
        raise BadInput(f"{document.place}: {doubts.line(worst)}")
    return found


def _windows(shapes: Sequence[Shape], canonical: Points, document: Document) -> list[_Window]:
    """By keypoints where there are any with known canonical points, else by outlines.

    Where keypoints are used, an annotation with only a box has no window, since the two need not agree.
    """
    names: dict[str, None] = {}
    for shape in shapes:
        if isinstance(shape.keypoints, Mapping):
            names |= dict.fromkeys(shape.keypoints)
    if len(names.keys() & canonical.keys()) >= 2:
        return _by_keypoints(shapes, canonical)
    windows = _by_outlines(shapes)
    if names:
        told = f"({', '.join(names)})"
        if not any(window.gaze for window in windows):
            raise BadInput(
                f"{document.place}: the keypoints {told} have no canonical points, and there is no box: say where they "
                "lie in the window, as [canonical] in a --config file or info.canonical in the annotations"
            )
        document.doubts.add("canonical", None, len(names), names=told)
    return windows


def _by_keypoints(shapes: Sequence[Shape], canonical: Points) -> list[_Window]:
    told = [shape.keypoints if isinstance(shape.keypoints, Mapping) else {} for shape in shapes]
    fitted = [each.tolist() for each in fit(told, canonical)]
    windows = []
    for shape, u, residual, mirrored in zip(shapes, *fitted, strict=True):
        extent = shape.outline if isinstance(shape.outline, Outline) else _around(shape.keypoints)
        doubt = reason = ""
        if not isinstance(shape.keypoints, Mapping):
            doubt, reason = "unusable", shape.keypoints or "it has no keypoints"
        elif math.isnan(u[0]):
            doubt, reason = "unusable", "fewer than two keypoints are labelled"
        elif math.isnan(residual):
            doubt, reason = "unusable", "its keypoints lie on one point"
        elif residual > MISFIT / 2 and mirrored < residual / 5:
            doubt = "mirrored"
        elif residual > MISFIT:
            doubt = "misfit"
        elif not math.hypot(u[0], u[1]) >= MIN_HALF_SIDE:
            doubt, reason = "unusable", "its keypoints lie within a pixel"
        windows.append(_Window(None if doubt else (u[0], u[1], u[2], u[3]), extent, FULL, doubt, reason))
    return windows


def _by_outlines(shapes: Sequence[Shape]) -> list[_Window]:
    windows = []
    for shape, outline in zip(shapes, _long_axes_alike(shapes), strict=True):
        if not isinstance(outline, Outline):
            windows.append(_Window(None, _around(shape.keypoints), FULL, "unusable", outline))
        elif not min(outline.width, outline.height) / 2 >= MIN_HALF_SIDE:
            reason = "its box is smaller than a pixel (are the coordinates shares of the image?)"
            windows.append(_Window(None, outline, FULL, "unusable", reason))
        else:
            windows.append(_Window(outline.inscribed(), outline, shape.period))
    return windows


def _long_axes_alike(shapes: Sequence[Shape]) -> list[Outline | str]:
    """Outlines, with the longer axis of all that lie along one lying across the window or of all standing upright in
    it: whichever is the smaller turn for most."""
    found = [shape.outline for shape in shapes]
    axes = {n: s.outline for n, s in enumerate(shapes) if s.period == HALF_TURN and isinstance(s.outline, Outline)}
    if sum(outline.cosine**2 - outline.sine**2 for outline in axes.values()) < 0:
        for number, outline in axes.items():
            upright = outline.across()
            found[number] = upright if upright.cosine >= 0 else upright.across().across()
    return found


def _around(keypoints: Points | str | None) -> Outline | None:
    """An upright rectangle that holds the object of some keypoints, which is larger than their box; None of fewer than
    two."""
    if not isinstance(keypoints, Mapping) or len(keypoints) < 2:
        return None
    x, y = zip(*keypoints.values(), strict=True)
    margin = max(max(x) - min(x), max(y) - min(y)) / 2
    return Outline.between(min(x) - margin, min(y) - margin, max(x) + margin, max(y) + margin)


def _drawn(shape: Shape) -> tuple[bool, tuple[Side, ...]]:
    """Whether an outline was drawn, and the sides at which it may be cut: all, unless its file says it is whole."""
    drawn = isinstance(shape.outline, Outline)
    return drawn, SIDES if drawn and shape.truncated is not False else ()
