"""What is doubtful about a folder, printed before anything is trained on it: each kind once, counted, with examples.

`foveate check`, `train`, `learn` and `evaluate` all print these lines.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from foveate.errors import BadInput

SHOWN = 3  # examples that are kept of each kind

SENTENCES = {
    # what the folder holds
    "unknown_layout": "{what}",
    "missing": "{count} of {total} images are missing",
    "unreadable": "{count} of {total} images can't be used",
    "names": "{count} of {total} images have another spelling on disk (letter case, or the Unicode form of accents)",
    "unannotated": "{count} of {total} images have no annotation and are taken as empty (--unannotated ignore leaves "
    "them out, --unannotated empty confirms it)",
    "left_out": "{count} of {total} images have no annotation and are left out (--unannotated ignore)",
    "unlisted_images": "{count} images in the folder are not in the annotation file and are left out",
    "unpaired": "{count} annotation files have no image in the folder",
    "splits": "the images of {count} splits are read together; to read one alone, name its folder or file",
    "broken_files": "{count} of {total} annotation files can't be read, and their images are left out",
    "sorted_corners": "the corners of all {count} oriented boxes start at the same side of the image, as if sorted "
    "by a program: the angles are taken as known up to quarter turns",
    "unread_files": "{count} annotation files beside those that are read are left out",
    "raw": "{count} raw camera files are left out: develop them first",
    "pages": "{count} images have several pages or frames, of which the first is used",
    "no_photographs": "{count} files that are not images are left out",
    # what the files say of their images
    "size": "{count} of {total} images differ in size from what their annotations say; the annotations are {taken}",
    "orientation": "{count} of {total} images are rotated by their EXIF orientation; their annotations are taken as "
    "made on the image {taken}",
    # what the annotations say
    "unlisted_annotations": "{count} of {total} annotations are of images that are not listed",
    "categories": "{count} kinds of object are annotated{chosen}",
    "crowds": "{count} of {total} annotations are crowds (iscrowd) and are left out{remedy}",
    "difficult": "{count} of {total} annotations are marked as difficult or to be ignored, and are left out",
    "unusable": "{count} of {total} annotations have no usable box or keypoints and are left out",
    "canonical": "the keypoints {names} have no canonical points, so the boxes are used (to use the keypoints, give "
    "their positions in the window: [canonical] in a --config file)",
    "mirrored": "{count} of {total} annotations have their keypoints in mirrored order and are left out: swap left "
    "and right, in the file or in [canonical]",
    "misfit": "{count} of {total} annotations have keypoints that do not fit the canonical points and are left out",
    "outside": "{count} of {total} annotations lie outside their image and are left out",
    "corners": "{count} of {total} boxes reach out of their image and would not as [x0, y0, x1, y1]: are they corners? "
    "A bbox is [x, y, width, height]",
    "reach_out": "{count} of {total} boxes reach out of their image",
    "percent": "{count} of {total} boxes look like percent of the image: all lie within 100 pixels of its corner",
    "near_duplicates": "{count} of {total} annotations nearly repeat another of their image and are counted once",
    "specks": "{count} of {total} objects are less than 2 pixels wide and are left out",
    "elongated": "{count} of {total} boxes are over {ratio:g} times as long as wide: the window is the square inside",
    "tiny": "{count} of {total} objects are less than {pixels:g} pixels wide",
    "small": "{count} of {total} objects are far smaller than the rest (less than {pixels:.0f} pixels wide): are they "
    "whole, and of this kind?",
    "huge": "{count} of {total} objects fill their image",
    "angles": "all {count} objects have the same angle, {degrees:g} degrees: rotated objects will not be found",
    "few": "only {count} images have an object: {least} are needed, a hundred are a start",
    "neighbours": "{count} of {total} images look like frames of {groups} sources, and neighbours will be on both "
    "sides of the hold-out; --group sets what belongs together",
}
"""What each kind says, in the order in which they are printed. `count` is the number of cases."""


@dataclass
class Doubt:
    """One kind of doubt, a key of `SENTENCES`: how many cases there are, the first few, and what else it states."""

    kind: str
    count: int = 0
    examples: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """The sentence, with the examples."""
        said = SENTENCES[self.kind].format(count=self.count, **self.facts)
        more = self.count - len(self.examples)
        shown = self.examples + ([f"and {more} more"] if self.examples and more > 0 else [])
        return said + (f": {'; '.join(shown)}" if shown else "")

    def to_json(self) -> dict[str, Any]:
        """As `foveate check --json` has it."""
        return {"kind": self.kind, "count": self.count, "examples": self.examples}


class Doubts:
    """Collects doubts, case by case."""

    def __init__(self) -> None:
        self._by_kind: dict[str, Doubt] = {}

    def add(self, kind: str, example: str | None = None, count: int = 1, **facts: Any) -> None:
        """Adds a case, or several; the facts are those of the kind, and the last word on them counts."""
        self.extend([Doubt(kind, count, [] if example is None else [example], facts)])

    def state(self, kind: str, **facts: Any) -> None:
        """Facts of a kind of which there may be cases."""
        if kind in self._by_kind:
            self._by_kind[kind].facts |= facts

    def extend(self, others: Iterable[Doubt]) -> None:
        """Adds those of another collection."""
        for other in others:
            doubt = self._by_kind.setdefault(other.kind, Doubt(other.kind))
            doubt.count += other.count
            doubt.facts |= other.facts
            doubt.examples += other.examples[: SHOWN - len(doubt.examples)]

    def count(self, kind: str) -> int:
        """How many cases there are of a kind."""
        return self._by_kind[kind].count if kind in self._by_kind else 0

    def found(self) -> list[Doubt]:
        """Those that there are, in the order of `SENTENCES`."""
        return [self._by_kind[kind] for kind in SENTENCES if kind in self._by_kind]

    def line(self, kind: str) -> str:
        """The line of a kind of which there are cases."""
        return self._by_kind[kind].line()

    def lines(self) -> list[str]:
        """A line each, for people."""
        return [doubt.line() for doubt in self.found()]


class Refused(BadInput):
    """A folder that can't be used as a whole; with what was found (layout, images, objects) and doubtful before."""

    def __init__(self, reason: str, figures: dict[str, Any], doubts: Doubts):
        super().__init__(reason)
        self.figures, self.doubts = figures, doubts
