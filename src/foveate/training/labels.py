"""Annotated objects, and whether a gaze is at one, elsewhere, or neither can be said."""

from collections.abc import Sequence
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


OBJECT, ELSEWHERE, UNCLEAR = 1, 0, -1
ANGLE = 0.6  # radians by which a gaze may be turned against the object that it is said to have found


def label(
    gazes: Float[Tensor, "n 4"], objects: Float[Tensor, "k 4"], ignore: Float[Tensor, "regions 4"]
) -> Int[Tensor, "n"]:
    """OBJECT where an object overlaps by IoU 0.5 or more and is turned alike, ELSEWHERE below 0.3, else UNCLEAR.

    Gazes centred in an ignored region are unclear.
    """
    count, several = len(gazes), len(objects)
    of = torch.arange(count).repeat_interleave(several)
    return label_each(gazes, of, objects.repeat(count, 1), [ignore] * count)


def label_each(
    gazes: Float[Tensor, "n 4"],
    of: Int[Tensor, "pairs"],
    objects: Float[Tensor, "pairs 4"],
    ignore: Sequence[Float[Tensor, "_ 4"]],
) -> Int[Tensor, "n"]:
    """`label` of gazes each in an image of its own: `objects` are those in the image of gaze number `of`."""
    overlap = gaze.iou_of_pairs(gaze.to_boxes(gazes)[of], gaze.to_boxes(objects))
    best = torch.zeros(len(gazes), dtype=overlap.dtype).scatter_reduce_(0, of, overlap, "amax")
    alike = gaze.angle_difference(gaze.angle(gazes)[of], gaze.angle(objects)).abs() <= ANGLE
    found = torch.zeros(len(gazes), dtype=torch.bool)
    found[of[(overlap >= 0.5) & (overlap == best[of]) & alike]] = True
    labels = torch.where(found, OBJECT, torch.where(best >= 0.3, UNCLEAR, ELSEWHERE))
    if regions := [each for each in ignore if len(each)]:
        around = torch.repeat_interleave(torch.tensor([len(each) for each in ignore]))
        centre, box = gazes[around, 2:], torch.cat(regions)
        within = ((centre >= box[:, :2]) & (centre <= box[:, 2:])).all(1)
        ignored = torch.zeros(len(gazes), dtype=torch.bool)
        ignored[around[within]] = True
        labels[ignored & (labels == ELSEWHERE)] = UNCLEAR
    return labels
