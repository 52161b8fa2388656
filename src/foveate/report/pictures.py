"""Pictures on their way into a story or a page: to 8 bits, to a thumbnail, to a wall of tiles, to a data URI."""

import base64
import io

import numpy as np
import torch
from PIL import Image

Picture = np.ndarray | torch.Tensor  # a picture, or a stack of them, in the forms that `as_picture` takes

THUMBNAIL_SIDE = 360  # longest side, in pixels, of a photograph kept in a story


def as_picture(pixels: Picture) -> np.ndarray:
    """One picture or a stack of them as uint8, channels last: [..., height, width, 3].

    They are given so, or [..., 3, height, width]: floats with 0 black and 1 white, uint8, or uint16.
    """
    array = pixels.detach().cpu().numpy() if isinstance(pixels, torch.Tensor) else pixels
    if array.ndim < 3 or 3 not in (array.shape[-1], array.shape[-3]):
        raise ValueError(f"a picture has three channels, [3, height, width] or [height, width, 3]: {list(array.shape)}")
    array = array if array.shape[-1] == 3 else np.moveaxis(array, -3, -1)
    if array.dtype == np.uint16:
        array = (array // 257).astype(np.uint8)
    elif array.dtype != np.uint8:
        whole = np.nan_to_num(array.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
        array = (whole.clip(0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(array)


def thumbnail(image: Picture | bytes) -> bytes:
    """The bytes of a JPEG of the picture, its longest side at most `THUMBNAIL_SIDE`; bytes stay as they are."""
    if isinstance(image, bytes):
        return image
    small = Image.fromarray(as_picture(image))
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return jpeg(small, quality=85)


def wall(patches: Picture, columns: int, gap: int = 1, scale: int = 1) -> Image.Image:
    """A grid of patches, row by row: RGB where it is full, else RGBA, transparent where there is no patch.

    Between patches are `gap` pixels, and each pixel becomes `scale` x `scale` of them.
    """
    pictures = as_picture(patches).repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, _ = pictures.shape
    columns = min(count, columns)
    rows = -(-count // columns)
    grid = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), dtype=np.uint8)
    for index, picture in enumerate(pictures):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        grid[top : top + height, left : left + width] = np.dstack([picture, np.full((height, width), 255, np.uint8)])
    full = bool((grid[..., 3] == 255).all())
    return Image.fromarray(np.ascontiguousarray(grid[..., :3]) if full else grid)


def jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    """The bytes of a JPEG without subsampled colour, so that neighbouring 8x8 blocks of a sprite don't bleed.

    Not with `optimize`: it needs the whole file in one buffer, and Pillow's is too small for a noisy picture.
    """
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue()


def data_uri(content: bytes | Image.Image) -> str:
    """A JPEG's bytes, or a picture as PNG, as an address that holds it."""
    kind = "jpeg"
    if isinstance(content, Image.Image):
        out, kind = io.BytesIO(), "png"
        content.save(out, "PNG", optimize=True)
        content = out.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def picture_uri(pixels: Picture) -> str:
    """One picture as an address that holds it, as JPEG."""
    return data_uri(jpeg(Image.fromarray(as_picture(pixels))))
