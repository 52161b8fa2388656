"""From the pixels that annotations speak of to those of the upright picture.

An annotation file states a size for each image. It may be that of the upright picture, of a smaller copy (a size of the
same shape), or of the stored rows that EXIF turns (its sides exchanged by a quarter turn); annotations may be in those
pixels, or all the same in the picture's own. The size is believed unless annotations prove it wrong: unless the centres
of many lie outside the picture of that size, and all of them lie inside it in another of these frames. Images are
judged together that are alike in how their size differs, since one tool made them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from foveate.scenes.image import Header
from foveate.scenes.layouts.shapes import Frame, Outline

MANY = 0.1  # share of annotations that have to lie outside: a few are slips

Chosen = dict[tuple[str, bool], tuple[bool, bool] | None]
"""By (how sizes differ, whether EXIF makes a quarter turn): (stored, stated) as `Stated.frame` takes them."""

SAME, SMALLER, STORED, OTHER = "same", "smaller", "stored", "other"
"""How a stated size differs from the upright picture's: not, by a factor, by a quarter turn, in another way."""


@dataclass(frozen=True)
class Stated:
    """The size of one image as its annotations state it, and as it is."""

    header: Header  # of the file
    size: tuple[float, float] | None  # width and height that the annotations refer to, if stated
    outlines: Sequence[Outline]  # what is annotated, in the pixels that the annotations speak of

    def difference(self) -> str:
        """How the stated size differs from the file's."""
        if self.size is None:
            return SAME
        factor, (width, height) = self._factor(), self.size
        slack = 1 + factor  # both sizes were rounded
        if abs(width * factor - self.header.width) <= slack and abs(height * factor - self.header.height) <= slack:
            return SAME if abs(factor - 1) * max(self.size) <= 1 else SMALLER
        turned = abs(width * factor - self.header.height) <= slack and abs(height * factor - self.header.width) <= slack
        return STORED if turned and self.header.orientation in (6, 8) else OTHER

    def frame(self, stored: bool, stated: bool) -> Frame:
        """The frame in which annotations are of the stored rows or of the upright picture, at the size stated or at the
        file's own."""
        factor = self._factor() if stated else 1.0
        if not stored:
            return factor, 0.0, 0.0, 0.0
        if self.header.orientation == 6:  # a quarter turn clockwise: (x, y) -> (height - y, x)
            return 0.0, factor, float(self.header.width), 0.0
        return 0.0, -factor, 0.0, float(self.header.height)  # counter-clockwise: (x, y) -> (y, width - x)

    def outside(self, frame: Frame = (1.0, 0.0, 0.0, 0.0), size: tuple[float, float] | None = None) -> int:
        """How many annotations have their centre, in this frame, outside the picture, of this size or its own."""
        width, height = size or (self.header.width, self.header.height)
        moved = (outline.moved(frame) for outline in self.outlines)
        return sum(not (-1 <= each.x <= width + 1 and -1 <= each.y <= height + 1) for each in moved)

    def _factor(self) -> float:
        return 1.0 if self.size is None else max(self.header.width, self.header.height) / max(self.size)


def choose(images: Iterable[Stated]) -> Chosen:
    """Which frame the annotations of images are in, for each way in which sizes differ; None where nothing is proven
    and the annotations are of another picture."""
    groups: dict[tuple[str, bool], list[Stated]] = {}
    for image in images:
        groups.setdefault(key(image), []).append(image)
    return {which: _choose(*which, group) for which, group in groups.items()}


def key(image: Stated) -> tuple[str, bool]:
    """Images of one key are judged together."""
    return image.difference(), image.header.orientation in (6, 8)


def _choose(difference: str, turned: bool, images: list[Stated]) -> tuple[bool, bool] | None:
    usual = (difference == STORED, True)
    others = [(stored, stated) for stored in ((False, True) if turned else (False,)) for stated in (True, False)]

    def outside(frame: tuple[bool, bool]) -> int:
        return sum(image.outside(image.frame(*frame)) for image in images)

    many = MANY * sum(len(image.outlines) for image in images)
    if difference == OTHER:
        beyond = sum(image.outside(size=image.size) for image in images)
        return (False, False) if beyond > many and not outside((False, False)) else None
    if outside(usual) <= many:
        return usual
    return next((other for other in others if other != usual and not outside(other)), usual)
