"""SCENES: a folder of pictures, with annotations.json or without.

    scenes = read_scenes("faces/train", select=slice(0, 100))
    for scene in scenes.scenes:
        pixels = read_image(scene.path)     # the gazes of scene.gazes are in these pixels

Nothing is ever written into the folder, and no name in annotations.json leads out of it. Headers are read here, to
know every picture's upright size; pixels are not, so that memory stays small whatever the number of pictures.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from foveate.errors import BadInput
from foveate.scenes.coco import Annotations, ImageEntry, Marked, check_canonical, read_annotations
from foveate.scenes.image import BadImage, Header, open_picture, read_header, read_image
from foveate.scenes.listing import list_images
from foveate.scenes.names import Resolver

__all__ = ["Scene", "Scenes", "list_images", "open_picture", "parse_select", "read_image", "read_scenes"]

ANNOTATIONS = "annotations.json"


@dataclass(frozen=True)
class Scene:
    """One picture and what is annotated in it.

    Attributes:
        name: Path below the folder, with forward slashes; unique.
        path: Where the file is.
        width, height: Size of the upright picture in pixels.
        gazes: (a, b, tx, ty) of every annotated object, in pixels of the upright picture.
        ignore: Boxes (x0, y0, x1, y1) of regions that are neither object nor background (crowds, unusable annotations).
    """

    name: str
    path: str
    width: int
    height: int
    gazes: Float[np.ndarray, "objects 4"]
    ignore: Float[np.ndarray, "regions 4"]


@dataclass
class Scenes:
    """The pictures of a folder, sorted by name.

    Attributes:
        scenes: Those that can be used.
        category: Name of the kind of object, None without annotations.
        problems: What a person should know: pictures left out, annotations unusable; a line each.
    """

    scenes: list[Scene]
    category: str | None = None
    problems: list[str] = field(default_factory=list)


def parse_select(text: str) -> slice:
    """The slice that START:STOP means; either may be left out, and negative ones count from the end as in Python.

    Raises:
        BadInput: The text is not of that form.
    """
    match = re.fullmatch(r"\s*(-?\d{1,18})?\s*:\s*(-?\d{1,18})?\s*", text, flags=re.ASCII)
    if match is None:
        raise BadInput(f"--select {text!r}: START:STOP is expected, such as 0:100")
    start, stop = (None if part is None else int(part) for part in match.groups())
    return slice(start, stop)


def read_scenes(
    folder: str | os.PathLike,
    select: slice | None = None,
    category: str | None = None,
    canonical: Mapping[str, tuple[float, float]] | None = None,
    annotated: bool = True,
    tick: Callable[[int], None] | None = None,
    usual: str | None = None,
) -> Scenes:
    """Reads a SCENES folder.

    Args:
        folder: The folder, with annotations.json (COCO) or without.
        select: Which of its pictures, sorted by name.
        category: Name of the kind of object to use, if several are annotated.
        canonical: Where named keypoints lie in the canonical window, {name: (x, y)}; see `coco.read_annotations`.
        annotated: False takes every picture of the folder and looks at no annotations.
        tick: Called with the number of pictures whose headers are read.
        usual: Name of the kind to use where several are annotated, this one among them, and `category` names none.

    Raises:
        BadInput: The folder, or its annotations as a whole, can't be used; most of the pictures are missing or
            unreadable; the selection is empty.
    """
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise BadInput(f"{folder}: not a folder")
    points = None if canonical is None else check_canonical(canonical, "canonical points")
    if annotated and os.path.lexists(os.path.join(folder, ANNOTATIONS)):
        annotations = read_annotations(os.path.join(folder, ANNOTATIONS), category, points, usual)
        entries, problems = _resolve(annotations, folder)
    else:
        if annotated and category is not None:
            raise BadInput(f"{folder}: it has no {ANNOTATIONS}, so no category {category!r}")
        annotations, problems = None, []
        entries = [(_below(folder, path), []) for _, path in list_images(folder)]
    entries.sort(key=lambda entry: entry[0])
    chosen = entries if select is None else entries[select]
    if not chosen:
        reason = f"the selection holds none of {len(entries)} images" if entries else "no images"
        raise BadInput(f"{folder}: {reason}")
    scenes, unreadable = [], []
    for count, (name, of_file) in enumerate(chosen, start=1):
        try:
            scenes.append(_scene(folder, name, of_file, annotations))
        except BadImage as error:
            unreadable.append(str(error))
        if tick is not None:
            tick(count)
    if 2 * len(unreadable) > len(chosen):
        raise BadInput(f"{len(unreadable)} of {len(chosen)} images can't be used; the first: {unreadable[0]}")
    return Scenes(scenes, annotations.category if annotations else None, problems + unreadable)


def _below(folder: str, path: str) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _resolve(annotations: Annotations, folder: str) -> tuple[list[tuple[str, list[ImageEntry]]], list[str]]:
    """The file of every entry: (path below the folder, the entries that name it), and what was wrong.

    Entries that name one file exactly are one picture. Entries that only resemble a file's name get it if no other
    entry does: two pictures of one base name from different folders are not the same picture.
    """
    resolver = Resolver(folder)
    files: dict[str, list[ImageEntry]] = {}
    inexact = []
    for entry in annotations.images:
        place = resolver.exact(entry.file_name)
        if place is None:
            inexact.append(entry)
        else:
            files.setdefault(place, []).append(entry)
    claims: dict[str, list[ImageEntry]] = {}
    missing = []
    for entry in inexact:
        place = resolver.alike(entry.file_name)
        if isinstance(place, str) and place not in files:
            claims.setdefault(place, []).append(entry)
        elif isinstance(place, str):
            missing.append(f"{entry.file_name} (its base name is that of {place}, which another entry names)")
        else:
            missing.append(f"{entry.file_name} (could be {' or '.join(place[:3])})" if place else entry.file_name)
    for place, entries in claims.items():
        if len({entry.file_name for entry in entries}) == 1:
            files[place] = entries
        else:
            missing += [f"{entry.file_name} (could be {place}, as could another entry)" for entry in entries]
    problems = list(annotations.problems)
    if missing:
        shown = "; ".join(missing[:3]) + (f"; and {len(missing) - 3} more" if len(missing) > 3 else "")
        problem = f"{len(missing)} of {len(annotations.images)} images are missing: {shown}"
        if 2 * len(missing) > len(annotations.images):
            raise BadInput(f"{folder}: {problem}")
        problems.append(problem)
    return list(files.items()), problems


def _scene(folder: str, name: str, entries: list[ImageEntry], annotations: Annotations | None) -> Scene:
    path = os.path.join(folder, name)
    header = read_header(path)
    gazes: dict[tuple[float, ...], np.ndarray] = {}  # by their rounded numbers: what is annotated twice is one object
    ignore: list[tuple[float, ...]] = []
    for entry in entries:
        marked = annotations.marked[entry.id] if annotations else Marked()
        if not marked.gazes and not marked.ignore:
            continue
        frame = _frame(header, entry, path)
        for u in marked.gazes:
            moved = _moved(frame, u)
            gazes.setdefault(tuple(moved.round(4).tolist()), moved)
        whole = (0.0, 0.0, float(header.width), float(header.height))
        ignore += [whole if box is None else _moved_box(frame, box) for box in marked.ignore]
    rows = (np.array(some, dtype=np.float64).reshape(-1, 4) for some in (list(gazes.values()), ignore))
    return Scene(name, path, header.width, header.height, *rows)


def _frame(header: Header, entry: ImageEntry, path: str) -> Float[np.ndarray, "4"]:
    """The gaze that carries the pixels an annotation speaks of to those of the upright picture.

    An annotation tool that looked at the upright picture tells its size; one that looked at a smaller copy tells a
    size of the same shape; one that knew nothing of EXIF tells the size of the stored rows, which a quarter turn
    exchanges.

    Raises:
        BadImage: The size that is told is none of these: the annotations are of another picture.
    """
    if entry.size is None:
        return np.array([1.0, 0.0, 0.0, 0.0])
    width, height = entry.size
    factor = max(header.width, header.height) / max(width, height)
    slack = 1 + factor  # both sizes were rounded
    if abs(width * factor - header.width) <= slack and abs(height * factor - header.height) <= slack:
        return np.array([factor, 0.0, 0.0, 0.0])
    stored = abs(width * factor - header.height) <= slack and abs(height * factor - header.width) <= slack
    if stored and header.orientation == 6:  # a quarter turn clockwise: (x, y) -> (height - y, x)
        return np.array([0.0, factor, factor * height, 0.0])
    if stored and header.orientation == 8:  # counter-clockwise: (x, y) -> (y, width - x)
        return np.array([0.0, -factor, 0.0, factor * width])
    told = f"{width:g} x {height:g}"
    raise BadImage(f"{path}: {header.width} x {header.height} pixels, but its annotations are for {told}")


def _moved(frame: Float[np.ndarray, "4"], u: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    """The composition frame o u, as maps of one complex variable (`gaze.compose`, for one gaze and without torch)."""
    turn = complex(frame[0], frame[1])
    linear, shift = turn * complex(u[0], u[1]), turn * complex(u[2], u[3]) + complex(frame[2], frame[3])
    return np.array([linear.real, linear.imag, shift.real, shift.imag])


def _moved_box(frame: Float[np.ndarray, "4"], box: tuple[float, float, float, float]) -> tuple[float, ...]:
    """A box carried by a frame of whole quarter turns, upright again."""
    x0, y0, x1, y1 = box
    a, b, tx, ty = frame
    x, y = sorted((a * x0 - b * y0 + tx, a * x1 - b * y1 + tx)), sorted((b * x0 + a * y0 + ty, b * x1 + a * y1 + ty))
    return x[0], y[0], x[1], y[1]
