"""Which files of a folder are images: the content decides.

- A regular file is an image if its first bytes say so, whatever its name. A file that is named like an image but is
  none is listed as well, so that it gets an error and does not vanish silently.
- Files and folders whose names begin with a dot (AppleDouble, .DS_Store) are left out, and so are all other
  non-images.
- Links to files are followed, links to folders are not (nothing is walked twice, and no walk is endless); the folder
  that was asked for may itself be a link.
- A folder that holds the file `.foveate-output` holds what foveate wrote there (overlays, crops) and is left out,
  unless it is the one asked for.
"""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from foveate.errors import BadInput
from foveate.scenes.formats import HEAD, SUFFIXES, kind_of, other_kind

OUTPUT_MARK = ".foveate-output"


@dataclass
class Listing:
    """The images below some arguments, and what was passed over."""

    # (name for output, path), sorted by name in each argument: that of it as given joined with the file's path below it
    images: list[tuple[str, str]] = field(default_factory=list)
    ignored: int = 0  # number of files that are no images, hidden ones included
    links: list[str] = field(default_factory=list)  # links to folders, which are not followed, and broken links
    outputs: list[str] = field(default_factory=list)  # folders left out because foveate wrote them
    unreadable: list[str] = field(default_factory=list)  # folders and files that may not be read
    others: list[str] = field(default_factory=list)  # the files among the ignored ones that are not hidden
    named: list[tuple[str, str]] = field(default_factory=list)  # those people take for pictures, with what they are

    def summary(self) -> str:
        """One line for a person: how many images, and what was passed over."""
        passed = (
            (self.ignored, "other file ignored", "other files ignored"),
            (len(self.links), "link not followed", "links not followed"),
            (len(self.outputs), "output folder left out", "output folders left out"),
            (len(self.unreadable), "unreadable", "unreadable"),
        )
        counts = [f"{count} {one if count == 1 else many}" for count, one, many in passed if count]
        said = [f"{len(self.images)} image{'' if len(self.images) == 1 else 's'}", *counts]
        return ", ".join(said) + "".join(f"; {path} is {what}" for path, what in self.named[:3])


def scan(*arguments: str | os.PathLike) -> Listing:
    """Every image at or below the arguments, in their order; see the module's text.

    A file that is named itself is always listed; one that is reached under the same name twice is listed once.

    Raises:
        BadInput: There is neither a folder nor a regular file.
    """
    total = Listing()
    images: dict[str, tuple[str, str]] = {}
    for argument in arguments:
        name = os.fspath(argument)
        try:
            mode = os.stat(name).st_mode
        except (OSError, ValueError) as error:
            raise BadInput(f"{name}: {getattr(error, 'strerror', None) or error}") from None
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise BadInput(f"{name}: neither a folder nor a regular file")
        total.images = [(name, name)] if stat.S_ISREG(mode) else []
        if stat.S_ISDIR(mode):
            _walk(name, total)
        for found in sorted(total.images):
            images.setdefault(os.path.normpath(found[0]), found)
    total.images = list(images.values())
    return total


def mark_output(folder: str | os.PathLike) -> None:
    """Marks a folder that foveate writes pictures into, so that they are not taken for input later."""
    (Path(folder) / OUTPUT_MARK).touch()


def _walk(top: str, found: Listing) -> None:
    """Adds all images below a folder; a stack instead of recursion, since folders may be nested deeply."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            found.unreadable.append(folder)
            continue
        if folder != top and any(entry.name == OUTPUT_MARK for entry in entries):
            found.outputs.append(folder)
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith("."):
                    waiting.append(os.path.join(folder, entry.name))
            else:
                _take(os.path.join(folder, entry.name), entry, found)


def _take(path: str, entry: os.DirEntry, found: Listing) -> None:
    if entry.name.startswith("."):
        found.ignored += 1
        return
    try:
        mode = os.stat(path).st_mode
    except OSError:
        mode = None
    if mode is None or stat.S_ISDIR(mode):
        found.links.append(path)
    elif not stat.S_ISREG(mode):
        found.ignored += 1
    elif os.path.splitext(entry.name)[1].lower() in SUFFIXES or _is_image(path, found):
        found.images.append((path, path))
    else:
        found.ignored += 1
        found.others.append(path)


def _is_image(path: str, found: Listing) -> bool:
    try:
        with open(path, "rb") as handle:
            head = handle.read(HEAD)
    except OSError:
        found.unreadable.append(path)
        return False
    if kind_of(head) is not None:
        return True
    if (what := other_kind(head)) is not None:
        found.named.append((path, what))
    return False
