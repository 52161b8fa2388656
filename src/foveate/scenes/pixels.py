"""From what a file stores to red, green and blue: one stated rule for every kind of pixel.

| stored | becomes |
| --- | --- |
| grey, 1-bit, palette, YCbCr, CMYK, HSV, Lab | red, green, blue of 8 bits; profiles (ICC) are not applied |
| transparency (alpha, or a transparent colour) | laid on white, as viewers do |
| grey of 16 bits | 16 bits; the range is the format's (65535), never the picture's own maximum |
| grey of 16 bits that is 8-bit grey x 257 | those 8 bits: the same picture in other bytes |
| grey of k bits, 8 < k < 16 (TIFF's BitsPerSample, or a MaxSampleValue of 2^k - 1) | 16 bits; 2^k - 1 is white |
| grey TIFF whose 0 is white | inverted |
| colour of 16 bits | its upper 8 bits (Pillow keeps no more) |
| floating point | [0, 1] is black to white; a picture with other values, or with NaN, is refused |
| integers of 32 bits, or signed ones | refused: nothing says what white is |

Arrays of pixels have one common form too, whatever numbers they came in: what a picture shows, not how it was stored.
8-bit grey and its 16-bit twin (x 257) are one picture, and so are they and their values divided by 255.
"""

import hashlib
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped, UInt16

from foveate.errors import BadInput
from foveate.scenes.formats import Kind

SLACK = 1e-3  # how far outside [0, 1] floating-point pixels may lie: resampled pictures overshoot a little


def as_uint16(image: Shaped[np.ndarray, "..."]) -> UInt16[np.ndarray, "h w 3"]:
    """uint8, uint16 or floating-point pixels (in [0, 1]) as 16 bits: v / 65535 is the pixel in [0, 1].

    Raises:
        BadInput: The image is not [height, width, 3], is empty, or holds numbers without a known range.
    """
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise BadInput(f"an image must be [height, width, 3] and not empty, not {list(image.shape)}")
    if image.dtype == np.uint8:
        return image.astype(np.uint16) * np.uint16(257)
    if image.dtype == np.uint16:
        return image
    if image.dtype not in (np.float32, np.float64):
        raise BadInput(f"an image must be uint8, uint16 or float, not {image.dtype}")
    low, high = float(image.min()), float(image.max())
    if not np.isfinite(image).all():
        raise BadInput("an image holds NaN or infinite values")
    if low < -SLACK or high > 1 + SLACK:
        raise BadInput(f"an image has floating-point pixels from {low:g} to {high:g}: expected 0 (black) to 1 (white)")
    return np.rint(np.clip(image, 0, 1) * 65535).astype(np.uint16)


def narrowed(values: UInt16[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """16-bit pixels that are 8-bit ones x 257 as those 8 bits; others as they are."""
    eight = (values >> 8).astype(np.uint8)
    return eight if np.array_equal(eight * np.uint16(257), values) else values


def content_key(pixels: Shaped[np.ndarray, "h w 3"]) -> str:
    """A name for an image that depends on what it shows alone: BLAKE2 of its shape and values in the common form."""
    common = pixels if pixels.dtype == np.uint8 else narrowed(as_uint16(pixels))
    digest = hashlib.blake2b(f"{common.dtype.str}{common.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(common).data)
    return digest.hexdigest()


WHITE = (255, 255, 255)

_ORIENTATION = 274  # EXIF tag
_PHOTOMETRIC, _BITS, _MAX_SAMPLE = 262, 258, 281  # TIFF tags
_DECLARED_RANGES = {2**bits - 1 for bits in range(9, 17)}


class UnknownRange(ValueError):
    """Numbers of which nothing says what is black and what is white."""


class Reduction(NamedTuple):
    """To what size a picture is reduced while it is read, and the sides of the part of the decoded picture, from its
    upper left corner, that goes there: no whole numbers where a JPEG is decoded at a fraction of its size."""

    width: int
    height: int
    region: tuple[float, float]


def to_rgb(image: Any, kind: Kind, reduction: Reduction | None = None) -> Shaped[np.ndarray, "height width 3"]:
    """The pixels of a Pillow image, uint8, or uint16 for sources of more than 8 bits; may raise UnknownRange."""
    image.load()
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep(image, kind, reduction)
    return np.asarray(_reduced(_opaque(image), reduction).convert("RGB"))


def _opaque(image: Any) -> Any:
    """A picture of mode L or RGB: palettes resolved, transparency laid on white."""
    from PIL import Image

    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if image.mode not in ("LA", "La", "PA", "RGBA", "RGBa") and "transparency" not in image.info:
        return image.convert("RGB")
    clear = image.convert("RGBA")
    ground = Image.new("RGB", clear.size, WHITE)
    ground.paste(clear, mask=clear.getchannel("A"))
    return ground


def _reduced(image: Any, reduction: Reduction | None) -> Any:
    """Weighted means over a little more than the area of each new pixel, all weights positive: no aliasing, no
    ringing."""
    from PIL import Image

    if reduction is None:
        return image
    region = (0.0, 0.0, min(reduction.region[0], image.width), min(reduction.region[1], image.height))
    return image.resize((reduction.width, reduction.height), Image.Resampling.HAMMING, region)


def _deep(image: Any, kind: Kind, reduction: Reduction | None) -> Shaped[np.ndarray, "height width 3"]:
    """Grey of more than 8 bits, by the rules of the module's table."""
    from PIL import Image

    values = np.asarray(image)
    maximum = None if image.mode == "F" else _declared_maximum(image, kind)
    if maximum == 65535 and (eight := narrowed(values.astype(np.uint16))).dtype == np.uint8:
        values, maximum = eight, 255
    unit = _unit_floats(values) if maximum is None else values.astype(np.float32) / maximum
    if kind is Kind.TIFF and image.tag_v2.get(_PHOTOMETRIC) == 0:
        unit = 1 - unit
    if maximum == 255:
        grey = np.asarray(_reduced(Image.fromarray(np.rint(unit * 255).astype(np.uint8)), reduction))
    else:
        unit = np.asarray(_reduced(Image.fromarray(unit), reduction))
        grey = np.rint(np.clip(unit, 0, 1) * 65535).astype(np.uint16)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _unit_floats(values: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    low, high = float(values.min()), float(values.max())
    if not (low >= -SLACK and high <= 1 + SLACK):  # NaN fails every comparison
        raise UnknownRange(f"floating-point pixels from {low:g} to {high:g}: only those in [0, 1] have a known meaning")
    return values.astype(np.float32)


def _declared_maximum(image: Any, kind: Kind) -> int:
    """What value is white in a grey picture of integers."""
    if image.mode == "I" and kind not in (Kind.PPM, Kind.PNG):
        raise UnknownRange("pixels are integers of 32 bits, or signed: the value of white is unknown")
    if kind is not Kind.TIFF:
        return 65535
    told = (image.tag_v2.get(_BITS, 16), image.tag_v2.get(_MAX_SAMPLE))
    bits, declared = (value[0] if isinstance(value, tuple) else value for value in told)
    return declared if declared in _DECLARED_RANGES else 2 ** int(bits) - 1


def orientation_of(image: Any, kind: Kind) -> int:
    """EXIF orientation, 1 where it is absent, broken or unknown. Pillow turns TIFF upright itself."""
    data = None if kind is Kind.TIFF else image.info.get("exif")
    if not data:
        return 1
    from PIL import Image

    exif = Image.Exif()
    try:
        exif.load(data)
        found = exif.get(_ORIENTATION)
    except Exception:  # any garbage may stand there; the picture itself is fine
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def upright_rows(stored: Shaped[np.ndarray, "rows columns 3"], orientation: int) -> Shaped[np.ndarray, "h w 3"]:
    """Stored rows as a person sees the picture, by its EXIF orientation."""
    turned = stored.transpose(1, 0, 2) if orientation >= 5 else stored
    return turned[:: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1]
