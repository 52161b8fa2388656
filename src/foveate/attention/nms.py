"""Non-maximum suppression: from many converged gazes to one gaze an object.

The rule, stated once:
- Gazes are taken most confident first; equal scores are ordered by (a, b, tx, ty), so the result depends on what the
  gazes are, never on the order in which they came.
- A gaze is a duplicate of a kept one if the upright squares around their centres (half-side s) overlap by `iou` or
  more, or if either lies inside the other to a share of `inside` or more of the smaller one's area (an eye found in a
  face, a face and shoulders around it). Angle plays no part: an object has one angle, that of its most confident gaze.
  (Eyes seen upside down make a forehead a face: that gaze overlaps the true one by 0.33 to 0.40 on photographs, and
  neighbouring faces each other by less than 0.1.)
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Real
from numpy import ndarray
from torch import Tensor

from foveate.scenes import gaze

APART = np.deg2rad(45)  # angle between two gazes at one object from which they are two modes
LEAST = 0.01  # weight of a mode that is told


class Mode(NamedTuple):
    """An angle at which an object may stand."""

    angle: float  # degrees in (-180, 180]
    weight: float  # its probability, given that there is an object


def non_maximum_suppression(
    gazes: Real[ndarray, "n 4"] | Real[Tensor, "n 4"],
    scores: Real[ndarray, " n"] | Real[Tensor, " n"],
    iou: float = 0.3,
    inside: float = 0.7,
    most: int | None = None,
) -> Int[ndarray, " kept"]:
    """The gazes that stand for an object by the rule of this module, by number, most confident first.

    Args:
        gazes: (a, b, tx, ty) in pixels.
        scores: Confidence, any scale; a score that is not a number comes last.
        iou: Overlap of upright squares from which two gazes are one object; above 1 suppresses none by overlap.
        inside: Share of the smaller square inside the larger from which they are one object; above 1 suppresses none.
        most: How many gazes to keep; those that come after are not looked at. All by default.
    """
    gazes, scores = (np.asarray(values, dtype=np.float64) for values in (gazes, scores))
    order = np.lexsort((*gazes.T[::-1], np.where(np.isnan(scores), np.inf, -scores)))
    boxes = gaze.to_boxes(torch.from_numpy(gazes[order]))
    area, free, kept = gaze.area(boxes), np.ones(len(boxes), dtype=bool), []
    for i in range(len(boxes)):
        if len(kept) == most:
            break
        if free[i]:
            kept.append(i)
            common = gaze.intersection(boxes[i], boxes)
            overlap, share = common / (area[i] + area - common), common / torch.minimum(area[i], area)
            free &= ~((overlap >= iou) | (share >= inside)).numpy()
    return order[kept].astype(np.int64)


def modes(u: Float[ndarray, "4"], gazes: Float[Tensor, "n 4"], scores: Float[ndarray, "n"]) -> tuple[Mode, ...]:
    """Angles of the object that `u` came to rest at, most probable first: none where there is no second one.

    Of gazes that rest at the same place (IoU 0.5) the most confident of each angle stands for it, and scores are
    log-odds, so weights are proportional to exp(score).
    """
    at = torch.from_numpy(u)[None]
    there = (gaze.iou(gaze.to_boxes(at), gaze.to_boxes(gazes))[0] >= 0.5).numpy()
    angles, found = gaze.angle(gazes).numpy(), []
    for k in sorted(np.flatnonzero(there), key=lambda k: -scores[k]):
        if all(abs((angles[k] - other + np.pi) % (2 * np.pi) - np.pi) > APART for other, _ in found):
            found.append((angles[k], scores[k]))
    weights = np.exp([score - found[0][1] for _, score in found])
    told = [Mode(float(np.rad2deg(a)), float(w)) for (a, _), w in zip(found, weights / weights.sum(), strict=True)]
    return tuple(told) if len(told) > 1 and told[1].weight >= LEAST else ()
