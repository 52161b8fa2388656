"""Image files through `Attention.see`, however many there are: in order, one a core, memory flat.

What an image gives depends on its pixels, the model, the settings and the seed alone. Its random numbers are keyed on
its content, so a renamed copy gets the same ones, and neither its neighbours, the number of workers nor a restart
matter.

With tiles, an image larger than what is attended at once is worked on piece by piece (`images.tiles`): one image at
a time is decoded in full, and its tiles go to as many cores as there are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np

from foveate.attention.attend import Attention, Seen, reported
from foveate.attention.found import Found
from foveate.attention.images.counting import count_found
from foveate.attention.images.kinds import Kinds, exclusive
from foveate.attention.images.tiles import Tile, cut, scales, together
from foveate.attention.output import to_json
from foveate.attention.periphery import LEAST
from foveate.attention.settings import AttendSettings
from foveate.errors import BadInput
from foveate.runtime.progress import Tick
from foveate.runtime.workers import map_images
from foveate.scenes.image import Picture, open_picture
from foveate.scenes.pixels import content_key


@dataclass
class Attended:
    """One image and what was found in it, or why it could not be read."""

    name: str  # what the results call it
    # [height, width, 3], reduced if it is larger than attended to, or None with an error
    pixels: np.ndarray | None = None
    founds: Sequence[Found] = ()  # the objects in it, best first, in pixels of `pixels`
    others: Sequence[Found] = ()  # distinct places that are not reported
    width: int = 0  # of the image in full
    height: int = 0  # of the image in full
    scale: float = 1.0  # pixels of `pixels` per pixel of the image
    error: str | None = None  # one line
    path: str | None = None  # where to read it again in full, if it was attended in more detail than `pixels` has
    figures: np.ndarray | None = None  # see `familiarity`; None where they were not measured
    page: int = 0  # which of its pages it is, from 0
    pages: int = 1  # how many it has
    kinds: Sequence[str] = ()  # that were looked for, where there are several

    def line(self) -> dict[str, Any]:
        """The line of the results."""
        if self.pixels is None:
            return {"image": self.name, "error": self.error}
        gazes = [to_json(found, self.width, self.height) for found in self.in_full()]
        places = [*self.founds, *self.others]
        how_many = count_found(places)
        line = {"image": self.name, "width": self.width, "height": self.height, "gazes": gazes}
        line |= {"p_none": how_many.none, "count": [how_many.mean, how_many.low, how_many.high]}
        each = {kind: count_found(one for one in places if one.category == kind) for kind in self.kinds}
        counts = {kind: [one.mean, one.low, one.high] for kind, one in each.items()}
        return line | ({"counts": counts} if counts else {})

    def detail(self) -> tuple[np.ndarray | None, Sequence[Found]]:
        """Pixels as fine as those that were attended, to cut crops from, and the gazes in them."""
        if self.path is None or not self.founds:
            return self.pixels, self.founds
        return open_picture(self.path, page=self.page).pixels, self.in_full()

    def in_full(self) -> Sequence[Found]:
        """The objects in pixels of the image in full."""
        return self.founds if self.scale == 1.0 else [found.moved(1.0 / self.scale) for found in self.founds]


def attend_images(
    attention: Attention | Kinds,
    images: Sequence[tuple[str, str]],
    settings: AttendSettings,
    tick: Tick,
    workers: int | None = None,
    tiles: bool = False,
) -> Iterator[Attended]:
    """Attend to image files, (name, path) each, in their order; one that can't be read gives an error.

    `tick` is called with the number of images done. `workers` images (or tiles) are worked on at a time, one a core if
    nothing is said. With `tiles` those larger than `settings.largest` are attended in tiles as well.
    """
    tick(0)
    found = _tiled(attention, images, settings, workers) if tiles else _whole(attention, images, settings, workers)
    kinds = attention.names if isinstance(attention, Kinds) else ()
    for done, attended in enumerate(found, start=1):
        yield replace(attended, kinds=kinds) if kinds else attended
        tick(done)


def _whole(
    attention: Attention | Kinds, images: Sequence[tuple[str, str]], settings: AttendSettings, workers: int | None
) -> Iterator[Attended]:
    """Each image at once, reduced where it is larger than `settings.largest`."""

    def attend(image: tuple[str, str]) -> Attended:
        name, path = image
        try:
            picture = open_picture(path, settings.largest, settings.page - 1)
            seen = _see(attention, picture.pixels, settings)
        except BadInput as error:
            return Attended(name, error=_why(error, path))
        return replace(_attended(name, picture, seen.founds, seen.others), figures=seen.figures)

    return map_images(attend, images, workers)


def _tiled(
    attention: Attention | Kinds, images: Sequence[tuple[str, str]], settings: AttendSettings, workers: int | None
) -> Iterator[Attended]:
    """Each image whole as `_whole` does, and larger ones in tiles of that size too."""

    def pieces() -> Iterator[tuple[int, Picture | Tile | str]]:
        for number, (_, path) in enumerate(images):
            try:
                yield from ((number, piece) for piece in _pieces(path, settings))
            except BadInput as error:
                yield number, _why(error, path)

    def attend(piece: tuple[int, Picture | Tile | str]) -> tuple[int, Picture | str | None, list[Found]]:
        number, part = piece
        if isinstance(part, str):
            return number, part, []
        try:
            seen = _see(attention, part.pixels, settings)
        except BadInput as error:
            return number, _why(error, images[number][1]), []
        found = [*seen.founds, *seen.others]
        if isinstance(part, Tile):
            return number, None, [part.in_picture(each) for each in found if part.holds(each)]
        return number, part, [each.moved(1.0 / part.scale) for each in found]

    for number, done in groupby(map_images(attend, pieces(), workers), key=itemgetter(0)):
        whole, found, why = None, [], None
        for _, part, some in done:
            found += some
            whole = part if isinstance(part, Picture) else whole
            why = part if isinstance(part, str) else why
        name, path = images[number]
        if why is not None or whole is None:
            yield Attended(name, error=why)
        else:
            distinct = exclusive(found) if isinstance(attention, Kinds) else together(found)
            founds, others = reported(distinct, settings)
            attended = _attended(name, whole, [each.moved(whole.scale) for each in founds], others)
            yield attended if whole.scale == 1.0 else replace(attended, path=path, page=settings.page - 1)


def _pieces(path: str, settings: AttendSettings) -> Iterator[Picture | Tile]:
    """A picture whole, reduced to a tile's size, then the tiles of its finer levels."""
    page = settings.page - 1
    whole = open_picture(path, settings.largest, page)
    yield whole
    longest = max(whole.width, whole.height)
    for scale in scales(longest, settings.largest, LEAST)[1:]:
        level = open_picture(path, round(scale * longest), page)
        yield from cut(level.pixels, settings.largest, level.scale)


def _see(attention: Attention | Kinds, pixels: np.ndarray, settings: AttendSettings) -> Seen:
    return attention.see(pixels, content_key(pixels), settings)


def _attended(name: str, picture: Picture, founds: Sequence[Found], others: Sequence[Found]) -> Attended:
    size = (picture.width, picture.height, picture.scale)
    return Attended(name, picture.pixels, founds, others, *size, pages=picture.pages)


def _why(error: BadInput, path: str) -> str:
    return " ".join(str(error).split()).removeprefix(f"{path}: ")
