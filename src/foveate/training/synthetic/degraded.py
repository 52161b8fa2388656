"""Scenes that are harder to see: shrunk, blurred, covered, noisy, dark, in steps from hardly to badly.

What an error of a gaze depends on can't be learned from scenes that are all alike. Copies of scenes whose objects are
known, each spoilt in one way and by some amount, say how errors grow with what is seen.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageFilter

from foveate.runtime.progress import Progress
from foveate.runtime.random import numpy_generator
from foveate.scenes.pyramid import Store
from foveate.training.gallery import Gallery, Shown, make

LEAST = 7.0  # half-side to which objects are shrunk at most, pixels

Pixels = UInt8[ndarray, "h w 3"]


def degraded(
    gallery: Gallery, images: Sequence[int], copies: int, seed: int, progress: Progress, store: Store
) -> Gallery:
    """Copies of scenes, each spoilt in one of the ways of `WAYS` in turn; they depend on the seed and their names."""

    def copy(number: int) -> Shown:
        image = images[number // copies]
        rng = numpy_generator(seed, "degraded", gallery.names[image], number % copies)
        return degrade(gallery, image, list(WAYS)[number % len(WAYS)], rng.random(), rng)

    return make("degraded copies", range(copies * len(images)), copy, progress, store)


def degrade(gallery: Gallery, image: int, way: str, amount: float, rng: np.random.Generator) -> Shown:
    """One scene spoilt in one way by an amount in [0, 1]; objects and what is ignored go along."""
    pixels = (gallery.pyramids.level(image, 0) >> 8).astype(np.uint8)
    objects = gallery.subset([image])
    u = objects.gaze[int(rng.integers(len(objects.gaze)))].numpy() if len(objects.gaze) else np.array([30.0, 0, 0, 0])
    factor = 1.0
    if way == "shrunk":
        factor = min(LEAST / float(np.hypot(*u[:2])), 1.0) ** amount
        height, width = (max(round(side * factor), 16) for side in pixels.shape[:2])
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
    else:
        pixels = WAYS[way](pixels, u, amount, rng)
    name, ignore = f"{gallery.names[image]} {way} {amount:.2f}", gallery.ignore[image] * factor
    return Shown(name, pixels, objects.gaze * factor, ignore, objects.periods().tolist())


def _blurred(pixels: Pixels, u: ndarray, amount: float, rng: np.random.Generator) -> Pixels:
    sigma = float(np.hypot(u[0], u[1])) * 0.03 * 10**amount
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


def _covered(pixels: Pixels, u: ndarray, amount: float, rng: np.random.Generator) -> Pixels:
    """A rectangle of another place of the scene over a part of the object."""
    out, (height, width) = pixels.copy(), pixels.shape[:2]
    s = float(np.hypot(u[0], u[1]))
    half = np.maximum(s * (0.1 + 0.7 * amount) * np.exp(rng.normal(0, 0.2, 2)), 1)
    low = np.clip(u[2:] + s * rng.uniform(-0.8, 0.8, 2) - half, 0, [width - 1, height - 1]).astype(int)
    side = np.minimum((2 * half).astype(int) + 1, [width, height] - low)
    x, y = (int(rng.integers(most + 1)) for most in np.array([width, height]) - side)
    out[low[1] : low[1] + side[1], low[0] : low[0] + side[0]] = pixels[y : y + side[1], x : x + side[0]]
    return out


def _noisy(pixels: Pixels, u: ndarray, amount: float, rng: np.random.Generator) -> Pixels:
    noise = rng.normal(0.0, 4.0 * 20**amount, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def _dark(pixels: Pixels, u: ndarray, amount: float, rng: np.random.Generator) -> Pixels:
    """Less contrast and light, and the noise of a sensor."""
    noise = rng.normal(0.0, 2.0, pixels.shape)
    return np.clip(pixels * 0.04**amount + noise, 0, 255).astype(np.uint8)


WAYS: dict[str, Callable[[Pixels, ndarray, float, np.random.Generator], Pixels]] = {
    "blurred": _blurred, "covered": _covered, "noisy": _noisy, "dark": _dark, "shrunk": lambda pixels, *_: pixels,
}  # fmt: skip
