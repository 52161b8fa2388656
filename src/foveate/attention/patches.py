"""Aligned patches: what the patch model learns from.

The same object seen through slightly different gazes gives different patches, and all of them are right: a model that
has seen jittered patches generalises far better than one that has seen each object once.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.pairs import Objects
from foveate.attention.shiftnet import to_gaze
from foveate.keys import generator
from foveate.scenes import gaze
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids


@dataclass(frozen=True)
class PatchSettings:
    """How aligned patches are varied."""

    copies: int = 2  # patches of each object an epoch
    log_scale: float = 0.03  # standard deviations of the jitter
    turn: float = 0.03  # radians
    shift: float = 0.03  # half-sides
    mirror: bool = True  # half of them are mirror images


def aligned_patches(pyramids: Pyramids, objects: Objects) -> Float[Tensor, "n 3 24 24"]:
    """The glimpse at each object's gaze, in [0, 1]."""
    return glimpses(pyramids, objects.image, objects.gaze)


def jittered_patches(
    pyramids: Pyramids, objects: Objects, settings: PatchSettings, seed: int, epoch: int
) -> Float[Tensor, "n 3 24 24"]:
    """Patches of one epoch, in random order: `copies` of each object through jittered gazes."""
    rng = generator(seed, "patches", epoch)
    count = settings.copies * len(objects.image)
    order = torch.randperm(count, generator=rng) % len(objects.image)
    spread = torch.tensor([settings.log_scale, settings.turn, settings.shift, settings.shift], dtype=torch.float64)
    jitter = to_gaze(spread * torch.randn(count, 4, generator=rng, dtype=torch.float64))
    patches = glimpses(pyramids, objects.image[order], gaze.compose(objects.gaze[order], jitter))
    flip = torch.rand(count, generator=rng) < (0.5 if settings.mirror else 0.0)
    patches[flip] = patches[flip].flip(-1)
    return patches
