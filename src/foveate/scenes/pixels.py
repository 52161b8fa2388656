"""Arrays of pixels in one common form, whatever numbers they came in: what a picture shows, not how it was stored.

8-bit grey and its 16-bit twin (x 257) are one picture, and so are they and their values divided by 255.
"""

import hashlib

import numpy as np
from jaxtyping import Shaped, UInt16

from foveate.errors import BadInput

SLACK = 1e-3
"""How far outside [0, 1] floating-point pixels may lie: resampled pictures overshoot a little."""


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
    """A name for an image that depends on what it shows alone: BLAKE2 of its shape and values in the common form.

    Raises:
        BadInput: As `as_uint16`.
    """
    common = pixels if pixels.dtype == np.uint8 else narrowed(as_uint16(pixels))
    digest = hashlib.blake2b(f"{common.dtype.str}{common.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(common).data)
    return digest.hexdigest()
