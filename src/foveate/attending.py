"""Images through `Attention.attend`, however many there are: read ahead by threads, in small chunks, in order.

What an image gives depends on its pixels, the model, the settings and the seed alone. Its random numbers are keyed on
its content, so a renamed copy gets the same ones, and neither its neighbours nor a restart matter.
"""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from foveate.errors import BadInput
from foveate.progress import Tick
from foveate.scenes.image import BadImage, read_image

CHUNK = 8
"""Images that go through the model together."""
AHEAD = 16
"""Images that are read before they are needed."""
PIXELS_AHEAD = 48_000_000
"""Pixels of these, about: memory stays flat however many and however large the images are."""


@dataclass
class Attended:
    """One image and what was found in it, or why it could not be read.

    Attributes:
        name: What the results call it.
        pixels: [height, width, 3], or None with an error.
        founds: The lead's `Found`s, best first.
        error: One line.
    """

    name: str
    pixels: np.ndarray | None = None
    founds: Sequence[Any] = ()
    error: str | None = None

    def line(self) -> dict[str, Any]:
        """The line of the results."""
        if self.pixels is None:
            return {"image": self.name, "error": self.error}
        from foveate.attention.attend import to_json

        height, width = self.pixels.shape[:2]
        gazes = [to_json(found, width, height) for found in self.founds]
        return {"image": self.name, "width": width, "height": height, "gazes": gazes}


def attend_images(
    attention: Any, images: Sequence[tuple[str, str]], settings: Any, tick: Tick, workers: int | None = None
) -> Iterator[Attended]:
    """Attend to image files in their order.

    Args:
        attention: An `Attention`.
        images: (name, path) each.
        settings: Its `AttendSettings`.
        tick: Called with the number of images done.
        workers: Threads that read; the number of cores, at most 8, if nothing is said. Results don't depend on it.

    Raises:
        Interrupted: From the tick.
    """
    done = 0
    pool = ThreadPoolExecutor(workers or min(os.cpu_count() or 1, 8), thread_name_prefix="foveate-read")
    try:
        for chunk in _chunks(_read_ahead(images, pool)):
            tick(done)
            for attended in _attend_chunk(attention, chunk, settings):
                yield attended
                done += 1
                tick(done)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def content_key(pixels: np.ndarray) -> str:
    """A name for an image that depends on its pixels alone: BLAKE2 of its type, shape and values."""
    digest = hashlib.blake2b(f"{pixels.dtype.str}{pixels.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _read(name: str, path: str) -> Attended:
    try:
        return Attended(name, read_image(path))
    except BadImage as error:
        return Attended(name, error=_without_path(" ".join(str(error).split()), path))


def _without_path(line: str, path: str) -> str:
    return line.removeprefix(f"{path}: ")


def _read_ahead(images: Iterable[tuple[str, str]], pool: ThreadPoolExecutor) -> Iterator[Attended]:
    waiting: deque[Future[Attended]] = deque()
    for name, path in images:
        waiting.append(pool.submit(_read, name, path))
        while len(waiting) >= AHEAD or (waiting and _pixels(waiting) > PIXELS_AHEAD):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _pixels(waiting: Iterable["Future[Attended]"]) -> int:
    read = (future.result() for future in waiting if future.done())
    return sum(attended.pixels.size // 3 for attended in read if attended.pixels is not None)


def _chunks(attendeds: Iterable[Attended]) -> Iterator[list[Attended]]:
    chunk: list[Attended] = []
    pixels = 0
    for attended in attendeds:
        chunk.append(attended)
        pixels += 0 if attended.pixels is None else attended.pixels.size // 3
        if len(chunk) == CHUNK or pixels > PIXELS_AHEAD // 2:
            yield chunk
            chunk, pixels = [], 0
    if chunk:
        yield chunk


def _attend_chunk(attention: Any, chunk: list[Attended], settings: Any) -> list[Attended]:
    readable = [attended for attended in chunk if attended.pixels is not None]
    if not readable:
        return chunk
    try:
        keys = [content_key(attended.pixels) for attended in readable if attended.pixels is not None]
        founds = attention.attend([attended.pixels for attended in readable], keys, settings)
    except BadInput as error:
        if len(readable) == 1:  # one image that the model can't use is that image's error, not the run's
            readable[0].pixels, readable[0].error = None, " ".join(str(error).split())
            return chunk
        for attended in readable:
            _attend_chunk(attention, [attended], settings)
        return chunk
    for attended, found in zip(readable, founds, strict=True):
        attended.founds = found
    return chunk
