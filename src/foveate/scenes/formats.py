"""What kind of image a file is, by its first bytes and never by its name."""

import enum
import struct
from typing import BinaryIO

HEAD = 132  # how many of a file's first bytes `kind_of` wants


class Kind(enum.Enum):
    """Image formats that are read, without those that run an interpreter (EPS, WMF) or have no signature (TGA)."""

    JPEG = "JPEG"
    PNG = "PNG"
    GIF = "GIF"
    WEBP = "WebP"
    TIFF = "TIFF"
    BMP = "BMP"
    PPM = "PPM"
    JPEG2000 = "JPEG 2000"
    AVIF = "AVIF"
    HEIC = "HEIC"


SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .webp .tif .tiff .bmp .dib .ppm .pgm .pbm .pnm .jp2 .j2k .jpx"
    " .avif .heic .heif .hif".split()
)
"""Endings by which a file claims to be an image: where the content disagrees, that deserves an error, not silence."""

_SIGNATURES = {
    Kind.JPEG: (b"\xff\xd8\xff",),
    Kind.PNG: (b"\x89PNG\r\n\x1a\n",),
    Kind.GIF: (b"GIF87a", b"GIF89a"),
    Kind.TIFF: (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    Kind.JPEG2000: (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n"),
}

RAW = "a raw camera file: develop it first"
_VIDEO = "a video: extract frames as images"
_OTHERS = (
    (0, b"%PDF", "a PDF document: save its pages as images"),
    (0, b"%!PS", "a PostScript document: save its pages as images"),
    (0, b"8BPS", "a Photoshop document: export it as PNG or TIFF"),
    (128, b"DICM", "a DICOM file: export its image as PNG or TIFF"),
    *((at, mark, RAW) for at, mark in ((8, b"CR\2"), (0, b"FUJIFILMCCD-RAW"), (0, b"FOVb"), (0, b"IIU\0"))),
    *((0, mark, RAW) for mark in (b"IIRO", b"IIRS", b"MMOR")),
    *((0, mark, _VIDEO) for mark in (b"\x1aE\xdf\xa3", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"0&\xb2u", b"FLV\1")),
    *((4, mark, _VIDEO) for mark in (b"moov", b"mdat", b"wide")),
    (8, b"AVI ", _VIDEO),
)
"""Files that people take for pictures: where which bytes stand, what it is, and what to do."""

_BMP_HEADERS = {12, 40, 52, 56, 64, 108, 124}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def kind_of(head: bytes) -> Kind | None:
    """The format that a file of these first `HEAD` bytes has, or None for no image."""
    for kind, signatures in _SIGNATURES.items():
        if head.startswith(signatures):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind.WEBP
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return Kind.BMP
    if head[:1] == b"P" and head[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6") and head[2:3].isspace():
        return Kind.PPM
    return _iso_media(head) if head[4:8] == b"ftyp" else None


def other_kind(head: bytes) -> str | None:
    """What a file is whose first `HEAD` bytes these are, and what to do, where no picture can be read from it."""
    for at, mark, name in _OTHERS:
        if head[at:].startswith(mark):
            return name
    if head[4:8] != b"ftyp" or _iso_media(head) is not None:
        return None
    return RAW if head[8:12] == b"crx " else _VIDEO


def _iso_media(head: bytes) -> Kind | None:
    """AVIF, HEIC, videos and some raw files share a container: the brands of its first box differ."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12]} | {head[at : at + 4] for at in range(16, length - 3, 4)}
    if brands & {b"avif", b"avis"}:
        return Kind.AVIF
    return Kind.HEIC if brands & _HEIC_BRANDS else None


_SUBFILE, _OLD_SUBFILE, _PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = 254, 255, 262, 330, 50706
_MOSAIC, _LINEAR_RAW = 32803, 34892  # photometric interpretations of what a sensor measured


def tiff_pages(handle: BinaryIO) -> tuple[list[int], bool]:
    """Which directories of a TIFF are pages, thumbnails and masks left out, and whether it is a raw camera file.

    Raw files (DNG, NEF, ARW, ...) begin with a thumbnail, and keep what the sensor measured in directories below it.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    handle.seek(0)
    head = handle.read(8)
    directory = ImageFileDirectory_v2(head + (handle.read(8) if 43 in head[2:4] else b""))
    seen: set[int] = set()
    small, raw, below = [], False, False
    while directory.next and directory.next not in seen:
        seen.add(directory.next)
        handle.seek(directory.next)
        directory.load(handle)
        small.append(bool(directory.get(_SUBFILE, 0) & 0b101) or directory.get(_OLD_SUBFILE) == 2)
        raw |= directory.get(_PHOTOMETRIC) in (_MOSAIC, _LINEAR_RAW) or _DNG_VERSION in directory
        below |= _SUB_DIRECTORIES in directory
    return [number for number in range(len(small)) if not small[number] or all(small)], raw or (below and all(small))


def png_has_late_exif(handle: BinaryIO) -> bool:
    """Whether an eXIf chunk stands behind the pixels of a PNG; leaves the handle where it was."""
    place = handle.tell()
    handle.seek(8)
    late = seen_pixels = False
    while not late and len(header := handle.read(8)) == 8:
        length, name = struct.unpack(">I4s", header)
        late = name == b"eXIf" and seen_pixels
        seen_pixels |= name == b"IDAT"
        handle.seek(length + 4, 1)
    handle.seek(place)
    return late
