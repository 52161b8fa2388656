"""Annotated photographs, read and looked at one by one."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from jaxtyping import Shaped
from numpy import ndarray

from foveate.errors import BadInput
from foveate.runtime.progress import Progress
from foveate.runtime.workers import map_images
from foveate.scenes.folder import Scene, open_picture

R = TypeVar("R")


def looked_at(
    look: Callable[[Scene, Shaped[ndarray, "h w 3"]], R],
    scenes: Sequence[Scene],
    largest: int,
    progress: Progress,
    phase: str,
) -> Iterator[R]:
    """Yields look(scene, pixels) for every photograph that can be read, in order; of the others it says why not.

    A photograph is reduced to `largest` pixels as attention does it, and what is annotated is in its pixels then.

    Raises:
        BadInput: None of them can be read.
    """

    def one(scene: Scene) -> R | BadInput:
        try:
            picture = open_picture(scene.path, largest)
        except BadInput as error:
            return error
        height, width = picture.pixels.shape[:2]
        return look(scene.moved((picture.scale, 0.0, 0.0, 0.0), width, height), picture.pixels)

    unreadable: list[BadInput] = []
    with progress.phase(phase, len(scenes)) as tick:
        for done, found in enumerate(map_images(one, scenes), start=1):
            tick(done)
            if not isinstance(found, BadInput):
                yield found
                continue
            unreadable.append(found)
            progress.say(str(found))
    if unreadable and len(unreadable) == len(scenes):
        raise BadInput(f"none of the {len(scenes)} images can be read; the first error: {unreadable[0]}")
