"""Annotations brought to the upright picture that they are of; what is no object there is left out and counted."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from foveate.errors import BadInput
from foveate.scenes.annotations import Annotation, Side
from foveate.scenes.doubts import Doubts
from foveate.scenes.examination import examine_boxes
from foveate.scenes.formats import RAW
from foveate.scenes.image import BadImage, Header, read_header
from foveate.scenes.layouts.frames import SAME, STORED, Chosen, Stated, choose, key
from foveate.scenes.layouts.shapes import Entry, Frame

NEAR = 0.8
"""Overlap (IoU) of two windows from which on they are one object: two boxes 3 % apart have .89, and objects that touch
hardly reach .5."""
SMALLEST = 1.0  # half-side in pixels below which a window shows nothing
BORDER = 1.0  # pixels from the picture's border up to which an outline ends because the picture does


@dataclass
class Listed:
    """One file and what is annotated in it."""

    name: str  # path below the folder
    annotated: bool = False  # whether somebody looked at it
    # of each entry that names it: the size that its annotations speak of, and the annotations, whose `cut` says
    # at which sides they may be cut
    entries: list[tuple[tuple[float, float] | None, list[Annotation]]] = field(default_factory=list)
    entry: Entry | None = None  # the first of them as the annotation file has it


Placed = tuple[Listed, Header, tuple[Annotation, ...]]


def place(
    listed: Sequence[Listed], folder: str, doubts: Doubts, tick: Callable[[int], None] | None = None
) -> list[Placed]:
    """Each file of the folder that can be used, its header, and its annotations in pixels of the upright picture;
    `tick` is called with the number of headers read.

    Raises:
        BadInput: Most of the files can't be used.
    """
    usable: list[tuple[Listed, Header]] = []
    unusable: list[str] = []
    for count, each in enumerate(listed, start=1):
        try:
            known = None if each.entry is None else each.entry.header
            header = known or read_header(os.path.join(folder, each.name))
        except BadImage as error:
            unusable.append(str(error))
        else:
            usable.append((each, header))
            if header.pages > 1:
                doubts.add("pages", f"{each.name} ({header.pages})")
        if tick is not None:
            tick(count)
    boxes, where = list[tuple[float, ...]](), list[str]()
    frames = choose(image for each, header in usable for image in _stated(each, header) if image.outlines)
    placed: list[Placed] = []
    for each, header in usable:
        try:
            found = _moved(each, header, frames, doubts, len(listed))
        except BadImage as error:
            unusable.append(f"{os.path.join(folder, each.name)}: {error}")
        else:
            for annotation in found:
                if annotation.kind == "object" and annotation.extent is not None and annotation.drawn:
                    where.append(f"{each.name}, {annotation.source}")
                    boxes.append((*annotation.extent.upright(), float(header.width), float(header.height)))
            placed.append((each, header, _settled(found, each.name, header, doubts)))
    examine_boxes(boxes, where, doubts)
    for line in unusable:
        doubts.add("raw" if line.endswith(RAW) else "unreadable", line, total=len(listed))
    if 2 * len(unusable) > len(listed):
        raise BadInput(f"{len(unusable)} of {len(listed)} images can't be used; the first: {unusable[0]}")
    total = sum(a.kind == "object" for each in listed for _, of_entry in each.entries for a in of_entry)
    for kind in ("outside", "specks", "near_duplicates"):
        doubts.state(kind, total=total)
    return placed


def _stated(each: Listed, header: Header) -> list[Stated]:
    return [
        Stated(header, size, [annotation.extent for annotation in annotations if annotation.extent is not None])
        for size, annotations in each.entries
    ]


def _moved(each: Listed, header: Header, frames: Chosen, doubts: Doubts, total: int) -> list[Annotation]:
    """The annotations of all entries in pixels of the upright picture.

    Raises:
        BadImage: They are of a picture of another size.
    """
    found: list[Annotation] = []
    for image, (size, annotations) in zip(_stated(each, header), each.entries, strict=True):
        if not annotations:
            continue
        difference, chosen = image.difference(), frames.get(key(image), (False, True))
        if chosen is None:
            width, height = image.size or (0, 0)
            true = f"{header.width} x {header.height} pixels"
            raise BadImage(f"{true}, but its annotations are for {width:g} x {height:g}")
        frame = image.frame(*chosen)
        if difference not in (SAME, STORED):
            taken = (
                "rescaled to the file's" if chosen[1] else "taken as they are, since they lie outside the stated size"
            )
            doubts.add("size", each.name, total=total, taken=taken)
        if header.orientation != 1 and (size is None or difference != SAME or chosen[0] or header.orientation < 5):
            taken = "as it is stored, and rotated with it" if chosen[0] else "as a viewer shows it"
            doubts.add("orientation", each.name, total=total, taken=taken)
        found += annotations if frame == (1.0, 0.0, 0.0, 0.0) else [each.moved(frame) for each in annotations]
    return found


def _settled(annotations: Sequence[Annotation], name: str, header: Header, doubts: Doubts) -> tuple[Annotation, ...]:
    """What can be in the picture: the others are dropped or unsure, near copies are one, cut sides are known."""
    kept: list[Annotation] = []
    for annotation in annotations:
        cut = _cut(annotation, header)
        if cut != annotation.cut:
            annotation = replace(annotation, cut=cut)
        if annotation.gaze is not None:
            a, b, x, y = annotation.gaze
            if not (0 <= x <= header.width and 0 <= y <= header.height):
                doubts.add("outside", f"{name}, {annotation.source}")
                continue
            if math.hypot(a, b) < SMALLEST:
                doubts.add("specks", f"{name}, {annotation.source}")
                annotation = annotation.unsure()
        kept.append(annotation)
    objects = [annotation for annotation in kept if annotation.gaze is not None]
    copies = [objects[copy] for copy in sorted(near_copies([a.gaze for a in objects if a.gaze is not None]))]
    for copy in copies:
        doubts.add("near_duplicates", f"{name}, {copy.source}")
    dropped = {id(copy) for copy in copies}
    return tuple(annotation for annotation in kept if id(annotation) not in dropped)


def near_copies(gazes: Sequence[Frame]) -> set[int]:
    """Those whose window nearly is that of an earlier one that is kept: by IoU of their upright squares."""
    windows = [(x, y, math.hypot(a, b)) for a, b, x, y in gazes]
    order = sorted(range(len(windows)), key=lambda each: windows[each][0])
    alike: dict[int, list[int]] = {}
    for at, first in enumerate(order):
        x, y, s = windows[first]
        for second in order[at + 1 :]:
            u, v, r = windows[second]
            if u - x > 0.4 * s:  # the overlap can't be .8 any more
                break
            if _overlap(x, y, s, u, v, r) >= NEAR:
                alike.setdefault(max(first, second), []).append(min(first, second))
    copies: set[int] = set()
    for later in sorted(alike):
        if not copies.issuperset(alike[later]):
            copies.add(later)
    return copies


def _overlap(x: float, y: float, s: float, u: float, v: float, r: float) -> float:
    across, down = min(x + s, u + r) - max(x - s, u - r), min(y + s, v + r) - max(y - s, v - r)
    common = max(across, 0.0) * max(down, 0.0)
    return common / (4 * s * s + 4 * r * r - common)


def _cut(annotation: Annotation, header: Header) -> tuple[Side, ...]:
    """Of the sides at which it may be cut, those at which it reaches the picture's border."""
    if annotation.extent is None or not annotation.cut:
        return ()
    x0, y0, x1, y1 = annotation.extent.upright()
    reached: dict[Side, bool] = {
        "left": x0 <= BORDER,
        "top": y0 <= BORDER,
        "right": x1 >= header.width - BORDER,
        "bottom": y1 >= header.height - BORDER,
    }
    return tuple(side for side in annotation.cut if reached[side])
