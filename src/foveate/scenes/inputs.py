"""Images as people hold them: each becomes the picture that a file with these pixels would be.

| held | how it is read |
| --- | --- |
| a path | as `read_image` reads it |
| a PIL image | the frame that it shows, upright (EXIF orientation) |
| a numpy array [height, width], or with channels last: 1 (grey), 2 (with alpha), 3 (colour), 4 (with alpha) | below |
| a torch tensor [height, width], or with such channels first | below |

Booleans are black and white. Integers are 8-bit, or 16-bit where their type is uint16 or, in a wider type, a value is
above 255. Floating-point pixels are 0 (black) to 1 (white). Transparency is laid on white.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from jaxtyping import Shaped

from foveate.errors import BadInput, one_line
from foveate.scenes.formats import Kind
from foveate.scenes.image import Picture, open_picture, upright
from foveate.scenes.pixels import as_uint16, narrowed

if TYPE_CHECKING:
    import PIL.Image
    import torch

AnyImage: TypeAlias = Union[str, "os.PathLike[str]", "PIL.Image.Image", np.ndarray, "torch.Tensor"]
"""One image, however it is held."""

EXPECTED = (
    "expected an image: a path, a PIL image, a numpy array [height, width] or [height, width, channels], or a torch "
    "tensor [channels, height, width]"
)


def is_one(images: Any) -> bool:
    """Whether this is one image rather than several: arrays and tensors of four dimensions are several.

    Raises:
        BadInput: It is neither.
    """
    if isinstance(images, (str, os.PathLike)) or _is_pillow(images):
        return True
    if isinstance(images, np.ndarray) or _is_tensor(images):
        return images.ndim < 4
    if isinstance(images, Iterable) and not isinstance(images, (bytes, bytearray, Mapping)):
        return False
    raise BadInput(f"{EXPECTED}; or several of them; got {type(images).__name__}")


def as_picture(image: Any, longest: int | None = None, page: int = 0) -> Picture:
    """An image, as the module's table has it, reduced where its longer side is above `longest`; a file's page from 0.

    Raises:
        BadInput: It is no image that can be used; the text says what was expected.
    """
    if isinstance(image, (str, os.PathLike)):
        if os.path.isdir(image):
            raise BadInput(f"{os.fspath(image)}: a folder; give the images in it, such as sorted(Path(...).glob('*'))")
        return open_picture(image, longest, page)
    if _is_pillow(image):
        return _of_pillow(image, longest)
    if isinstance(image, np.ndarray) or _is_tensor(image):
        return _of_array(image if isinstance(image, np.ndarray) else _channels_last(image), longest)
    raise BadInput(f"{EXPECTED}; got {type(image).__name__}")


def _is_pillow(image: Any) -> bool:
    return "PIL.Image" in sys.modules and isinstance(image, sys.modules["PIL.Image"].Image)


def _is_tensor(image: Any) -> bool:
    return "torch" in sys.modules and isinstance(image, sys.modules["torch"].Tensor)


def _of_pillow(image: Any, longest: int | None) -> Picture:
    if image.mode == "I" and image.format is None:
        return _of_array(np.asarray(image), longest)
    kind = {"TIFF": Kind.TIFF, "PPM": Kind.PPM}.get(image.format, Kind.PNG)
    try:
        image.load()
        return upright(image, kind, longest, "the PIL image")
    except (OSError, ValueError) as error:
        raise BadInput(f"the PIL image can't be used: {one_line(error)}") from error


def _channels_last(tensor: Any) -> np.ndarray:
    """A tensor as an array whose channels are its last dimension."""
    held = tensor.detach().cpu()
    array = (held.float() if held.is_floating_point() else held).numpy()
    if array.ndim == 2:
        return array
    if array.ndim != 3 or array.shape[0] not in (1, 2, 3, 4):
        last = array.ndim == 3 and array.shape[2] in (1, 2, 3, 4)
        hint = "; channels are first in a tensor: .permute(2, 0, 1)" if last else ""
        raise BadInput(f"a tensor of an image is [channels, height, width], not {list(array.shape)}{hint}")
    return array.transpose(1, 2, 0)


def _of_array(array: np.ndarray, longest: int | None) -> Picture:
    from PIL import Image

    values = array[:, :, None] if array.ndim == 2 else array
    if values.ndim != 3 or values.shape[2] not in (1, 2, 3, 4) or values.size == 0:
        first = values.ndim == 3 and values.shape[0] in (1, 2, 3, 4) and values.size
        hint = "; channels are last in an array: .transpose(1, 2, 0)" if first else ""
        raise BadInput(f"an array of an image is [height, width(, channels)], not {list(array.shape)}{hint}")
    values = _eight_or_sixteen(values)
    if values.dtype != np.uint8:
        values = narrowed(values)
    planes = [Image.fromarray(np.ascontiguousarray(values[:, :, k])) for k in range(values.shape[2])]
    if values.dtype == np.uint8:
        image = planes[0] if len(planes) == 1 else Image.merge(("LA", "RGB", "RGBA")[len(planes) - 2], planes)
        return upright(image, Kind.PNG, longest, "the array")
    seen = [upright(plane, Kind.PNG, longest, "the array") for plane in planes]
    pixels = np.concatenate([as_uint16(each.pixels)[:, :, :1] for each in seen], axis=2)
    return replace(seen[0], pixels=pixels)


def _eight_or_sixteen(values: Shaped[np.ndarray, "h w c"]) -> Shaped[np.ndarray, "h w channels"]:
    """uint8 as they are; all else in 16 bits and opaque colour."""
    kind = values.dtype.kind
    if kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if kind in "iu" and values.dtype not in (np.uint8, np.uint16):
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise BadInput(f"pixels of {values.dtype} go from {low} to {high}: expected 0 to 255, or 0 to 65535")
        values = values.astype(np.uint8 if high <= 255 else np.uint16)
    if values.dtype == np.uint8:
        return values
    if kind == "f":
        values = values.astype(np.float32)
        if values.size and np.isfinite(values).all() and 1.5 < values.max() <= 255:
            raise BadInput(f"floating-point pixels go up to {values.max():g}: expected 0 to 1; divide them by 255")
    shape = (*values.shape[:2], 3)
    if values.shape[2] in (1, 3):
        return as_uint16(np.broadcast_to(values, shape))
    colour, alpha = (as_uint16(np.broadcast_to(each, shape)) for each in (values[:, :, :-1], values[:, :, -1:]))
    share = alpha / 65535.0
    return np.rint(colour * share + 65535.0 * (1.0 - share)).astype(np.uint16)
