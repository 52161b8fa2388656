"""From many converged gazes to one gaze an object, and how many starts agree on each.

The rule, stated once:
- Gazes are taken most confident first; equal scores are ordered by (a, b, tx, ty), so the result depends on what the
  gazes are, never on the order in which they came.
- A gaze is a duplicate of a kept one if the upright squares around their centres (half-side s) overlap by `iou` or
  more, or if either lies inside the other to a share of `inside` or more of the smaller one's area (an eye found in a
  face, a face and shoulders around it). Angle plays no part: an object has one angle, that of its most confident gaze.
  (Eyes seen upside down make a forehead a face: that gaze overlaps the true one by 0.33 to 0.40 on photographs, and
  neighbouring faces each other by less than 0.1.)
- A duplicate counts for the kept gaze that it overlaps most.
"""

import math
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int, Real
from numba import njit
from numpy import ndarray
from torch import Tensor


class Merged(NamedTuple):
    """One gaze an object.

    Attributes:
        kept: Indices of the gazes that stand for an object, most confident first [K].
        owner: For each gaze, the place in `kept` of the one that stands for it [N].
        votes: For each kept gaze, how many gazes (or how much of their weight) it stands for, itself included [K].
    """

    kept: Int[ndarray, " kept"]
    owner: Int[ndarray, " n"]
    votes: Float[ndarray, " kept"]


def merge(
    gazes: Real[ndarray, "n 4"] | Real[Tensor, "n 4"],
    scores: Real[ndarray, " n"] | Real[Tensor, " n"],
    iou: float = 0.3,
    inside: float = 0.7,
    groups: Int[ndarray, " n"] | None = None,
    weights: Real[ndarray, " n"] | None = None,
) -> Merged:
    """Merge duplicates by the rule of this module.

    Args:
        gazes: (a, b, tx, ty) in pixels.
        scores: Confidence, any scale; a score that is not a number comes last.
        iou: Overlap of upright squares from which two gazes are one object; above 1 merges none by overlap.
        inside: Share of the smaller square inside the larger from which they are one object; above 1 merges none.
        groups: Gazes of different groups (photographs) are never merged; all one group where left out. `kept` then goes
            group by group.
        weights: What each gaze's vote counts; 1 where left out.
    """
    gazes, scores = _numpy(gazes), _numpy(scores)
    groups = np.zeros(len(gazes), dtype=np.int64) if groups is None else np.asarray(groups, dtype=np.int64)
    weights = np.ones(len(gazes)) if weights is None else np.asarray(weights, dtype=np.float64)
    confidence = np.where(np.isnan(scores), -np.inf, scores)
    order = np.lexsort((*gazes.T[::-1], -confidence, groups))
    kept, owner = _merge_ordered(gazes[order], groups[order], float(iou), float(inside))
    votes = np.bincount(owner, weights=weights[order], minlength=len(kept)).astype(np.float64)
    restored = np.empty(len(order), dtype=np.int64)
    restored[order] = owner
    return Merged(order[kept], restored, votes)


def votes(
    gazes: Real[ndarray, "n 4"] | Real[Tensor, "n 4"],
    scale_width: float = 0.15,
    angle_width: float = 0.2,
    shift_width: float = 0.15,
    weights: Real[ndarray, " n"] | None = None,
    groups: Int[ndarray, " n"] | None = None,
) -> Float[ndarray, " n"]:
    """How many gazes converged where each one did: a kernel density over gazes, itself included.

    votes_i = sum_j w_j exp(-d_ij^2 / 2), d^2 = (log s_i/s_j)^2 / h_s^2 + (angle_i - angle_j)^2 / h_a^2
    + |t_i - t_j|^2 / (s_i s_j h_t^2), angles wrapped. Two gazes a width apart give 0.61 of a vote to each other. The
    sum is taken in an order that the gazes themselves decide, so it does not depend on theirs, to the last bit.

    Args:
        gazes: (a, b, tx, ty) in pixels.
        scale_width: h_s, in log scale.
        angle_width: h_a, radians; infinite where angle should not matter.
        shift_width: h_t, half-sides.
        weights: What each gaze's vote counts; 1 where left out.
        groups: Gazes of different groups (photographs) give each other none; all one group where left out.
    """
    gazes = _numpy(gazes)
    weights = np.ones(len(gazes)) if weights is None else np.asarray(weights, dtype=np.float64)
    groups = np.zeros(len(gazes), dtype=np.int64) if groups is None else np.asarray(groups, dtype=np.int64)
    order = np.lexsort((weights, *gazes.T[::-1], groups))
    s, angle = np.hypot(gazes[:, 0], gazes[:, 1])[order], np.arctan2(gazes[:, 1], gazes[:, 0])[order]
    chart = np.stack([np.log(np.maximum(s, 1e-300)) / scale_width, angle, gazes[order, 2], gazes[order, 3]], axis=1)
    density = _votes_ordered(chart, s, weights[order], groups[order], 1.0 / angle_width, 1.0 / shift_width)
    restored = np.empty(len(order))
    restored[order] = density
    return restored


def votes_reference(
    gazes: Float[Tensor, "n 4"],
    scale_width: float = 0.15,
    angle_width: float = 0.2,
    shift_width: float = 0.15,
) -> Float[Tensor, " n"]:
    """`votes` in plain torch, all pairs at once: what the compiled loop is tested against, and the form for GPUs."""
    s, angle = torch.hypot(gazes[:, 0], gazes[:, 1]), torch.atan2(gazes[:, 1], gazes[:, 0])
    scale_term = (torch.log(s[:, None] / s[None, :]) / scale_width) ** 2
    turn = torch.remainder(angle[:, None] - angle[None, :] + math.pi, 2.0 * math.pi) - math.pi
    shift = ((gazes[:, None, 2:] - gazes[None, :, 2:]) ** 2).sum(-1) / (s[:, None] * s[None, :])
    square = scale_term + (turn / angle_width) ** 2 + shift / shift_width**2
    return torch.exp(-0.5 * square).sum(1)


@njit(cache=True, nogil=True)
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def _merge_ordered(gazes, groups, iou, inside):
    """Greedy over gazes in order; indices of those kept, and for each gaze the place in them of its owner."""
    n = len(gazes)
    half = np.hypot(gazes[:, 0], gazes[:, 1])
    kept = np.empty(n, dtype=np.int64)
    owner = np.empty(n, dtype=np.int64)
    duplicate = np.zeros(n, dtype=np.bool_)
    count, first = 0, 0
    for i in range(n):
        if i > 0 and groups[i] != groups[i - 1]:
            first = count
        for place in range(first, count):
            overlap, share = _overlap(gazes, half, i, kept[place])
            if overlap >= iou or share >= inside:
                duplicate[i] = True
                break
        if not duplicate[i]:
            kept[count] = i
            owner[i] = count
            count += 1
    first, last = 0, 0
    for i in range(n):
        if i == 0 or groups[i] != groups[i - 1]:
            first = last
            while last < count and groups[kept[last]] == groups[i]:
                last += 1
        if duplicate[i]:
            best = -1.0
            for place in range(first, last):
                overlap, share = _overlap(gazes, half, i, kept[place])
                if (overlap >= iou or share >= inside) and overlap > best:
                    best = overlap
                    owner[i] = place
    return kept[:count], owner


@njit(cache=True, nogil=True)
@no_type_check
def _overlap(gazes, half, i, k):
    """IoU of two upright squares, and their intersection as a share of the smaller."""
    width = min(gazes[i, 2] + half[i], gazes[k, 2] + half[k]) - max(gazes[i, 2] - half[i], gazes[k, 2] - half[k])
    height = min(gazes[i, 3] + half[i], gazes[k, 3] + half[k]) - max(gazes[i, 3] - half[i], gazes[k, 3] - half[k])
    if not (width > 0.0 and height > 0.0):
        return 0.0, 0.0
    common = width * height
    one, other = 4.0 * half[i] * half[i], 4.0 * half[k] * half[k]
    return common / (one + other - common), common / min(one, other)


@njit(cache=True, nogil=True)
@no_type_check
def _votes_ordered(chart, s, weights, groups, per_angle, per_shift):
    """Each pair once would halve the work but sum in two directions; rows alone keep the order fixed."""
    n = len(s)
    density = np.zeros(n)
    for i in range(n):
        total = 0.0
        for j in range(n):
            if groups[i] != groups[j]:
                continue
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


def _numpy(values: ndarray | Tensor) -> ndarray:
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64)
