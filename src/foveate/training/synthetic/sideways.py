"""Scenes in which objects seem turned out of the plane: photographs of portraits teach what is seen from the side.

Annotated photographs often show their object from the front. Seen from the side, one half of it is foreshortened more
than the other. Near the axis about which it turns, an object is about as round as a cylinder of radius R (half-sides):
the point x of its front, turned by theta, comes to lie at

    R [sin(arcsin(x / R) + theta) - sin(theta)],

so points a little to the left and right of the middle, at -e and e, move towards it by two factors, l and r. A copy of
the scene is stretched by them along the object's own horizontal, each half by its own, out to `BOUND` half-sides;
beyond, the picture is shifted but keeps its scale. The copy's gaze carries the canonical triangle of two eyes and a
mouth to where the map takes them, with least squares, as the gaze of an annotated object does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from foveate.runtime.progress import Progress
from foveate.runtime.random import generator
from foveate.scenes import gaze
from foveate.scenes.annotations import FACE_POINTS
from foveate.scenes.layouts.keypoints import fit
from foveate.scenes.pyramid import Store
from foveate.training.gallery import Gallery, Shown, make
from foveate.training.settings import SidewaysSettings

RADIUS, SIDE, BOUND = 0.9, 0.42, 1.3  # R, e, and how far out the picture is stretched, half-sides
TRIANGLE = torch.tensor(list(FACE_POINTS.values()), dtype=torch.float64)


def sideways(
    gallery: Gallery,
    images: Sequence[int],
    settings: SidewaysSettings,
    seed: int,
    progress: Progress,
    store: Store | None = None,
) -> Gallery:
    """Copies of some of a gallery's scenes, turned about one of their objects each; those without one are passed over.
    A scene's copy depends on the seed and its name alone."""

    def turned(number: int) -> Shown | None:
        turn = _turn(gallery, number, settings, seed)
        if turn is None:
            return None
        objects, ignore = gallery.subset([number]), turn.boxes(gallery.ignore[number])
        at = turn.points(gaze.apply(objects.gaze, TRIANGLE.expand(len(objects.gaze), 3, 2)))
        pixels, name = turn.picture(gallery.pyramids.level(number, 0)), f"{gallery.names[number]}, sideways"
        dots = [{key: (x, y) for key, (x, y) in zip(FACE_POINTS, each, strict=True)} for each in at.tolist()]
        gazes = torch.from_numpy(fit(dots, FACE_POINTS).gazes)
        return Shown(name, pixels, gazes, ignore, objects.periods().tolist())

    return make("side views", images, turned, progress, store)


def factors(theta: float) -> tuple[float, float]:
    """(l, r): by how much the left and the right half are foreshortened when the front turns by theta to the right."""
    at = math.asin(SIDE / RADIUS)
    left = math.sin(theta) - math.sin(theta - at)
    right = math.sin(theta + at) - math.sin(theta)
    return max(left, 0.05) * RADIUS / SIDE, max(right, 0.05) * RADIUS / SIDE


@dataclass(frozen=True)
class Turn:
    """The map: along the horizontal of the gaze `about`, its left half by `left` and its right half by `right`."""

    about: Float[Tensor, "4"]
    left: float
    right: float

    def points(self, at: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 2"]:
        """Where pixel positions come to lie."""
        return self._along(at, [-BOUND, 0.0, BOUND], [-BOUND * self.left, 0.0, BOUND * self.right])

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """The scene [h, w, 3] after the map, bilinearly sampled; outside it lies its mean colour, as for a glimpse."""
        height, width = pixels.shape[:2]
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        at = torch.stack((x, y), -1).double()
        source = self._along(at, [-BOUND * self.left, 0.0, BOUND * self.right], [-BOUND, 0.0, BOUND])
        size = torch.tensor([width, height], dtype=torch.float64)
        planes = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
        mean = planes.mean((2, 3), keepdim=True)
        grid = (2 * source / size - 1).float()[None]
        seen = (F.grid_sample(planes - mean, grid, align_corners=False) + mean)[0]
        return np.rint(seen.permute(1, 2, 0).numpy()).clip(0, 65535).astype(np.uint16)

    def boxes(self, boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n 4"]:
        """Upright boxes around where boxes come to lie."""
        corners = self.points(boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].view(-1, 4, 2))
        return torch.cat((corners.amin(1), corners.amax(1)), 1)

    def _along(self, at: Float[Tensor, "*n 2"], old: list[float], new: list[float]) -> Float[Tensor, "*n 2"]:
        """Positions moved along the horizontal of `about`: piecewise linear from `old` to `new`, shifted beyond."""
        x, y = gaze.apply(gaze.invert(self.about), at.reshape(-1, 2)).unbind(-1)
        inner = torch.from_numpy(np.interp(x.numpy(), old, new))
        beyond = (x - old[0]).clamp(max=0) + (x - old[-1]).clamp(min=0)
        return gaze.apply(self.about, torch.stack((inner + beyond, y), -1)).view(at.shape)


def _turn(gallery: Gallery, number: int, settings: SidewaysSettings, seed: int) -> Turn | None:
    """How a scene is turned, and about which of its objects; None where it gets no copy."""
    rng, objects = generator(seed, "sideways", gallery.names[number]), gallery.of(number)
    uniform = torch.rand(4, generator=rng, dtype=torch.float64)
    if not len(objects) or uniform[0] >= settings.share:
        return None
    about = objects[int(uniform[1] * len(objects))]
    theta = settings.least + (settings.most - settings.least) * float(uniform[2])
    return Turn(about, *factors(theta if uniform[3] < 0.5 else -theta))
