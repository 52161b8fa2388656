"""Gazes that set out over an image and converge on its objects.

Starts lie on grids: at each scale, positions closer together than the network's reach, at several angles where
objects may be turned. Scales go from the smallest object looked for to a gaze whose context covers the image. All take
one step of the ShiftNet; the verifier looks where it led them, and those with the least prospect of an object stop
there. The others, and some whose context covers the whole image, take a few steps more. By then many are at the same
places; one of each crowd goes on until it rests, the last steps led by a network that looks closer.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from foveate.attention import shiftnet
from foveate.attention.settings import SearchSettings
from foveate.attention.shiftnet import ShiftNet, middle, window
from foveate.scenes import gaze
from foveate.scenes.glimpse import contexts
from foveate.scenes.pyramid import Pyramids

WHOLE = (1.0, 1.5, 2.2)  # sizes of the starts whose context covers the image, the first just so
BATCH = 128  # gazes in one pass of the network: activations stay in tens of megabytes


class Trails(NamedTuple):
    """Where gazes went.

    Attributes:
        gazes: Step 0 is the start.
        last_change: The change that the network would make next, at the last gaze, natural units.
        features: Layer 6 of the network at the last gaze.
        glimpse: What is seen at the last gaze, in [0, 1].
    """

    gazes: Float[Tensor, "steps n 4"]
    last_change: Float[Tensor, "n 4"]
    features: Float[Tensor, "n 1024"]
    glimpse: Float[Tensor, "n 3 24 24"]


class Look(NamedTuple):
    """What the network makes of gazes: the change it would make, its layer 6, and the glimpse."""

    change: Float[Tensor, "n 4"]
    features: Float[Tensor, "n 1024"]
    glimpse: Float[Tensor, "n 3 24 24"]


Canonical = Callable[[Float[Tensor, "n 3 24 24"]], Float[Tensor, "n 3 24 24"]]


def start_gazes(width: int, height: int, settings: SearchSettings) -> Float[Tensor, "n 4"]:
    """The starts of a search of one image, from large to small.

    The largest scale is that whose context covers the image, longest side / 6.
    """
    largest = max(width, height) / 2
    scales = [max(width, height) / 6]
    while scales[0] * settings.ratio < largest:
        scales.insert(0, scales[0] * settings.ratio)
    while scales[-1] / settings.ratio >= settings.smallest:
        scales.append(scales[-1] / settings.ratio)
    turns = torch.arange(settings.angles, dtype=torch.float64) * (2 * math.pi / settings.angles)
    grids = []
    for s in scales:
        x, y = _line(width, s, settings.spacing), _line(height, s, settings.spacing)
        angle, ty, tx = torch.meshgrid(turns, y, x, indexing="ij")
        grids.append(gaze.from_scale_angle(torch.full_like(tx, s), angle, tx, ty).reshape(-1, 4))
    return torch.cat(grids)


def whole_image_start(width: int, height: int) -> Float[Tensor, "1 4"]:
    """The single start: upright at the middle, its context just covering the image."""
    return torch.tensor([[max(width, height) / 6, 0.0, width / 2, height / 2]], dtype=torch.float64)


def whole_image_starts(width: int, height: int, settings: SearchSettings) -> Float[Tensor, "n 4"]:
    """Starts at the middle whose contexts cover the image, some by more, at every start angle."""
    first = whole_image_start(width, height)[0]
    turns = torch.arange(settings.angles, dtype=torch.float64) * (2 * math.pi / settings.angles)
    turn, grow = torch.meshgrid(turns, torch.tensor(WHOLE, dtype=torch.float64), indexing="ij")
    s = (first[0] * grow).reshape(-1)
    return gaze.from_scale_angle(s, turn.reshape(-1), first[2].expand(len(s)), first[3].expand(len(s)))


def look(
    net: ShiftNet, canonical: Canonical, pyramids: Pyramids, index: Int[Tensor, "n"], gazes: Float[Tensor, "n 4"]
) -> Look:
    """One pass of the network over gazes, in batches."""
    parts = [
        _look(net, canonical, pyramids, index[k : k + BATCH], gazes[k : k + BATCH]) for k in range(0, len(gazes), BATCH)
    ]
    if not parts:
        return Look(torch.zeros(0, 4), torch.zeros(0, 1024), torch.zeros(0, 3, 24, 24))
    return Look(*(torch.cat(column) for column in zip(*parts, strict=True)))


def converge(
    net: ShiftNet,
    canonical: Canonical,
    pyramids: Pyramids,
    index: Int[Tensor, "n"],
    starts: Float[Tensor, "n 4"],
    steps: int,
) -> Trails:
    """Lets gazes take `steps` steps and looks once more where they end."""
    gazes = follow(net, canonical, pyramids, index, starts, steps)
    return Trails(gazes, *look(net, canonical, pyramids, index, gazes[-1]))


def follow(
    net: ShiftNet,
    canonical: Canonical,
    pyramids: Pyramids,
    index: Int[Tensor, "n"],
    starts: Float[Tensor, "n 4"],
    steps: int,
) -> Float[Tensor, "gazes n 4"]:
    """Lets gazes take `steps` steps: the starts and where each step led."""
    trail = [starts]
    for _ in range(steps):
        trail.append(shiftnet.move(trail[-1], look(net, canonical, pyramids, index, trail[-1]).change))
    return torch.stack(trail)


def sound(gazes: Float[Tensor, "n 4"], pyramids: Pyramids) -> Bool[Tensor, "n"]:
    """Gazes that are finite, centred within the image and neither tiny nor larger than it."""
    height, width = int(pyramids.height[0, 0]), int(pyramids.width[0, 0])
    s = torch.hypot(gazes[:, 0], gazes[:, 1])
    inside = (gazes[:, 2] >= 0) & (gazes[:, 2] <= width) & (gazes[:, 3] >= 0) & (gazes[:, 3] <= height)
    return torch.isfinite(gazes).all(1) & inside & (s >= 4) & (s <= max(height, width))


@torch.inference_mode()
def _look(
    net: ShiftNet, canonical: Canonical, pyramids: Pyramids, index: Int[Tensor, "n"], gazes: Float[Tensor, "n 4"]
) -> Look:
    device = net.shift.weight.device
    context = contexts(pyramids, index, window(gazes, net.closer)).to(device)
    glimpse = middle(context, net.closer)
    features = net.features(context, canonical(glimpse))
    change = net.shift(features) * net.unit
    return Look(change.cpu(), features.cpu(), glimpse.contiguous().cpu())


def _line(length: int, s: float, spacing: float) -> Float[Tensor, "n"]:
    """Positions along a side, evenly spaced at most `spacing` * s apart, half of that from the border."""
    count = max(1, math.ceil(length / (spacing * s)))
    return torch.from_numpy((np.arange(count) + 0.5) * (length / count))
