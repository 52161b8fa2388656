"""Image files read safely: upright, in colour, whole, at the size that is wanted, and refused with a reason otherwise.

What is promised of `read_image`:

- The content decides which format a file has; its name does not. Of several pages (TIFF) or frames (moving pictures)
  one is read, the first unless another is asked for; thumbnails are none.
- What is no picture but is often taken for one (raw camera files, videos, PDF, DICOM) is refused by what it is.
- The result is upright as a person sees it (EXIF orientation 1 to 8; broken or unknown EXIF counts as 1).
- A truncated or damaged picture is a `BadImage`, never a half-grey one (as far as its format lets it be known: JPEG has
  no check sums). So is a picture of more than `MAX_PIXELS` pixels (FOVEATE_MAX_PIXELS in the environment sets another
  limit), which are then not decoded, and whatever else goes wrong in decoding one file.
- Nothing process-wide changes: plug-ins are called one by one, so Pillow's own switches stay as the caller left them.
- With `max_side`, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, so that a 200-megapixel photograph takes the
  memory of what is asked for, and counts for as many pixels (progressive ones keep their coefficients in memory
  whatever is asked).

How each kind of pixel becomes red, green and blue: see `foveate.scenes.pixels`.
"""

import importlib
import math
import os
import stat
import threading
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped

from foveate.errors import BadInput
from foveate.scenes.formats import HEAD, RAW, Kind, kind_of, other_kind, png_has_late_exif, tiff_pages
from foveate.scenes.pixels import Reduction, UnknownRange, orientation_of, to_rgb, upright_rows

MAX_PIXELS = 2**27  # pictures of more pixels than this (134 million) are refused as decompression bombs
LIMIT = "FOVEATE_MAX_PIXELS"  # the environment variable that sets another limit

_PLUGINS = {
    Kind.JPEG: "Jpeg", Kind.PNG: "Png", Kind.GIF: "Gif", Kind.WEBP: "WebP", Kind.TIFF: "Tiff", Kind.BMP: "Bmp",
    Kind.PPM: "Ppm", Kind.JPEG2000: "Jpeg2K", Kind.AVIF: "Avif", Kind.HEIC: "Heif",
}  # fmt: skip

_MOVING = (Kind.GIF, Kind.PNG, Kind.WEBP)  # their frames are pages


class BadImage(BadInput):
    """One image file can't be used; the text names the file and says why. Others may go on."""


@dataclass(frozen=True)
class Picture:
    """A picture and how it came to its size."""

    pixels: Shaped[np.ndarray, "height width 3"]  # uint8, or uint16 for sources of more than 8 bits
    width: int  # size of the upright picture in full, in pixels
    height: int
    scale: float  # pixels of `pixels` per pixel of the full picture: a gaze there times this is the gaze in `pixels`
    pages: int = 1  # how many pages the file has; this is one of them


@dataclass(frozen=True)
class Header:
    """What is known of a picture before it is decoded."""

    width: int  # size of the upright picture in pixels
    height: int
    orientation: int  # EXIF orientation, 1 to 8, that brought the stored rows upright
    pages: int = 1  # how many pages the file has


def read_image(
    path: str | os.PathLike, max_side: int | None = None, page: int = 0
) -> Shaped[np.ndarray, "height width 3"]:
    """The pixels of an image file: uint8, or uint16 for sources of more than 8 bits; see the module's text.

    Args:
        path: A regular file.
        max_side: The longest side wanted. A larger picture is reduced to it; see `open_picture` to know by how much.
        page: Which of its pages, from 0.

    Raises:
        BadImage: The file is not a picture that can be used.
    """
    return open_picture(path, max_side, page).pixels


def open_picture(path: str | os.PathLike, max_side: int | None = None, page: int = 0) -> Picture:
    """As `read_image`, with the full size, the scale and the number of pages."""
    if max_side is not None and max_side < 1:
        raise BadInput(f"max_side is {max_side}: an image has at least one pixel")
    with _opened(path, page) as (handle, kind, image, pages):
        if kind is Kind.PNG:
            _check_sums(handle)
        return replace(upright(image, kind, max_side, os.fspath(path)), pages=pages)


def upright(image: Any, kind: Kind, max_side: int | None, name: str) -> Picture:
    """A Pillow image as a picture, see `open_picture`; a JPEG that isn't decoded yet is decoded at the size wanted.

    The kind decides what its numbers mean; the name is what errors call it.
    """
    full = image.size
    scale = 1.0 if max_side is None else min(1.0, max_side / max(full))
    reduction = None if scale == 1 else _reduce(image, kind, scale)
    _refuse_bomb(image.size, full, name)
    pixels = to_rgb(image, kind, reduction)
    orientation = orientation_of(image, kind)
    width, height = full[::-1] if orientation >= 5 else full
    return Picture(np.ascontiguousarray(upright_rows(pixels, orientation)), width, height, scale)


def read_header(path: str | os.PathLike, page: int = 0) -> Header:
    """Upright size and orientation of an image file, without decoding its pixels.

    Raises:
        BadImage: The file is not a picture that can be used, as far as its header shows.
    """
    with _opened(path, page) as (handle, kind, image, pages):
        if kind is Kind.PNG and "exif" not in image.info and png_has_late_exif(handle):
            image.load()  # the orientation stands behind the pixels
        orientation = orientation_of(image, kind)
        width, height = image.size[::-1] if orientation >= 5 else image.size
    return Header(width, height, orientation, pages)


def _reduce(image: Any, kind: Kind, scale: float) -> Reduction:
    """How to reduce an image that is not decoded yet; asks a JPEG for at least twice the size wanted.

    Sides are rounded down and the region with them, by less than a reduced pixel: the scale is the same in x and y.
    """
    full = image.size
    width, height = (max(1, math.floor(side * scale + 1e-6)) for side in full)
    if kind is Kind.JPEG:
        image.draft(None, (2 * width, 2 * height))
    shrink = 2 ** round(math.log2(max(full) / max(image.size)))
    region = (min(width / scale, full[0]) / shrink, min(height / scale, full[1]) / shrink)
    return Reduction(width, height, region)


@contextmanager
def _opened(path: str | os.PathLike, page: int):
    """(handle, kind, Pillow image, pages) of a file; whatever a file makes Pillow raise comes out as BadImage."""
    name = os.fspath(path)
    try:
        with _open_regular(name) as handle, _quiet():
            head = handle.read(HEAD)
            kind, other = kind_of(head), other_kind(head)
            if kind is None or other is not None:
                unknown = "not an image of a known format" if head else "the file is empty"
                raise BadImage(f"{name}: {other or unknown}")
            frames, raw = tiff_pages(handle) if kind is Kind.TIFF else ([0], False)
            if raw:
                raise BadImage(f"{name}: {RAW}")
            opener = _opener(kind, name)
            handle.seek(0)
            image = opener(handle, None)
            least = 8 if kind is Kind.JPEG and "progressive" not in image.info else 1  # as small as it can be decoded
            _refuse_bomb((-(-image.width // least), -(-image.height // least)), image.size, name)
            if kind in _MOVING:
                frames = list(range(image.n_frames))
            if not 0 <= page < len(frames):
                raise BadImage(f"{name}: no page {page + 1}, it has {len(frames)}")
            if frames[page]:
                image.seek(frames[page])
                _refuse_bomb(image.size, image.size, name)
            yield handle, kind, image, len(frames)
    except BadInput:
        raise
    except UnknownRange as error:
        raise BadImage(f"{name}: {error}") from None
    except Exception as error:  # decoders raise nearly anything on damaged data: the fault is this file's alone
        raise BadImage(f"{name}: {_reason(error)}") from error


def _open_regular(name: str) -> BinaryIO:
    """Opens a regular file for reading; never blocks on a pipe or a device."""
    handle = open(name, "rb", opener=lambda file, flags: os.open(file, flags | getattr(os, "O_NONBLOCK", 0)))
    if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
        handle.close()
        raise BadImage(f"{name}: not a regular file")
    return handle


def _opener(kind: Kind, name: str) -> Callable[[BinaryIO, Any], Any]:
    plugin = _PLUGINS[kind]
    module = "pillow_heif" if kind is Kind.HEIC else f"PIL.{plugin}ImagePlugin"
    try:
        return getattr(importlib.import_module(module), f"{plugin}ImageFile")
    except ImportError:
        remedy = "pip install pillow-heif" if kind is Kind.HEIC else "a Pillow built with it"
        raise BadImage(f"{name}: a {kind.value} picture; reading it needs {remedy}") from None


def _refuse_bomb(decoded: tuple[int, int], full: tuple[int, int], name: str) -> None:
    """Refuses a picture by the size that it is decoded at."""
    limit = os.environ.get(LIMIT, str(MAX_PIXELS))
    if not limit.isdecimal() or int(limit) < 1:
        raise BadInput(f"{LIMIT}={limit}: expected a number of pixels")
    size = f"{full[0]} x {full[1]} pixels"
    if min(full) < 1:
        raise BadImage(f"{name}: {size}")
    if decoded[0] * decoded[1] > int(limit):
        raise BadImage(f"{name}: {size} are more than the limit of {int(limit) / 1e6:.0f} million ({LIMIT} sets it)")


def _check_sums(handle: BinaryIO) -> None:
    """Raises if a chunk of a PNG does not match its check sum: Pillow skips those of the pixels when it decodes."""
    from PIL.PngImagePlugin import PngImageFile

    place = handle.tell()
    handle.seek(0)
    PngImageFile(handle, None).verify()
    handle.seek(place)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    return f"damaged or unsupported ({next(iter(str(error).splitlines()), type(error).__name__)})"


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_guard: warnings.catch_warnings | None = None


@contextmanager
def _quiet():
    """Silences warnings in any number of threads at once: the first enters `catch_warnings` and the last leaves it. In
    interleaved order it may leave its filters behind for good."""
    global _quiet_depth, _quiet_guard
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_guard = warnings.catch_warnings()
            _quiet_guard.__enter__()
            warnings.simplefilter("ignore")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0 and _quiet_guard is not None:
                _quiet_guard.__exit__(None, None, None)
                _quiet_guard = None
