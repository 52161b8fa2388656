"""Training pairs of the ShiftNet: (context, v) -> the change of gaze that leads to the object.

A pair is an annotated object u*, a gaze u from which it is looked for, and delta with u* = u o delta. Where u comes
from decides what the network can do:

- near: changes of every size down to zero, so that iteration comes to rest at the object instead of drifting;
- search: the object anywhere in the context, as from the starts that cover an image;
- whole: gazes whose context covers the photograph, as from a single start;
- fed back: where the network's own prediction led from an earlier pair, so that it learns to mend its mistakes;
- of some pairs, v is of the target as it was seen before, with another object beside it or not (`in_mind`).

What surrounds the object is varied too, since the borders and the light of the training photographs are short cuts:
pasted onto other photographs, mirrored, recoloured, blurred, partly covered.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from foveate.attention import shiftnet
from foveate.runtime.random import generator
from foveate.scenes import gaze
from foveate.scenes.glimpse import sizes_of
from foveate.scenes.pyramid import Pyramids
from foveate.training.appearance import composite, mirror, recolour
from foveate.training.in_mind import InMind, draw_in_mind
from foveate.training.labels import Objects
from foveate.training.settings import PairSettings

SEARCH_TURN = 1.1  # largest angle between a search pair's gaze and its object, radians; a start's is at most 0.8 off
REACH = 2.2  # largest offset of the object's centre in a search pair, half-sides: its context reaches to 3


class Pairs(NamedTuple):
    """A minibatch."""

    # what surrounds each gaze, after augmentation, pixels in [0, 1]; as v and delta on the device
    context: Float[Tensor, "n 3 72 72"]
    v: Float[Tensor, "n 3 24 24"]  # the canonical image as inference would have it, standardised
    delta: Float[Tensor, "n 4"]  # the change (log scale, angle, x / s, y / s) that leads to the object
    start: Float[Tensor, "n 4"]  # the gaze looked from, in pixels; not mirrored
    target: Float[Tensor, "n 4"]  # the object's gaze, turned as is nearest to `start`, in pixels; not mirrored
    object: Int[Tensor, "n"]  # which object
    mirrored: Float[Tensor, "n"]  # -1 where context, v and delta are mirror images of the photograph's, else 1
    alone: Bool[Tensor, "n"]  # whether no other object was set beside the target


class FedBack(NamedTuple):
    """Gazes where predictions led, and the number of the object that each looks for."""

    object: Int[Tensor, "n"]
    gaze: Float[Tensor, "n 4"]


def draw_pairs(
    pyramids: Pyramids,
    objects: Objects,
    canonical: shiftnet.Canonical,
    settings: PairSettings,
    fed_back: FedBack | None,
    count: int,
    seed: int,
    step: int,
    device: str | torch.device = "cpu",
    mean: Float[Tensor, "3 24 24"] | None = None,
) -> Pairs:
    """Draws the `count` pairs of one training step; the same (seed, step, fed_back) gives the same pairs.

    `canonical` (glimpse in [0, 1] -> v) computes on `device`, and contexts are changed and mirrored there; they are
    sampled on the CPU. `fed_back` is None for the first step. With a `mean` patch, every other v that would come from a
    glimpse is that.
    """
    rng = generator(seed, "pairs", step)
    which = torch.randint(len(objects.image), (count,), generator=rng)
    origin = torch.rand(count, generator=rng)
    bounds = np.cumsum([settings.near, settings.search, settings.whole])
    target = as_seen = objects.gaze[which]
    near = gaze.compose(target, gaze.invert(shiftnet.to_gaze(_near_changes(settings, count, rng))))
    search = _search_starts(target, settings.turn > 0, rng)
    whole = _whole_starts(pyramids, objects.image[which], settings.turn > 0, rng)
    start = torch.where((origin < bounds[0])[:, None], near, torch.where((origin < bounds[1])[:, None], search, whole))
    if fed_back is not None and len(fed_back.object):
        again = torch.nonzero(origin >= bounds[2])[:, 0][: len(fed_back.object)]
        which[again], start[again] = fed_back.object[: len(again)], fed_back.gaze[: len(again)]
        as_seen = objects.gaze[which]
    minds, alone = None, torch.ones(count, dtype=torch.bool)
    if settings.in_mind:
        minds = draw_in_mind(pyramids, objects, which, settings.in_mind, settings.turn > 0, rng)
        start[minds.beside.row], alone[minds.beside.row] = minds.start, False
    target = gaze.nearest_turn(start, as_seen, objects.periods()[which])

    image = objects.image[which]
    window, how = shiftnet.window(start, settings.closer), settings.appearance
    context = composite(pyramids, objects, image, window, as_seen, how, rng, minds and minds.beside)
    context = recolour(context.to(device), how, rng)
    delta = shiftnet.change_between(start, target).float().to(device)
    context, delta, mirrored = mirror(context, delta, how, rng)
    v = _canonical_images(shiftnet.middle(context, settings.closer), canonical, mirrored, minds, mean)
    return Pairs(context, v, delta, start, target, which, mirrored, alone)


def feed_back(pairs: Pairs, predicted: Float[Tensor, "n 4"]) -> FedBack:
    """Where the predictions lead, for the next minibatch: gazes that still see their object in the context.

    Some of the pairs have been fed back before, so a gaze is followed for several steps, as in inference.
    """
    same = torch.ones_like(pairs.mirrored)
    flip = torch.stack((same, pairs.mirrored, pairs.mirrored, same), -1)
    led = shiftnet.move(pairs.start, predicted.cpu() * flip)
    left = shiftnet.change_between(led, pairs.target)
    usable = (left[:, 2:].abs().amax(1) < 3.0) & (left[:, 0].abs() < 1.4) & torch.isfinite(left).all(1) & pairs.alone
    return FedBack(pairs.object[usable], led[usable])


def _canonical_images(
    glimpse: Float[Tensor, "n 3 24 24"],
    canonical: shiftnet.Canonical,
    mirrored: Float[Tensor, "n"],
    minds: InMind | None,
    mean: Float[Tensor, "3 24 24"] | None,
) -> Float[Tensor, "n 3 24 24"]:
    """v of what each pair has in mind, else of its glimpse, of every other one the mean."""
    of_mean = torch.arange(len(glimpse)) % 2 == 0
    if minds is not None:
        flipped = (mirrored[minds.row] < 0)[:, None, None, None]
        glimpse = glimpse.clone()  # it is a part of the context
        glimpse[minds.row] = torch.where(flipped, minds.glimpse.flip(-1), minds.glimpse).to(glimpse)
        of_mean[minds.row] = False
    v = canonical(glimpse)
    if mean is not None:
        v[of_mean] = mean.to(v)
    return v


def _near_changes(settings: PairSettings, count: int, rng: torch.Generator) -> Float[Tensor, "n 4"]:
    """Normal changes whose size is log-uniform between the smallest and the largest."""
    size = settings.smallest_change ** torch.rand(count, 1, generator=rng, dtype=torch.float64)
    spread = torch.tensor([settings.log_scale, settings.turn, settings.shift, settings.shift], dtype=torch.float64)
    return size * spread * torch.randn(count, 4, generator=rng, dtype=torch.float64)


def _search_starts(target: Float[Tensor, "n 4"], turn: bool, rng: torch.Generator) -> Float[Tensor, "n 4"]:
    """Gazes of a similar size that hold the object anywhere in their context; turned from it too, or not."""
    count = len(target)
    uniform = 2 * torch.rand(count, 4, generator=rng, dtype=torch.float64) - 1
    s = gaze.scale(target) * torch.exp(0.8 * uniform[:, 0])
    angle = gaze.angle(target) + SEARCH_TURN * turn * uniform[:, 1]
    shift = REACH * uniform[:, 2:] * s[:, None]
    return gaze.from_scale_angle(s, angle, target[:, 2] + shift[:, 0], target[:, 3] + shift[:, 1])


def _whole_starts(
    pyramids: Pyramids, image: Int[Tensor, "n"], turn: bool, rng: torch.Generator
) -> Float[Tensor, "n 4"]:
    """Gazes at the middle of the photograph, of half-side 0.12 to 0.55 of its longest side; two in three upright, or
    all."""
    count, (w, h) = len(image), sizes_of(pyramids, image)
    longest = torch.maximum(w, h)
    ratio = 0.12 * (0.55 / 0.12) ** torch.rand(count, generator=rng, dtype=torch.float64)
    offset = 0.05 * torch.randn(count, 2, generator=rng, dtype=torch.float64) * longest[:, None]
    turned = torch.rand(count, generator=rng) < 1 / 3
    angle = turn * torch.where(turned, 0.5, 0.1) * torch.randn(count, generator=rng, dtype=torch.float64)
    return gaze.from_scale_angle(ratio * longest, angle, w / 2 + offset[:, 0], h / 2 + offset[:, 1])
