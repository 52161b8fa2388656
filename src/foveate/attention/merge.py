"""Non-maximum suppression: from many converged gazes to one gaze an object.

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

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Real
from numpy import ndarray
from torch import Tensor

from foveate.scenes import gaze


class Merged(NamedTuple):
    """One gaze an object.

    Attributes:
        kept: Indices of the gazes that stand for an object, most confident first [K].
        votes: For each kept gaze, how many gazes (or how much of their weight) it stands for, itself included [K].
    """

    kept: Int[ndarray, " kept"]
    votes: Float[ndarray, " kept"]


def merge(
    gazes: Real[ndarray, "n 4"] | Real[Tensor, "n 4"],
    scores: Real[ndarray, " n"] | Real[Tensor, " n"],
    iou: float = 0.3,
    inside: float = 0.7,
    most: int | None = None,
) -> Merged:
    """Merges duplicates by the rule of this module.

    Args:
        gazes: (a, b, tx, ty) in pixels.
        scores: Confidence, any scale; a score that is not a number comes last.
        iou: Overlap of upright squares from which two gazes are one object; above 1 merges none by overlap.
        inside: Share of the smaller square inside the larger from which they are one object; above 1 merges none.
        most: How many gazes to keep; those that come after are not looked at. All by default.
    """
    gazes, scores = (np.asarray(values, dtype=np.float64) for values in (gazes, scores))
    order = np.lexsort((*gazes.T[::-1], np.where(np.isnan(scores), np.inf, -scores)))
    boxes = gaze.to_boxes(torch.from_numpy(gazes[order]))
    area, kept = gaze.area(boxes), []
    owner, reach = np.full(len(boxes), -1), np.full(len(boxes), -1.0)  # of each gaze, and its overlap with that one
    for i in range(len(boxes)):
        if owner[i] >= 0:
            continue
        if len(kept) == most:
            break
        overlap = gaze.iou_of_pairs(boxes[i], boxes).numpy()
        share = (gaze.intersection(boxes[i], boxes) / torch.minimum(area[i], area)).numpy()
        mine = ((overlap >= iou) | (share >= inside)) & (overlap > reach)
        owner[mine], reach[mine] = len(kept), overlap[mine]
        owner[i], reach[i] = len(kept), np.inf
        kept.append(i)
    votes = np.bincount(owner[owner >= 0], minlength=len(kept)).astype(np.float64)
    return Merged(order[kept].astype(np.int64), votes)
