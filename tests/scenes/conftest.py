"""Pictures made by the tests themselves: whole, odd and broken ones, as bytes of files."""

import functools
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image


def encode(picture, kind, **options):
    """The bytes of a file of one format: `picture` is a Pillow image or an array."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(name, data, check_sum=None):
    check_sum = zlib.crc32(name + data) if check_sum is None else check_sum
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check_sum)


def png(width, height, bits, colour_type, rows, extra=b""):
    """A PNG from its raw rows (without filter bytes), for kinds of pixels that Pillow does not write."""
    stride = len(rows) // height
    filtered = b"".join(b"\0" + rows[at : at + stride] for at in range(0, len(rows), stride))
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(filtered)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(width, height, bits, data, byte_order="<", photometric=1, extra=()):
    """A grey TIFF of one uncompressed strip; `extra` holds more tags as (tag, value), each one SHORT."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height, **dict(extra)}
    entries = {tag: (3, value) for tag, value in tags.items()}
    entries[273] = (4, 8)
    entries[279] = (4, len(data))
    start = 8 + len(data) + len(data) % 2
    directory = struct.pack(byte_order + "H", len(entries))
    for tag in sorted(entries):
        kind, value = entries[tag]
        directory += struct.pack(byte_order + "HHI", tag, kind, 1)
        directory += struct.pack(byte_order + ("HH" if kind == 3 else "I"), *((value, 0) if kind == 3 else (value,)))
    magic = (b"II" if byte_order == "<" else b"MM") + struct.pack(byte_order + "HI", 42, start)
    return magic + data + b"\0" * (len(data) % 2) + directory + struct.pack(byte_order + "I", 0)


def with_exif(jpeg, data):
    """A JPEG with one APP1 segment of exactly these bytes."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + jpeg[2:]


def exif_of(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes()


def photograph(height=48, width=64, seed=0):
    """A smooth coloured picture with no symmetry, uint8."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


@functools.cache
def broken_images():
    """Files that are to be refused, by name: each is an image to look at its name or its first bytes."""
    picture = photograph(96, 128)
    whole = {
        "jpg": encode(picture, "JPEG", quality=90),
        "progressive.jpg": encode(picture, "JPEG", quality=90, progressive=True),
        "png": encode(picture, "PNG"),
        "webp": encode(picture, "WEBP", quality=90),
        "tif": encode(picture, "TIFF", compression="tiff_lzw"),
        "bmp": encode(picture, "BMP"),
        "gif": encode(Image.fromarray(picture).quantize(64), "GIF"),
        "ppm": encode(picture, "PPM"),
        "jp2": encode(picture, "JPEG2000"),
    }
    broken = {f"cut.{name}": data[: len(data) * 6 // 10] for name, data in whole.items()}
    broken |= {f"head.{name}": data[:40] for name, data in whole.items()}
    at = whole["png"].index(b"IDAT") + 30
    broken["flipped.png"] = whole["png"][:at] + bytes([whole["png"][at] ^ 0xFF]) + whole["png"][at + 1 :]
    check = whole["png"].index(b"IEND") - 8
    broken["check_sum.png"] = whole["png"][:check] + b"\0\0\0\0" + whole["png"][check + 4 :]
    broken["empty.jpg"] = b""
    broken["text.jpg"] = b"this was an image once\n" * 20
    broken["page.png"] = b"<!doctype html><title>404</title>"
    broken["zeros.tif"] = bytes(5000)
    broken["bomb.png"] = png(14000, 14000, 1, 0, bytes(1750) * 14000)
    broken["no_width.bmp"] = whole["bmp"][:18] + bytes(4) + whole["bmp"][22:]
    broken["phone.heic"] = struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(100)
    broken["nan.tif"] = encode(Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)), "TIFF")
    broken["degrees.tif"] = encode(Image.fromarray(np.full((4, 4), 21.5, dtype=np.float32)), "TIFF")
    return broken


@pytest.fixture(scope="session")
def make():
    """The builders of this file."""

    class Builders:
        pass

    builders = Builders()
    for each in (encode, png, png_chunk, tiff, with_exif, exif_of, photograph, broken_images):
        setattr(builders, each.__name__, each)
    return builders


@pytest.fixture
def saved(tmp_path):
    """`saved(name, data)` writes bytes below a fresh folder and gives the path."""

    def save(name, data):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return save
