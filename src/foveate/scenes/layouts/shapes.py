"""What a reader gives, whatever the layout: the images of a folder, and what is annotated in each as its file has it.

Readers make no windows, look at no pixels and choose nothing; `foveate.scenes.annotations` does that for all of them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from foveate.scenes.doubts import Doubts
from foveate.scenes.image import Header
from foveate.scenes.layouts.periods import FULL

Frame = tuple[float, float, float, float]
"""A gaze (a, b, tx, ty) read as a map of pixels: (x, y) -> (a x - b y + tx, b x + a y + ty)."""

Kind = Literal["object", "crowd", "unsure"]

MAX_COORDINATE = 1e6  # coordinates beyond this many pixels belong to no picture


class Unusable(ValueError):
    """One annotation, or a part of it, can't be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A rectangle: centre and sides in pixels; it is turned clockwise on the screen by the angle whose cosine and sine
    are given."""

    x: float
    y: float
    width: float
    height: float
    cosine: float = 1.0
    sine: float = 0.0

    @classmethod
    def turned(cls, x: float, y: float, width: float, height: float, radians: float) -> "Outline":
        """The rectangle turned clockwise by an angle about its centre."""
        return cls(x, y, width, height, math.cos(radians), math.sin(radians))

    @classmethod
    def between(cls, x0: float, y0: float, x1: float, y1: float) -> "Outline":
        """The upright rectangle with these sides."""
        return cls((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)

    @property
    def angle(self) -> float:
        """Radians in (-pi, pi], clockwise on the screen."""
        return math.atan2(self.sine, self.cosine)

    def inscribed(self) -> Frame:
        """The gaze of the largest centred square inside, turned as the rectangle is."""
        half_side = min(self.width, self.height) / 2
        return half_side * self.cosine, half_side * self.sine, self.x, self.y

    def upright(self) -> tuple[float, float, float, float]:
        """The upright box (x0, y0, x1, y1) around it."""
        cosine, sine = abs(self.cosine), abs(self.sine)
        half_width = (self.width * cosine + self.height * sine) / 2
        half_height = (self.width * sine + self.height * cosine) / 2
        return self.x - half_width, self.y - half_height, self.x + half_width, self.y + half_height

    def moved(self, frame: Frame) -> "Outline":
        """Where a frame carries it."""
        a, b, tx, ty = frame
        factor = math.hypot(a, b)
        cosine, sine = (a * self.cosine - b * self.sine) / factor, (b * self.cosine + a * self.sine) / factor
        x, y = a * self.x - b * self.y + tx, b * self.x + a * self.y + ty
        return Outline(x, y, self.width * factor, self.height * factor, cosine, sine)

    def across(self) -> "Outline":
        """The same rectangle, its sides named the other way round: turned back by a quarter turn."""
        return Outline(self.x, self.y, self.height, self.width, self.sine, -self.cosine)

    def with_area(self, what: str) -> "Outline":
        """The same; `Unusable` where it has no area."""
        if not (self.width > 0 and self.height > 0):
            raise Unusable(f"{what} has no area")
        return self


@dataclass(slots=True)
class Shape:
    """One annotation, in the pixels that its file speaks of."""

    category: str  # kind of object
    source: str  # which annotation it is, for people: "id 7", "object 2"
    outline: Outline | str  # the rectangle around it, or in words why there is none
    period: int = FULL  # how far the outline's angle is known
    # labelled points by name; in words why they can't be used; None where there are none
    keypoints: Mapping[str, tuple[float, float]] | str | None = None
    kind: Kind = "object"  # or a crowd of objects that are not separated; or marked as difficult, or to be ignored
    truncated: bool | None = None  # whether the file says that the object goes on where the outline ends


@dataclass(slots=True)
class Entry:
    """One image that is listed."""

    file_name: str  # its name as the file has it, or where it is below the folder
    size: tuple[float, float] | None = None  # width and height that the annotations refer to, if stated
    shapes: list[Shape] = field(default_factory=list)  # what is annotated in it
    annotated: bool = True  # whether somebody looked at it; if so and it has no shapes, it is empty
    below: str = ""  # folder below SCENES that the name is relative to; "" for SCENES itself
    other_name: str = ""  # a second name to look for, where the layout defines one
    identity: int | str | None = None  # the image's id in its file, where it has one
    header: Header | None = None  # of the image, where the reader needed it


@dataclass
class Document:
    """All that the annotation files of a folder contain."""

    layout: str  # name of the layout
    place: str  # the file or folder that the annotations come from, for messages
    entries: list[Entry] = field(default_factory=list)  # the images that are listed
    categories: list[str] = field(default_factory=list)  # names of the kinds that are declared
    identities: dict[str, int | str] = field(default_factory=dict)  # their ids, by name, in a layout that has some
    # where named keypoints lie in the canonical window, as a file states it
    canonical: dict[str, tuple[float, float]] = field(default_factory=dict)
    doubts: Doubts = field(default_factory=Doubts)  # what is doubtful about the files
    # images whose annotation file can't be read: nobody knows what is in them
    left_out: set[str] = field(default_factory=set)


def shape_of(category: str, source: str, outline: Callable[..., tuple[Outline, int]], *told: Any) -> Shape:
    """An annotation with the outline, and its period, of what is told; or with the reason why there is none."""
    try:
        return Shape(category, source, *outline(*told))
    except Unusable as reason:
        return Shape(category, source, str(reason))


def with_points(
    shapes: list[Shape], owners: Mapping[str, Shape], points: Mapping[str, dict[str, tuple[float, float]]]
) -> list[Shape]:
    """The shapes with the keypoints that belong to them, by the owner's name; points of none are objects themselves."""
    for name, found in points.items():
        if name in owners:
            owners[name].keypoints = found
        else:
            shapes.append(Shape("object", f"points of {name}", "it is points", FULL, found))
    return shapes


def number(value: Any, what: str) -> float:
    """A coordinate, from a number as JSON has it; `Unusable` where it is none, or no picture has one as large."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_COORDINATE:
        raise Unusable(f"{what} holds {short(value)}")
    return float(value)


def parsed(text: str | None, what: str) -> float:
    """As `number`, from its text."""
    try:
        return number(float(text or ""), what)
    except ValueError:
        raise Unusable(f"{what} holds {short(text)}") from None


def size_of(width: Any, height: Any) -> tuple[float, float] | None:
    """A picture's size as a file states it, in numbers or in text; None where no picture can have it."""
    try:
        sides = [parsed(side, "size") if isinstance(side, str) else number(side, "size") for side in (width, height)]
    except Unusable:
        return None
    return (sides[0], sides[1]) if min(sides) >= 1 else None


def short(value: Any) -> str:
    """A value as a message shows it: on one line, and cut where it is long."""
    text = " ".join((repr(value) if isinstance(value, str) else str(value)).split())
    return text if len(text) <= 40 else text[:37] + "..."
