"""Gazes that move over a few smooth pictures, for the tests of Hamiltonian Monte Carlo."""

import math

import numpy as np
import torch

from foveate.runtime.random import generator, key
from foveate.scenes.gaze import from_scale_angle
from foveate.scenes.pyramid import Pyramids


def smooth_image(height: int, width: int, seed: int, waves: int = 12) -> np.ndarray:
    """A sum of plane waves of many lengths and directions: smooth, and different everywhere."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    image = np.zeros((height, width, 3))
    for length in np.geomspace(12, 400, waves):
        turn = random.uniform(0, 2 * np.pi)
        phase = 2 * np.pi * ((x * np.cos(turn) + y * np.sin(turn)) / length)
        image += np.cos(phase[..., None] + random.uniform(0, 2 * np.pi, 3))
    return 0.5 + 0.45 * image / np.abs(image).max()


def three_images() -> Pyramids:
    return Pyramids.from_images([smooth_image(300, 420, 0), smooth_image(511, 257, 1), smooth_image(24, 24, 2)])


def patches(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = generator(seed, "patches")
    mean = torch.rand(n, 3, 24, 24, generator=random, dtype=torch.float64)
    return mean, 0.5 + torch.rand(1, 3, 24, 24, generator=random, dtype=torch.float64)


def random_gazes(n: int, low: float, high: float, seed: int) -> torch.Tensor:
    """Centres in the middle half of a 300 x 420 image, scales from low to high, every angle."""
    r = torch.rand(4, n, generator=generator(seed, "gazes"), dtype=torch.float64)
    s = low * (high / low) ** r[0]
    return from_scale_angle(s, 2 * math.pi * r[1], 105 + 210 * r[2], 75 + 150 * r[3])


def keys(n: int) -> torch.Tensor:
    return torch.tensor([key(0, "kernel", i) for i in range(n)])


def full(n: int, value: float) -> torch.Tensor:
    return torch.full((n,), value, dtype=torch.float64)
