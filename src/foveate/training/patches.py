"""Aligned patches: what the patch model learns from.

The same object seen through slightly different gazes gives different patches, and all of them are right: a model that
has seen jittered patches generalises far better than one that has seen each object once.

Where gazes are inferred and not annotated, they are known to within a deviation only. The expectation of the patches'
log density is then over gazes too, and patches are drawn through gazes that are off by as much: a model that takes
inferred gazes for exact believes that objects are always turned as the inference takes them to be.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.shiftnet import to_gaze
from foveate.runtime.random import generator
from foveate.scenes import gaze
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids
from foveate.training.labels import Objects
from foveate.training.settings import PatchSettings


def turned(objects: Objects, seed: int, epoch: int = 0) -> Objects:
    """Objects whose angle is known up to turns by 90 or 180 degrees only, each turned by some of these."""
    periods = objects.periods()
    turns = torch.rand(len(periods), generator=generator(seed, "turns", epoch), dtype=torch.float64)
    whole = torch.deg2rad(torch.where(periods > 0, periods, 360).double())
    by = whole * torch.floor(turns * 2 * torch.pi / whole)
    none = torch.zeros_like(by)
    moved = gaze.compose(objects.gaze, to_gaze(torch.stack((none, by, none, none), -1)))
    return objects._replace(gaze=torch.where((periods == 360)[:, None], objects.gaze, moved))


def aligned_patches(pyramids: Pyramids, objects: Objects) -> Float[Tensor, "n 3 24 24"]:
    """The glimpse at each object's gaze, in [0, 1]."""
    return glimpses(pyramids, objects.image, objects.gaze)


def jittered_patches(
    pyramids: Pyramids,
    objects: Objects,
    settings: PatchSettings,
    seed: int,
    epoch: int,
    unsure: Float[Tensor, "objects 4"] | None = None,
) -> Float[Tensor, "n 3 24 24"]:
    """Patches of one epoch, in random order: `copies` of each object through jittered gazes.

    `unsure` are the standard deviations of each gaze's (log s, angle, x / s, y / s) where it was inferred.
    """
    rng = generator(seed, "patches", epoch)
    count = settings.copies * len(objects.image)
    order = torch.randperm(count, generator=rng) % len(objects.image)
    spread = torch.tensor([settings.log_scale, settings.turn, settings.shift, settings.shift], dtype=torch.float64)
    if unsure is not None:
        spread = torch.hypot(spread, unsure[order])
    jitter = to_gaze(spread * torch.randn(count, 4, generator=rng, dtype=torch.float64))
    gazes = turned(objects, seed, epoch).gaze[order]
    patches = glimpses(pyramids, objects.image[order], gaze.compose(gazes, jitter))
    flip = torch.rand(count, generator=rng) < (0.5 if settings.mirror else 0.0)
    patches[flip] = patches[flip].flip(-1)
    return patches
