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
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from foveate.scenes.formats import Kind
from foveate.scenes.pixels import SLACK, narrowed

WHITE = (255, 255, 255)

_PHOTOMETRIC, _BITS, _MAX_SAMPLE = 262, 258, 281  # TIFF tags
_DECLARED_RANGES = {2**bits - 1 for bits in range(9, 17)}


class UnknownRange(ValueError):
    """Numbers of which nothing says what is black and what is white."""


@dataclass(frozen=True)
class Reduction:
    """To what size a picture is reduced while it is read."""

    width: int  # size wanted, in pixels
    height: int
    # (width, height) of the part of the decoded picture, from its upper left corner, that goes there. A JPEG
    # decoded at a fraction of its size has a region whose sides are no whole numbers.
    region: tuple[float, float]


def to_rgb(image: Any, kind: Kind, reduction: Reduction | None = None) -> Shaped[np.ndarray, "height width 3"]:
    """The pixels of an opened Pillow image, uint8 or, for sources of more than 8 bits, uint16.

    Raises:
        UnknownRange: Floating-point or integer pixels without a known range.
    """
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
        return _from_lab(image)
    if image.mode not in ("LA", "La", "PA", "RGBA", "RGBa") and "transparency" not in image.info:
        return image.convert("RGB")
    clear = image.convert("RGBA")
    ground = Image.new("RGB", clear.size, WHITE)
    ground.paste(clear, mask=clear.getchannel("A"))
    return ground


def _from_lab(image: Any) -> Any:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")


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
        grey = Image.fromarray(np.rint(unit * 255).astype(np.uint8))
        return np.repeat(np.asarray(_reduced(grey, reduction))[:, :, None], 3, axis=2)
    if reduction is not None:
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
    bits = image.tag_v2.get(_BITS, (16,))
    bits = bits[0] if isinstance(bits, tuple) else bits
    declared = image.tag_v2.get(_MAX_SAMPLE)
    declared = declared[0] if isinstance(declared, tuple) else declared
    return declared if declared in _DECLARED_RANGES else 2 ** int(bits) - 1
