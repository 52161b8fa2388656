"""Image files through `Attention.attend`, however many there are: in order, one a core, memory flat.

What an image gives depends on its pixels, the model, the settings and the seed alone. Its random numbers are keyed on
its content, so a renamed copy gets the same ones, and neither its neighbours, the number of workers nor a restart
matter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foveate.attention.attend import content_key
from foveate.attention.outputs import to_json
from foveate.attention.workers import map_images
from foveate.errors import BadInput
from foveate.progress import Tick
from foveate.scenes.image import open_picture


@dataclass
class Attended:
    """One image and what was found in it, or why it could not be read.

    Attributes:
        name: What the results call it.
        pixels: [height, width, 3], reduced if it is larger than attended to, or None with an error.
        founds: The `Found`s of it, best first, in `pixels`.
        width: Of the image in full.
        height: Of the image in full.
        scale: Pixels of `pixels` per pixel of the image.
        error: One line.
    """

    name: str
    pixels: np.ndarray | None = None
    founds: Sequence[Any] = ()
    width: int = 0
    height: int = 0
    scale: float = 1.0
    error: str | None = None

    def line(self) -> dict[str, Any]:
        """The line of the results."""
        if self.pixels is None:
            return {"image": self.name, "error": self.error}
        in_full = self.founds if self.scale == 1.0 else [found.scaled(1.0 / self.scale) for found in self.founds]
        gazes = [to_json(found, self.width, self.height) for found in in_full]
        return {"image": self.name, "width": self.width, "height": self.height, "gazes": gazes}


def attend_images(
    attention: Any, images: Sequence[tuple[str, str]], settings: Any, tick: Tick, workers: int | None = None
) -> Iterator[Attended]:
    """Attend to image files in their order; one that can't be read, or used, gives an error and no end to the others.

    Args:
        attention: An `Attention`.
        images: (name, path) each.
        settings: Its `AttendSettings`.
        tick: Called with the number of images done.
        workers: Images at a time; one a core if nothing is said. Results don't depend on it.

    Raises:
        Interrupted: From the tick.
    """

    def attend(image: tuple[str, str]) -> Attended:
        name, path = image
        try:
            picture = open_picture(path, getattr(settings, "largest", None))
            pixels = picture.pixels
            (founds,) = attention.attend([pixels], [content_key(pixels)], settings)
        except BadInput as error:
            return Attended(name, error=" ".join(str(error).split()).removeprefix(f"{path}: "))
        return Attended(name, pixels, founds, picture.width, picture.height, picture.scale)

    tick(0)
    for done, attended in enumerate(map_images(attend, images, workers), start=1):
        yield attended
        tick(done)
