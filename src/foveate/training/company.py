"""What is in mind in training: the target's canonical image from elsewhere, and a second object in sight.

The ShiftNet takes "x and v to predict change in u such that to maximize log p(u | x, v)" (Tang, Srivastava &
Salakhutdinov 2014). Where v always comes from the glimpse it says nothing that the context doesn't, and a network
learns to do without. So some pairs have the v of their target seen through another gaze, in another light and partly
covered; and of these most have a second object in sight, so that nothing but v says which of the two is meant.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from foveate.attention import shiftnet
from foveate.scenes import gaze
from foveate.scenes.glimpse import CONTEXT_EXTENT, CONTEXT_SIZE, PATCH_SIZE, contexts, glimpses, grid
from foveate.scenes.pyramid import Pyramids
from foveate.training.appearance import recolour
from foveate.training.labels import Objects
from foveate.training.settings import AppearanceSettings

ANOTHER_GAZE = (0.08, 0.08, 0.08, 0.08)  # standard deviations of (log s, angle, x / s, y / s)
NEXT = (1.7, 2.8)  # distance of a second object's centre, half-sides of the target
MIDWAY, BESIDE = 0.5, 0.3  # shares of gazes that start between the two, and near the second; the rest are as drawn


def seen_before(
    pyramids: Pyramids, objects: Objects, which: Int[Tensor, "n"], settings: AppearanceSettings, rng: torch.Generator
) -> Float[Tensor, "n 3 24 24"]:
    """Objects through other gazes near their own, in other lights, some of them partly covered."""
    count = len(which)
    away = torch.tensor(ANOTHER_GAZE, dtype=torch.float64) * torch.randn(count, 4, generator=rng, dtype=torch.float64)
    glimpse = glimpses(pyramids, objects.image[which], gaze.compose(objects.gaze[which], shiftnet.to_gaze(away)))
    at, half = torch.rand(2, count, 2, generator=rng)
    hidden = torch.rand(count, generator=rng) < settings.cover
    place = grid(PATCH_SIZE, 1.0).float().view(1, PATCH_SIZE, PATCH_SIZE, 2)
    off = (place - (2 * at - 1)[:, None, None]).abs()
    covered = (off < (0.15 + 0.45 * half)[:, None, None]).all(-1) & hidden[:, None, None]
    glimpse = torch.where(covered[:, None], glimpse.flip(2).roll(1, 0), glimpse)
    return recolour(glimpse, settings, rng)


def second_objects(
    objects: Objects, which: Int[Tensor, "n"], start: Float[Tensor, "n 4"], rng: torch.Generator
) -> tuple[Int[Tensor, "n"], Float[Tensor, "n 4"], Float[Tensor, "n 4"]]:
    """A second object for each target: its number, where it is to appear, in pixels of the target's image, and where
    gazes that look for the target set out."""
    count, target = len(which), objects.gaze[which]
    other = (which + torch.randint(1, max(len(objects.image), 2), (count,), generator=rng)) % len(objects.image)
    normal = torch.randn(count, 6, generator=rng, dtype=torch.float64)
    uniform = torch.rand(count, 2, generator=rng, dtype=torch.float64)
    toward, distance = 2 * math.pi * uniform[:, 0], NEXT[0] + (NEXT[1] - NEXT[0]) * uniform[:, 1]
    x, y = distance * torch.cos(toward), distance * torch.sin(toward)
    place = gaze.compose(target, shiftnet.to_gaze(torch.stack((0.2 * normal[:, 0], 0.2 * normal[:, 1], x, y), 1)))
    between = gaze.from_scale_angle(
        torch.sqrt(gaze.scale(target) * gaze.scale(place)), gaze.angle(target),
        *((target[:, 2:] + place[:, 2:]) / 2).unbind(1),
    )  # fmt: skip
    jitter = shiftnet.to_gaze(torch.cat((0.25 * normal[:, 2:4], 0.3 * normal[:, 4:]), 1))
    kind = torch.rand(count, 1, generator=rng)
    out = torch.where(kind < MIDWAY, gaze.compose(between, jitter), start)
    beside = (kind >= MIDWAY) & (kind < MIDWAY + BESIDE)
    return other, place, torch.where(beside, gaze.compose(place, jitter), out)


def put_beside(
    context: Float[Tensor, "n 3 72 72"],
    pyramids: Pyramids,
    objects: Objects,
    other: Int[Tensor, "n"],
    window: Float[Tensor, "n 4"],
    place: Float[Tensor, "n 4"],
    target: Float[Tensor, "n 4"],
    rng: torch.Generator,
) -> None:
    """Draws the other object's photograph into contexts, where they show places nearer to it than to the target."""
    near = gaze.compose(gaze.invert(window), place)
    through = gaze.compose(objects.gaze[other], gaze.invert(near))
    contexts(pyramids, objects.image[other], through, out=context, where=_nearer(window, place, target, rng))


def _nearer(
    window: Float[Tensor, "n 4"], place: Float[Tensor, "n 4"], target: Float[Tensor, "n 4"], rng: torch.Generator
) -> Bool[Tensor, "n 72 72"]:
    """Which cells of the window lie nearer to `place` than to the target, and within 1.1 to 4 half-sides of it."""
    points = gaze.apply(window, grid(CONTEXT_SIZE, CONTEXT_EXTENT).expand(len(window), -1, -1))
    to_place, to_target = (torch.linalg.vector_norm(points - each[:, None, 2:], dim=2) for each in (place, target))
    reach = 1.1 + 2.9 * torch.rand(len(window), 1, generator=rng, dtype=torch.float64)
    inner = gaze.apply(gaze.invert(place), points).abs().amax(2) <= reach
    return ((to_place < to_target) & inner).view(-1, CONTEXT_SIZE, CONTEXT_SIZE)
