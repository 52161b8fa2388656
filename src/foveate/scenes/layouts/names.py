"""Which file an annotation's `file_name` means: as annotation tools really write it, and never a file outside the
folder.

Tried in this order, each below the folder and below where tools put images (`images/` and its like): the name as it
stands; with backslashes as slashes; with percent signs decoded; the same in another Unicode form, then in another
letter case; then the file whose last parts agree with the name's, if exactly one agrees best (`../up/4/x.png` and
`/data/4/x.png` both find `images/x.png`). No part of a base name ever counts: `bee.png` is not `honeybee.png`.
"""

import os
import stat
import unicodedata
from collections.abc import Sequence
from itertools import product, takewhile
from pathlib import Path
from urllib.parse import unquote, urlsplit

PLACES = ("", "images", "data", "JPEGImages")
"""Folders, below SCENES or below the one that an annotation file lies in, that tools put images into."""


class Resolver:
    """Finds files of one folder by the names that annotations give them."""

    def __init__(self, folder: str | os.PathLike):
        self._folder = Path(folder)
        self._by_base: dict[str, list[str]] | None = None

    def exact(self, name: str, below: str = "") -> str | None:
        """The file at that very place, as a path below the folder with forward slashes; None if there is none.

        A name as an annotation file has it may be relative to a folder `below` this one.
        """
        return next((place for place in self._places(name, below) if is_file(self._folder / place)), None)

    def respelled(self, name: str, below: str = "") -> str | None:
        """The one file at that place in another Unicode form or letter case; None if there is none, or several."""
        for place in self._places(name, below):
            found = [each for each in self._called(place) if _folded(each) == _folded(place)]
            same_form = [each for each in found if _composed(each) == _composed(place)]
            if len(same_form or found) == 1:
                return (same_form or found)[0]
        return None

    def alike(self, name: str) -> str | list[str]:
        """The one file that shares the longest run of last parts with the name, or the list of equally good ones."""
        for spelling in _spellings(name):
            parts = [part for part in spelling.split("/") if part not in ("", ".", "..")]
            if not parts:
                continue
            called = self._called(parts[-1])
            same = [each for each in called if each.rpartition("/")[2] == parts[-1]]
            agreement = {each: _common_tail(each.split("/"), parts) for each in same or called}
            if best := sorted(each for each in agreement if agreement[each] == max(agreement.values())):
                return best[0] if len(best) == 1 else best
        return []

    def _places(self, name: str, below: str) -> list[str]:
        """Relative, normal paths below the folder at which a name may be meant to lie; none outside it."""
        places = {}
        for spelling, root, folder in product(_spellings(name), dict.fromkeys([below, ""]), PLACES):
            place = spelling if os.path.isabs(spelling) else "/".join(filter(None, (root, folder, spelling)))
            places[self._below(place)] = None
        return [place for place in places if place is not None]

    def _below(self, place: str) -> str | None:
        """A relative, normal path below the folder; None if the place is outside it."""
        if os.path.isabs(place):
            place = os.path.relpath(os.path.normpath(place), os.path.abspath(self._folder))
        normal = os.path.normpath(place).replace(os.sep, "/")
        outside = normal == ".." or normal.startswith(("../", "/")) or os.path.isabs(normal)
        return None if outside or normal == "." else normal

    def _called(self, name: str) -> list[str]:
        """The files whose base name is that of a path, in whatever form or case."""
        if self._by_base is None:
            self._by_base = {}
            for root, folders, files in os.walk(self._folder):
                folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
                above = Path(root).relative_to(self._folder).parts
                for file in files:
                    if not file.startswith("."):
                        self._by_base.setdefault(_folded(file), []).append("/".join((*above, file)))
        return self._by_base.get(_folded(name.rpartition("/")[2]), [])


def is_spelled(name: str, place: str) -> bool:
    """Whether the file at a place has the base name of an annotation's `file_name`, letter by letter."""
    base = place.rpartition("/")[2]
    return any(spelling.rpartition("/")[2] == base for spelling in _spellings(name))


def is_file(path: str | os.PathLike) -> bool:
    """Whether a regular file is there; False, never an exception, for names that no file can have."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _spellings(name: str) -> list[str]:
    """The name as it stands, with slashes made forward, with percent signs decoded; for an address, its path."""
    if "://" in name:
        try:
            name = urlsplit(name).path.lstrip("/")
        except ValueError:
            return []
    slashed = name.replace("\\", "/")
    spellings = (name, slashed, unquote(slashed), unquote(slashed).replace("\\", "/"))
    return [spelling for spelling in dict.fromkeys(spellings) if spelling]


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    return _composed(_composed(text).casefold())


def _common_tail(first: Sequence[str], second: Sequence[str]) -> int:
    pairs = zip(reversed(first), reversed(second), strict=False)
    return len(list(takewhile(lambda pair: _folded(pair[0]) == _folded(pair[1]), pairs)))
