"""Training pairs with one object in mind: v is of the target as it was seen before, and another may stand beside it.

Tang, Srivastava & Salakhutdinov (2014), supplement: the network "takes as input x and v to predict change in u such
that to maximize log p(u | x, v)". Where v always comes from the glimpse, a network learns to do without it. So some
pairs have v of the target through another gaze, in another light and partly covered; most of these have a second object
in sight, of another photograph that begins half-way between the two, and only v says which one is meant.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveate.attention import shiftnet
from foveate.scenes import gaze
from foveate.scenes.glimpse import CONTEXT_EXTENT, CONTEXT_SIZE, PATCH_SIZE, glimpses, grid
from foveate.scenes.pyramid import Pyramids
from foveate.training.appearance import Beside, recolour
from foveate.training.labels import Objects
from foveate.training.settings import AppearanceSettings

SEEN_BEFORE = AppearanceSettings(mirror=0.0, cover=1.0)  # how what is in mind was seen
ANOTHER_GAZE = (0.08, 0.08, 0.08, 0.08)  # standard deviations of (log s, angle, x / s, y / s)
BESIDE = 0.75  # share of pairs with one in mind that have another object in sight
MIDWAY = 0.5  # share of these whose gaze sets out midway between the two
FARTHEST, APART = 2.4, (2.0, 4.0)  # of the target from the gaze, and of the other one from the target, half-sides
SIZE, TURN = 0.25, 0.2  # standard deviations of log scale and angle, of either, beside the gaze's


class InMind(NamedTuple):
    """Pairs of a minibatch whose v is of the target as it was seen before."""

    row: Int[Tensor, "k"]  # their places in the minibatch
    beside: Beside  # those of them in which another object is in sight
    start: Float[Tensor, "beside 4"]  # the gazes from which these are looked for
    glimpse: Float[Tensor, "k 3 24 24"]  # what was seen before


def draw_in_mind(
    pyramids: Pyramids, objects: Objects, which: Int[Tensor, "n"], share: float, turn: bool, rng: torch.Generator
) -> InMind:
    """Chooses a share of the pairs that look for objects `which`; one in `BESIDE` of them has a second one in sight."""
    row = torch.nonzero(torch.rand(len(which), generator=rng) < share)[:, 0]
    first = row[: round(BESIDE * len(row))]
    mine = which[first]
    other = (mine + 1 + torch.randint(max(len(objects.image) - 1, 1), mine.shape, generator=rng)) % len(objects.image)
    at, beyond = _places(len(mine), rng)
    start, window = (
        gaze.compose(objects.gaze[each], gaze.invert(shiftnet.to_gaze(_change(place, turn, rng))))
        for each, place in ((mine, at), (other, beyond))
    )
    points = grid(CONTEXT_SIZE, CONTEXT_EXTENT).view(1, CONTEXT_SIZE, CONTEXT_SIZE, 2)
    to_mine, to_other = ((points - place[:, None, None]).square().sum(-1) for place in (at, beyond))
    beside = Beside(first, objects.image[other], window, to_other < to_mine)
    before = seen_before(pyramids, objects.image[which[row]], objects.gaze[which[row]], rng)
    return InMind(row, beside, start, before)


def seen_before(
    pyramids: Pyramids, image: Int[Tensor, "n"], gazes: Float[Tensor, "n 4"], rng: torch.Generator
) -> Float[Tensor, "n 3 24 24"]:
    """Objects through other gazes near their own, in other lights, partly covered; pixels in [0, 1]."""
    count = len(gazes)
    away = torch.tensor(ANOTHER_GAZE, dtype=torch.float64) * torch.randn(count, 4, generator=rng, dtype=torch.float64)
    glimpse = glimpses(pyramids, image, gaze.compose(gazes, shiftnet.to_gaze(away)))
    at, half = torch.rand(2, count, 2, generator=rng)
    hidden = torch.rand(count, generator=rng) < SEEN_BEFORE.cover
    place = grid(PATCH_SIZE, 1.0).float().view(1, PATCH_SIZE, PATCH_SIZE, 2)
    off = (place - (2 * at - 1)[:, None, None]).abs()
    covered = (off < (0.15 + 0.45 * half)[:, None, None]).all(-1) & hidden[:, None, None]
    glimpse = torch.where(covered[:, None], glimpse.flip(2).roll(1, 0), glimpse)
    return recolour(glimpse, SEEN_BEFORE, rng).clamp_(0, 1)


def _places(count: int, rng: torch.Generator) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2"]]:
    """Where the target and the other one are in the frame of the gaze, half-sides."""
    uniform = torch.rand(4, count, generator=rng, dtype=torch.float64)
    midway = torch.rand(count, generator=rng) < MIDWAY
    nearest = torch.where(midway, APART[0] / 2, 0.0)
    at = (nearest + (FARTHEST - nearest) * uniform[0])[:, None] * _direction(uniform[1])
    away = (APART[0] + (APART[1] - APART[0]) * uniform[2])[:, None] * _direction(uniform[3])
    return at, torch.where(midway[:, None], -at, at + away)


def _direction(turn: Float[Tensor, "n"]) -> Float[Tensor, "n 2"]:
    return torch.stack((torch.cos(2 * math.pi * turn), torch.sin(2 * math.pi * turn)), 1)


def _change(place: Float[Tensor, "n 2"], turn: bool, rng: torch.Generator) -> Float[Tensor, "n 4"]:
    """The change that leads from the gaze to an object at that place."""
    log_s, angle = torch.randn(2, len(place), generator=rng, dtype=torch.float64)
    return torch.cat((torch.stack((SIZE * log_s, TURN * turn * angle), 1), place), 1)
