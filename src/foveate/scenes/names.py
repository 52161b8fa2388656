"""Which file an annotation's `file_name` means: as annotation tools really write it, and never a file outside the
folder.

Tried in this order, each below the folder and below its `images/`: the name as it stands; with backslashes as
slashes; with percent signs decoded; then the file whose last parts agree with the name's, if exactly one agrees best
(`../up/4/x.png` and `/data/4/x.png` both find `images/x.png`). No part of a base name ever counts: `bee.png` is not
`honeybee.png`.
"""

import os
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Resolver:
    """Finds files of one folder by the names that annotations give them."""

    def __init__(self, folder: str | os.PathLike):
        self._folder = Path(folder)
        self._by_base: dict[str, list[tuple[str, ...]]] | None = None

    def exact(self, name: str) -> str | None:
        """The file at that very place, as a path below the folder with forward slashes; None if there is none."""
        for spelling in _spellings(name):
            for place in (spelling, f"images/{spelling}"):
                below = self._below(place)
                if below is not None and is_file(self._folder / below):
                    return below
        return None

    def alike(self, name: str) -> str | list[str]:
        """The one file that shares the longest run of last parts with the name, or the list of equally good ones."""
        for spelling in _spellings(name):
            parts = tuple(part for part in spelling.split("/") if part not in ("", ".", ".."))
            if not parts:
                continue
            candidates = self._files().get(parts[-1], [])
            agreement = {path: _common_tail(path, parts) for path in candidates}
            best = sorted("/".join(path) for path in candidates if agreement[path] == max(agreement.values()))
            if best:
                return best[0] if len(best) == 1 else best
        return []

    def _below(self, place: str) -> str | None:
        """A relative, normal path below the folder, or None if the place is outside it."""
        if os.path.isabs(place):
            place = os.path.relpath(os.path.normpath(place), os.path.abspath(self._folder))
        normal = os.path.normpath(place).replace(os.sep, "/")
        outside = normal == ".." or normal.startswith(("../", "/")) or os.path.isabs(normal)
        return None if outside or normal == "." else normal

    def _files(self) -> dict[str, list[tuple[str, ...]]]:
        if self._by_base is None:
            self._by_base = {}
            for root, folders, files in os.walk(self._folder):
                folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
                above = Path(root).relative_to(self._folder).parts
                for file in files:
                    if not file.startswith("."):
                        self._by_base.setdefault(file, []).append((*above, file))
        return self._by_base


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


def _common_tail(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    count = 0
    while count < min(len(first), len(second)) and first[-1 - count] == second[-1 - count]:
        count += 1
    return count
