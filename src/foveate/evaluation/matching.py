"""Which gaze is on which object: overlaps of upright squares, one to one, most confident first."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray


def squares(gazes: Float[ndarray, "n 4"]) -> Float[ndarray, "n 4"]:
    """The upright squares (x0, y0, x1, y1) around the gazes' centres with half-side s."""
    s = np.hypot(gazes[:, :1], gazes[:, 1:2])
    return np.concatenate([gazes[:, 2:] - s, gazes[:, 2:] + s], axis=1)


def overlaps(gazes: Float[ndarray, "n 4"], objects: Float[ndarray, "m 4"]) -> Float[ndarray, "n m"]:
    """Intersection over union of the upright squares of every gaze and every object, both given as gazes."""
    boxes, others = squares(gazes), squares(objects)
    common = _intersection(boxes, others)
    union = _area(boxes)[:, None] + _area(others)[None, :] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0.0)


def match(overlap: Float[ndarray, "n m"], threshold: float) -> Int[ndarray, " n"]:
    """The object that each gaze is credited with, -1 for none.

    Gazes come most confident first; each takes the object it overlaps most among those not taken yet, if that is by
    `threshold` or more. So an object is found once, and a second gaze on it is credited with nothing.
    """
    free = np.ones(overlap.shape[1], dtype=bool)
    owner = np.full(len(overlap), -1, dtype=np.int64)
    if overlap.shape[1] == 0:
        return owner
    for i, row in enumerate(overlap):
        best = int(np.argmax(np.where(free, row, -1.0)))
        if free[best] and row[best] >= threshold:
            owner[i] = best
            free[best] = False
    return owner


def ignored(gazes: Float[ndarray, "n 4"], regions: Float[ndarray, "m 4"], share: float = 0.5) -> Bool[ndarray, " n"]:
    """Whether a gaze lies in a region that is neither object nor background, by `share` of its square or more.

    Regions are boxes (x0, y0, x1, y1): crowds and annotations that can't be used. As in COCO, the intersection counts
    as a share of the gaze's own square.
    """
    if len(regions) == 0:
        return np.zeros(len(gazes), dtype=bool)
    boxes = squares(gazes)
    covered = _intersection(boxes, regions) >= share * np.maximum(_area(boxes), 1e-300)[:, None]
    return np.any(covered, axis=1)


def _intersection(boxes: ndarray, others: ndarray) -> ndarray:
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.maximum(high - low, 0.0).prod(axis=-1)


def _area(boxes: ndarray) -> ndarray:
    return np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0).prod(axis=-1)
