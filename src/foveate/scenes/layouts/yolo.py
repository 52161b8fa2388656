"""YOLO: one text file an image, a line an object, in shares of the picture; names of the kinds in `data.yaml`.

A line is the number of a kind and then

- four numbers: the box's centre and sides;
- eight: the corners of an oriented box, in the tool's own order (its upper left corner first, then clockwise), so that
  its angle is known in full; that of corners that go round the other way, up to quarter turns;
- any other even number, six at least: a polygon. A file with polygons has no oriented boxes;
- with `kpt_shape` in data.yaml: a box, and keypoints (x, y, or x, y, visibility).

A fifth or ninth number is a probability and is passed over. A picture without a file is not annotated; one with an
empty file is empty. data.yaml is asked for names alone, never for places. Kinds without data.yaml are named by
`classes.txt` or `obj.names`, or by their number.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from foveate.scenes.image import BadImage, Header, read_header
from foveate.scenes.layouts.documents import load_lines, load_yaml
from foveate.scenes.layouts.pairing import Survey, read_pairs
from foveate.scenes.layouts.periods import QUARTER_TURN
from foveate.scenes.layouts.polygons import outline_of_oriented, outline_of_polygons, upright_most
from foveate.scenes.layouts.shapes import Document, Entry, Outline, Shape, Unusable, parsed, short

NAME_FILES = ("classes.txt", "obj.names", "predefined_classes.txt")
_LARGEST = 2.0  # shares of the picture beyond this are pixels
_SORTED_AT_LEAST, _SORTED_SPREAD = 10, 20.0


@dataclass
class Kinds:
    """What data.yaml says."""

    names: dict[int, str] = field(default_factory=dict)  # of the kinds, by number
    keypoints: int = 0  # number of keypoints an object, 0 without
    dimensions: int = 0  # numbers a keypoint: 2, or 3 with visibility
    keypoint_names: list[str] = field(default_factory=list)  # their names, where stated

    def posed(self, values: Sequence[float]) -> bool:
        """Whether a line holds a box and keypoints."""
        return self.keypoints > 0 and len(values) == 4 + self.keypoints * self.dimensions


Line = tuple[str, list[float]]


def read(survey: Survey, files: list[str]) -> Document:
    """What the text files of a folder contain; images without one are not annotated."""
    kinds = read_kinds(survey)
    labels: list[tuple[Entry, list[Line | str]]] = []

    def read_label(path: str) -> Entry:
        lines = [_parse(line, kinds) for line in load_lines(path) if line.strip()]
        labels.append((Entry(""), lines))
        return labels[-1][0]

    document = read_pairs("yolo", survey, files, read_label)
    document.categories = list(dict.fromkeys(kinds.names.values()))
    oriented = all(len(line[1]) in (4, 8) for _, lines in labels for line in lines if not isinstance(line, str))
    for entry, lines in labels:
        with suppress(BadImage):  # who reads the folder names it
            entry.header = read_header(survey.path(entry.file_name))
            entry.shapes += [_shape(line, n, entry.header, kinds, oriented) for n, line in enumerate(lines, start=1)]
    _doubt_sorted_corners(document)
    return document


def is_label(lines: Sequence[str]) -> bool:
    """Whether a text file looks like this layout: whole numbers first, four others at least behind."""
    words = [line.split() for line in lines[:5] if line.strip()]
    try:
        return all(len(each) >= 5 and each[0].isdecimal() and [float(word) for word in each[1:]] for each in words)
    except ValueError:
        return False


def read_kinds(survey: Survey) -> Kinds:
    """Names of kinds and form of keypoints.

    Raises:
        BadInput: data.yaml is none that can be used.
    """
    for place in [*survey.others.get(".yaml", []), *survey.others.get(".yml", [])]:
        document = load_yaml(survey.path(place))
        if isinstance(document, dict) and isinstance(document.get("names"), list | dict):
            return _of_yaml(document)
    for place in [place for places in survey.others.values() for place in places]:
        if place.rpartition("/")[2] in NAME_FILES:
            lines = [line.strip() for line in load_lines(survey.path(place))]
            return Kinds({number: line for number, line in enumerate(lines) if line})
    return Kinds()


def _of_yaml(document: dict) -> Kinds:
    names = document["names"]
    pairs = enumerate(names) if isinstance(names, list) else names.items()
    kinds = Kinds({int(number): str(name) for number, name in pairs if str(number).isdecimal()})
    shape = document.get("kpt_shape")
    if isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, int) and 0 < n < 1000 for n in shape):
        kinds.keypoints, kinds.dimensions = shape
        names = document.get("kpt_names")
        names = next(iter(names.values()), None) if isinstance(names, dict) else names
        if isinstance(names, list) and len(names) == kinds.keypoints:
            kinds.keypoint_names = [str(name) for name in names]
    return kinds


def _parse(line: str, kinds: Kinds) -> Line | str:
    """Name of the kind, and the numbers behind it; in words what is wrong."""
    words = line.split()
    try:
        number = parsed(words[0], "the number of a kind")
        values = [parsed(word, "a line") for word in words[1:]]
    except Unusable as reason:
        return str(reason)
    if number != int(number) or number < 0:
        return f"the number of a kind holds {short(words[0])}"
    posed = kinds.posed(values)
    if len(values) in (5, 9) and not posed:
        values = values[:-1]
    if not posed and (len(values) < 4 or len(values) % 2):
        return f"a line of {len(words)} numbers"
    return kinds.names.get(int(number), str(int(number))), values


def _shape(line: Line | str, count: int, header: Header, kinds: Kinds, oriented: bool) -> Shape:
    source = f"line {count}"
    if isinstance(line, str):
        only = list(kinds.names.values())
        return Shape(only[0] if len(only) == 1 else "", source, line, kind="object" if len(only) == 1 else "unsure")
    name, values = line
    shape = Shape(name, source, "")
    posed = kinds.posed(values)
    try:
        if any(abs(value) > _LARGEST for value in (values[:4] if posed else values)):
            raise Unusable("it holds pixels, expected shares of the image")
        size = np.array([header.width, header.height], dtype=np.float64)
        if len(values) == 4 or posed:
            (x, y), (width, height) = (np.array(values[:4]).reshape(2, 2) * size).tolist()
            shape.outline = Outline(x, y, width, height).with_area("its box")
        else:
            ring = np.array(values).reshape(-1, 2) * size
            shape.outline, shape.period = outline_of_oriented(ring) if oriented else outline_of_polygons([ring])
        if posed:
            shape.keypoints = _keypoints(values[4:], kinds, header)
    except Unusable as reason:
        shape.outline = str(reason)
    return shape


def _keypoints(values: Sequence[float], kinds: Kinds, header: Header) -> dict[str, tuple[float, float]]:
    names = kinds.keypoint_names or [str(number + 1) for number in range(kinds.keypoints)]
    found = {}
    for number, name in enumerate(names):
        x, y, *visible = values[number * kinds.dimensions : (number + 1) * kinds.dimensions]
        if (visible[0] > 0) if visible else (x, y) != (0.0, 0.0):
            found[name] = (x * header.width, y * header.height)
    return found


def _doubt_sorted_corners(document: Document) -> None:
    """Corners that all begin at the same corner of the *image* were sorted by a program: no upper side is known."""
    shapes = [(s, s.outline) for e in document.entries for s in e.shapes if isinstance(s.outline, Outline)]
    turned = [(shape, outline, math.degrees(outline.angle)) for shape, outline in shapes if outline.sine]
    angles = [angle for _, _, angle in turned]
    if len(angles) < _SORTED_AT_LEAST or max(angles) - min(angles) < _SORTED_SPREAD:
        return
    if len({math.floor(angle / 90) for angle in angles}) == 1:
        for shape, outline, _ in turned:
            shape.outline, shape.period = upright_most(outline), QUARTER_TURN
        document.doubts.add("sorted_corners", None, len(angles))
