"""Whether a gaze is at an annotated object, elsewhere, or neither can be said."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveate.scenes import gaze

OBJECT, ELSEWHERE, UNCLEAR = 1, 0, -1
ANGLE = 0.6  # radians by which a gaze may be turned against the object that it is said to have found


def label(
    gazes: Float[Tensor, "n 4"], objects: Float[Tensor, "k 4"], ignore: Float[Tensor, "regions 4"]
) -> Int[Tensor, "n"]:
    """OBJECT where an object overlaps by IoU 0.5 or more and is turned alike, ELSEWHERE below 0.3, else UNCLEAR.

    Gazes centred in an ignored region are unclear.
    """
    labels = torch.full((len(gazes),), ELSEWHERE)
    boxes = gaze.to_boxes(gazes)
    if len(objects):
        overlap = gaze.iou(boxes, gaze.to_boxes(objects))
        best, which = overlap.max(1)
        turned = gaze.angle_difference(gaze.angle(gazes), gaze.angle(objects)[which]).abs() > ANGLE
        labels[best >= 0.3] = UNCLEAR
        labels[(best >= 0.5) & ~turned] = OBJECT
    if len(ignore):
        centre = gazes[:, None, 2:]
        within = ((centre >= ignore[None, :, :2]) & (centre <= ignore[None, :, 2:])).all(-1).any(1)
        labels[within & (labels == ELSEWHERE)] = UNCLEAR
    return labels
