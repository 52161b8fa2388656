"""Pictures on their way into a story or a page: to 8 bits, to a thumbnail, to the bytes of a file, to a data URI."""

import base64
import io

import numpy as np
import torch
from PIL import Image

Stack = np.ndarray | torch.Tensor
"""Pictures, [..., 3, height, width] or [..., height, width, 3]."""

Picture = Stack | Image.Image
"""A picture in any form that `as_picture` takes."""

THUMBNAIL_SIDE = 360
"""Longest side, in pixels, of a photograph kept in a story."""


def as_picture(pixels: Picture) -> np.ndarray:
    """One picture or a stack of them as uint8, channels last: [..., height, width, 3].

    Args:
        pixels: A PIL image; or an array or tensor [..., 3, height, width] or [..., height, width, 3] (if both could
            be channels, the last one is): floats with 0 black and 1 white, uint8, or uint16.
    """
    if isinstance(pixels, Image.Image):
        return np.asarray(pixels.convert("RGB"))
    array = pixels.detach().cpu().numpy() if isinstance(pixels, torch.Tensor) else np.asarray(pixels)
    if array.ndim < 3:
        raise ValueError(f"a picture has the shape [3, height, width] or [height, width, 3], not {list(array.shape)}")
    if array.shape[-1] != 3:
        if array.shape[-3] != 3:
            raise ValueError(f"a picture has three channels; {list(array.shape)} has none")
        array = np.moveaxis(array, -3, -1)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.uint16:
        return np.ascontiguousarray((array // 257).astype(np.uint8))
    if array.dtype == bool or np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"the pixels of a picture are floats in [0, 1], uint8 or uint16, not {array.dtype}")
    whole = np.nan_to_num(array.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    return np.ascontiguousarray((whole.clip(0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))


def thumbnail(image: Picture | bytes, side: int = THUMBNAIL_SIDE) -> bytes:
    """The bytes of a JPEG of the picture, its longest side at most `side` pixels; bytes stay as they are."""
    if isinstance(image, bytes):
        return image
    small = image.convert("RGB") if isinstance(image, Image.Image) else Image.fromarray(as_picture(image))
    if max(small.size) > side:
        small = small.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return jpeg(small, quality=85)


def jpeg(picture: Image.Image, quality: int = 85) -> bytes:
    """The bytes of a JPEG without subsampled colour, so that neighbouring 8x8 blocks of a sprite don't bleed.

    Not with `optimize`: it needs the whole file in one buffer, and Pillow's is too small for a noisy picture.
    """
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue()


def png(picture: Image.Image) -> bytes:
    """The bytes of a PNG."""
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def data_uri(content: bytes) -> str:
    """The picture file as an address that holds it."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def picture_uri(pixels: Picture, quality: int = 90) -> str:
    """One picture as an address that holds it."""
    return data_uri(jpeg(Image.fromarray(as_picture(pixels)), quality))
