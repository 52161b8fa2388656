"""Which gaze is on which object: overlaps of upright squares, one to one, most confident first."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from foveate.scenes import gaze


def overlaps(gazes: Float[ndarray, "n 4"], objects: Float[ndarray, "m 4"]) -> Float[ndarray, "n m"]:
    """Intersection over union of the upright squares of every gaze and every object, both given as gazes."""
    return gaze.iou(*(gaze.to_boxes(torch.from_numpy(u)) for u in (gazes, objects))).numpy()


def match(overlap: Float[ndarray, "n m"], threshold: float) -> Int[ndarray, " n"]:
    """The object that each gaze is credited with, -1 for none.

    Gazes come most confident first; each takes the object it overlaps most among those not taken yet, if that is by
    `threshold` or more. So an object is found once, and a second gaze on it is credited with nothing.
    """
    owner = np.full(len(overlap), -1, dtype=np.int64)
    if overlap.shape[1] == 0:
        return owner
    free = np.ones(overlap.shape[1], dtype=bool)
    for i, row in enumerate(overlap):
        best = int(np.argmax(np.where(free, row, -1.0)))
        if free[best] and row[best] >= threshold:
            owner[i] = best
            free[best] = False
    return owner


def ignored(gazes: Float[ndarray, "n 4"], regions: Float[ndarray, "m 4"]) -> Bool[ndarray, " n"]:
    """Whether a gaze lies in a region that is neither object nor background, by half of its square or more.

    Regions are boxes (x0, y0, x1, y1): crowds and annotations that can't be used. As in COCO, the intersection counts
    as a share of the gaze's own square.
    """
    boxes = gaze.to_boxes(torch.from_numpy(gazes)).unsqueeze(1)
    common, own = gaze.intersection(boxes, torch.from_numpy(regions)), gaze.area(boxes)
    return (common >= 0.5 * own.clamp(min=1e-300)).any(1).numpy()
