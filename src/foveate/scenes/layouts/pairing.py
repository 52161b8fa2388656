"""What lies in a folder, and which image an annotation file belongs to where there is one a picture."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile

from foveate.errors import BadInput
from foveate.scenes.layouts.shapes import Document, Entry
from foveate.scenes.listing import Listing


@dataclass
class Survey:
    """The files of a folder, as paths below it with forward slashes."""

    folder: str
    images: list[str] = field(default_factory=list)  # sorted
    others: dict[str, list[str]] = field(default_factory=dict)  # not hidden, sorted, by suffix in lower case

    @classmethod
    def of(cls, folder: str, listing: Listing) -> "Survey":
        """What a walk through the folder has found."""
        found = cls(folder, sorted(below(folder, path) for _, path in listing.images))
        for path in sorted(below(folder, path) for path in listing.others):
            found.others.setdefault(os.path.splitext(path)[1].lower(), []).append(path)
        return found

    def path(self, place: str) -> str:
        """Where a file of the folder is."""
        return os.path.join(self.folder, place)

    def seen(self) -> str:
        """The kinds of files that are there, in words: "12 .jpg, 3 .csv"."""
        counts = Counter(os.path.splitext(place)[1].lower() or "without suffix" for place in self.images)
        counts += Counter({suffix or "without suffix": len(places) for suffix, places in self.others.items()})
        return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(6)) or "nothing"


class Pairs:
    """Finds the image of an annotation file: one of the same name but for the suffix, in the folder most alike."""

    def __init__(self, images: Iterable[str]):
        self._by_stem: dict[str, list[str]] = {}
        for place in images:
            base = place.rpartition("/")[2]
            for name in {base, os.path.splitext(base)[0]}:  # x.json and x.jpg.json belong to x.jpg
                self._by_stem.setdefault(name, []).append(place)

    def of(self, annotations: str) -> str | None:
        """The image of an annotation file; None if there is none, or several are as near."""
        stem = os.path.splitext(annotations.rpartition("/")[2])[0]
        folders = annotations.split("/")[:-1]
        near = {place: _shared(place.split("/")[:-1], folders) for place in self._by_stem.get(stem, [])}
        best = [place for place in near if near[place] == max(near.values())]
        return best[0] if len(best) == 1 else None


def read_pairs(layout: str, survey: Survey, files: list[str], read: Callable[[str], Entry]) -> Document:
    """What annotation files with one image each contain; images without one are not annotated.

    `read` gives the entry of a file, under the name that the file itself gives its image; "" where it gives none.
    """
    document = Document(layout, survey.folder)
    pairs, seen = Pairs(survey.images), set[str]()
    for place in files:
        image = pairs.of(place)
        try:
            entry = read(survey.path(place))
        except BadInput as error:
            document.doubts.add("broken_files", str(error), total=len(files))
            document.left_out.add(image or "")
            continue
        if image is not None:
            entry.file_name = image
        else:
            entry.below = place.rpartition("/")[0]
        if not entry.file_name:
            document.doubts.add("unpaired", place)
            continue
        seen.add(entry.file_name)
        document.entries.append(entry)
    known = seen | document.left_out
    document.entries += [Entry(image, annotated=False) for image in survey.images if image not in known]
    return document


def below(folder: str, path: str) -> str:
    """A path in a folder as one below it, with forward slashes."""
    return os.path.relpath(path, folder).replace(os.sep, "/")


def _shared(first: list[str], second: list[str]) -> tuple[bool, int]:
    """Whether two folders are the same, and how many parts they share at their beginnings and at their ends."""
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
    ends = zip(reversed(first[head:]), reversed(second[head:]), strict=False)
    return first == second, head + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))
