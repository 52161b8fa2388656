"""Crops of the photographs that come inside scikit-image: grounds for made scenes, with no download."""

import functools
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from foveate.errors import FoveateError

NAMES = (
    *("astronaut", "brick", "camera", "chelsea", "clock", "coffee", "coins", "grass", "gravel", "hubble_deep_field"),
    *("immunohistochemistry", "moon", "rocket", "stereo_motorcycle"),
)

_TRAIN_SHARE = 0.65  # crops to train on come from this left part of each photograph, those to test on from the rest


class MissingExtra(FoveateError):
    """Something is asked for that needs packages which are not installed; the text says how to get them."""


def bundled() -> Any:
    """The module of scikit-image that holds the photographs."""
    try:
        from skimage import data
    except ImportError:
        raise MissingExtra("generated scenes need scikit-image's photographs: pip install 'foveate[demo]'") from None
    return data


@functools.cache
def photograph(name: str) -> UInt8[np.ndarray, "height width 3"]:
    """One of `NAMES` in colour, grey ones repeated."""
    found = getattr(bundled(), name)()
    found = found[0] if isinstance(found, tuple) else found
    return np.ascontiguousarray(np.repeat(found[:, :, None], 3, axis=2) if found.ndim == 2 else found[:, :, :3])


def crop(rng: np.random.Generator, height: int, width: int, test: bool = False) -> Float[np.ndarray, "height width 3"]:
    """A random crop of a random photograph at a random magnification, perhaps mirrored, slightly tinted; in [0, 1].

    Crops for training and for testing come from parts of the photographs that have no pixel in common.
    """
    picture = photograph(NAMES[rng.integers(len(NAMES))])
    edge = round(picture.shape[1] * _TRAIN_SHARE)
    part = picture[:, edge:] if test else picture[:, :edge]
    magnification = max(np.exp(rng.uniform(np.log(0.6), np.log(2.0))), height / part.shape[0], width / part.shape[1])
    across, down = min(width / magnification, part.shape[1]), min(height / magnification, part.shape[0])
    left, top = rng.uniform(0, part.shape[1] - across), rng.uniform(0, part.shape[0] - down)
    box = (left, top, left + across, top + down)
    resized = Image.fromarray(np.ascontiguousarray(part)).resize((width, height), Image.Resampling.BICUBIC, box)
    pixels = np.asarray(resized, dtype=np.float32) / 255
    tint = rng.uniform(0.85, 1.0, size=3).astype(np.float32)
    return (pixels[:, ::-1] if rng.random() < 0.5 else pixels) * tint


def luminance(pixels: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape"]:
    """Rec. 709 weights on the pixel values as they are."""
    return np.asarray(pixels @ np.array([0.2126, 0.7152, 0.0722], dtype=pixels.dtype))
