"""Annotated objects, and whether a gaze is at one, elsewhere, or neither can be said."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveate.scenes import gaze


class Objects(NamedTuple):
    """Annotated objects."""

    image: Int[Tensor, "objects"]  # which image each is in
    gaze: Float[Tensor, "objects 4"]  # its gaze
    # how far its angle is known: 360 degrees in full, 180 or 90 up to turns by as many, 0 not at all. None where
    # all are known in full.
    angle_period: Int[Tensor, "objects"] | None = None

    def take(self, chosen: Tensor) -> "Objects":
        """Some of them, by number or by truth."""
        period = None if self.angle_period is None else self.angle_period[chosen]
        return Objects(self.image[chosen], self.gaze[chosen], period)

    def periods(self) -> Int[Tensor, "objects"]:
        """`angle_period` of each."""
        return torch.full_like(self.image, 360) if self.angle_period is None else self.angle_period


NOWHERE = Objects(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4, dtype=torch.float64))
OBJECT, ELSEWHERE, UNCLEAR = 1, 0, -1
ANGLE = 0.6  # radians by which a gaze may be turned against the object that it is said to have found


def label(
    gazes: Float[Tensor, "n 4"],
    objects: Float[Tensor, "k 4"],
    ignore: Float[Tensor, "regions 4"],
    periods: Int[Tensor, "k"] | None = None,
) -> Int[Tensor, "n"]:
    """OBJECT where an object overlaps by IoU 0.5 or more and is turned alike, ELSEWHERE below 0.3, else UNCLEAR.

    Gazes centred in an ignored region are unclear. `periods` is `Objects.periods`, 360 by default.
    """
    labels = torch.full((len(gazes),), ELSEWHERE)
    if len(objects):
        periods = torch.full((len(objects),), 360) if periods is None else periods
        overlap = gaze.iou(gaze.to_boxes(gazes), gaze.to_boxes(objects))
        best = overlap.amax(1)
        every, each = torch.broadcast_tensors(gazes[:, None], objects)
        seen = gaze.nearest_turn(every, each, periods.expand(len(gazes), -1))
        alike = gaze.angle_difference(gaze.angle(gazes)[:, None], gaze.angle(seen)).abs() <= ANGLE
        found = ((overlap >= 0.5) & (overlap == best[:, None]) & alike).any(1)
        labels = torch.where(found, OBJECT, torch.where(best >= 0.3, UNCLEAR, ELSEWHERE))
    centre = gazes[:, None, 2:]
    ignored = ((centre >= ignore[:, :2]) & (centre <= ignore[:, 2:])).all(2).any(1)
    labels[ignored & (labels == ELSEWHERE)] = UNCLEAR
    return labels
