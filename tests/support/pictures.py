"""Pictures to look at."""

import numpy as np


def blob_image(seed: int, side: int = 160) -> np.ndarray:
    """Coloured Gaussian blobs: no two places, sizes or angles look alike."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] + 0.5
    image = np.full((side, side, 3), 0.5)
    for _ in range(60):
        centre, width = random.uniform(0, side, 2), random.uniform(5, 14)
        bump = np.exp(-0.5 * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / width**2)
        image += 0.3 * bump[..., None] * random.uniform(-1, 1, 3)
    return np.clip(image, 0, 1)


def in_disc(height: int, width: int, x: float, y: float, radius: float) -> np.ndarray:
    """Which pixels of a picture lie in a disc."""
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def plain(glimpse):
    """A canonical image that is the glimpse itself, about grey."""
    return glimpse - 0.5
