"""Gazes that set out over an image and converge on its objects.

Starts lie on grids: at each scale, positions closer together than the network's reach, at several angles where
objects may be turned. Scales go from the smallest object looked for to a gaze whose context covers the image. All take
one step of the ShiftNet; the verifier looks where it led them, and those with the least prospect of an object stop
there. The others, and some whose context covers the whole image, take a few steps more. By then many are at the same
places; one of each crowd goes on until it rests, the last steps led by a network that looks closer.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Real
from numba import njit
from numpy import ndarray
from torch import Tensor

from foveate.attention import shiftnet
from foveate.attention.settings import SearchSettings
from foveate.attention.shiftnet import ShiftNet, middle, window
from foveate.scenes import gaze
from foveate.scenes.glimpse import contexts
from foveate.scenes.pyramid import Pyramids

WHOLE = (1.0, 1.5, 2.2)  # sizes of the starts whose context covers the image, the first just so
BATCH = 128  # gazes in one pass of the network: activations stay in tens of megabytes


# Widths of the kernel that counts votes: log scale, radians, half-sides.
SCALE_WIDTH, ANGLE_WIDTH, SHIFT_WIDTH = 0.15, 0.2, 0.15


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


def votes(
    gazes: Real[ndarray, "n 4"] | Real[Tensor, "n 4"], weights: Real[ndarray, " n"] | None = None
) -> Float[ndarray, " n"]:
    """How many gazes converged where each one did: a kernel density over gazes, itself included.

    votes_i = sum_j w_j exp(-d_ij^2 / 2), d^2 = (log s_i/s_j)^2 / h_s^2 + (angle_i - angle_j)^2 / h_a^2
    + |t_i - t_j|^2 / (s_i s_j h_t^2), angles wrapped. Two gazes a width apart give 0.61 of a vote to each other. The
    sum is taken in an order that the gazes themselves decide, so it does not depend on theirs, to the last bit.

    Args:
        gazes: (a, b, tx, ty) in pixels.
        weights: What each gaze's vote counts; 1 where left out.
    """
    gazes = np.asarray(gazes, dtype=np.float64)
    weights = np.ones(len(gazes)) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.lexsort((weights, *gazes.T[::-1]))
    s, angle = np.hypot(gazes[:, 0], gazes[:, 1])[order], np.arctan2(gazes[:, 1], gazes[:, 0])[order]
    chart = np.stack([np.log(np.maximum(s, 1e-300)) / SCALE_WIDTH, angle, gazes[order, 2], gazes[order, 3]], axis=1)
    density = np.empty(len(order))
    density[order] = _votes_ordered(chart, s, weights[order], 1.0 / ANGLE_WIDTH, 1.0 / SHIFT_WIDTH)
    return density


@njit(cache=True, nogil=True)
@no_type_check
def _votes_ordered(chart, s, weights, per_angle, per_shift):
    """Each pair once would halve the work but sum in two directions; rows alone keep the order fixed."""
    n = len(s)
    density = np.zeros(n)
    for i in range(n):
        total = 0.0
        for j in range(n):
            square = (chart[i, 0] - chart[j, 0]) ** 2
            if square > 80.0:
                continue
            dx, dy = chart[i, 2] - chart[j, 2], chart[i, 3] - chart[j, 3]
            square += (dx * dx + dy * dy) / (s[i] * s[j]) * per_shift * per_shift
            if square > 80.0:
                continue
            turn = abs(chart[i, 1] - chart[j, 1])
            turn = min(turn, 2.0 * math.pi - turn) * per_angle
            square += turn * turn
            if square < 80.0:
                total += weights[j] * math.exp(-0.5 * square)
        density[i] = total
    return density
