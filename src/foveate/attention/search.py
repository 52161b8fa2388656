"""The search from many starts: gazes that set out over an image and converge on its objects.

Starts lie on grids: at each scale, positions closer together than the network's reach, at several angles where
objects may be turned. Scales go from the smallest object looked for to a gaze whose context covers the image. All take
one step of the ShiftNet; the verifier looks where it led them, and those with the least prospect of an object stop
there. The others, and some whose context covers the whole image, take a few steps more. By then many are at the same
places; one of each crowd goes on until it rests.
"""

import math
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Real
from numba import njit
from numpy import ndarray
from torch import Tensor

from foveate.attention.evidence import HERE, NEAR
from foveate.attention.merge import merge
from foveate.attention.models import Models
from foveate.attention.settings import SearchSettings
from foveate.attention.shiftnet import UNIT, follow, look, sound
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids

WHOLE = (1.0, 1.5, 2.2)  # sizes of the starts whose context covers the image, the first just so
# Widths of the kernel that counts votes: log scale, radians, half-sides.
SCALE_WIDTH, ANGLE_WIDTH, SHIFT_WIDTH = 0.15, 0.2, 0.15


def crowds(
    models: Models, pyramids: Pyramids, settings: SearchSettings
) -> tuple[Float[Tensor, "steps n 4"], Float[ndarray, "n"]]:
    """Sends gazes out over the single image of `pyramids`, and follows those with a prospect until they rest.

    Returns:
        The trail of a gaze of each crowd, and how many starts of each hundred ended where it did.
    """
    height, width = int(pyramids.height[0, 0]), int(pyramids.width[0, 0])
    starts, covering = start_gazes(width, height, settings), covering_starts(width, height, settings)
    led = _follow(models, pyramids, starts, 1)
    prospect = verify(models, pyramids, led[-1]).sum(1)
    count = max(1, round(settings.keep * len(starts)))
    chosen = torch.sort(torch.argsort(prospect, descending=True, stable=True)[:count]).values
    led = torch.cat((_follow(models, pyramids, covering, 1), led[:, chosen]), 1)
    trails = torch.cat((led, _follow(models, pyramids, led[-1], settings.steps - 1)[1:]))
    trails = trails[:, sound(trails[-1], pyramids)]
    # What merely lies within another is a crowd of its own: a face lies within the head and shoulders at which a gaze
    # may pause.
    agreed = votes(trails[-1])
    promise = verify(models, pyramids, trails[-1])[:, HERE].numpy() + np.log(agreed)
    merged = merge(trails[-1], promise, iou=settings.crowd, inside=2.0)
    first, weights = torch.from_numpy(merged.kept[: settings.candidates]), merged.votes[: settings.candidates]
    settled = torch.cat((trails[:, first], _follow(models, pyramids, trails[-1, first], settings.settle)[1:]))
    good = torch.nonzero(sound(settled[-1], pyramids))[:, 0]
    share = votes(settled[-1, good], weights=weights[good.numpy()]) * 100 / (len(starts) + len(covering))
    return settled[:, good], share


def verify(models: Models, pyramids: Pyramids, gazes: Float[Tensor, "n 4"]) -> Float[Tensor, "n 2"]:
    """The verifier's log-odds at gazes in a single image, of an object near and of one here."""
    index = torch.zeros(len(gazes), dtype=torch.int64)
    # `look` takes a network's outputs for changes of gaze, in their units.
    change = look(models.trained_evidence.verifier, models.canonical, pyramids, index, gazes).change
    return change[:, [NEAR, HERE]] / torch.tensor(UNIT)[[NEAR, HERE]]


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


def covering_starts(width: int, height: int, settings: SearchSettings) -> Float[Tensor, "n 4"]:
    """Starts at the middle whose contexts cover the image, some by more, at every start angle."""
    first = gaze.covering(width, height)[0]
    turns = torch.arange(settings.angles, dtype=torch.float64) * (2 * math.pi / settings.angles)
    turn, grow = torch.meshgrid(turns, torch.tensor(WHOLE, dtype=torch.float64), indexing="ij")
    s = (first[0] * grow).reshape(-1)
    return gaze.from_scale_angle(s, turn.reshape(-1), first[2].expand(len(s)), first[3].expand(len(s)))


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


def _follow(models: Models, pyramids: Pyramids, starts: Float[Tensor, "n 4"], steps: int) -> Float[Tensor, "gazes n 4"]:
    index = torch.zeros(len(starts), dtype=torch.int64)
    return follow(models.shiftnet, models.canonical, pyramids, index, starts, steps)


def _line(length: int, s: float, spacing: float) -> Float[Tensor, "n"]:
    """Positions along a side, evenly spaced at most `spacing` * s apart, half of that from the border."""
    count = max(1, math.ceil(length / (spacing * s)))
    return torch.from_numpy((np.arange(count) + 0.5) * (length / count))
