"""The targets of the periphery in a patch: which cells answer for an object, and how wrong their answers are.

An object of half-side s (pixels) between `LEAST` and `MOST` is answered for by the cells whose centre lies within
`NEAR` s of its own, and by the nearest cell in any case; a cell that could answer for several takes the nearest, in
half-sides. Not asked are cells a little farther off, those near objects that are a little too small or too large (the
next level answers for them), and ignored regions.

The loss, over the number p of cells that answer for an object, is

    1 / p [ sum over cells of |q - sigma(l)|^2 H(q, sigma(l))  +  sum over those p of sum_k huber(e_k) ],

the quality focal loss of Li et al. (2020), "Generalized Focal Loss", of the logit l with the cross-entropy H, and
Huber's loss of the errors e = (dx / s, dy / s, log s, TURN cos, TURN sin). The quality q of an answer,

    q = IoU (1/2 + 1/2 cos(k (angle - angle*))),   0 at all other cells,

is a constant here: the logit learns how good the answer beside it is, so that suppression keeps the good ones. k = 360
degrees / the object's period; of an object that has no angle, q = IoU and the last two errors are none. Where the
network's own period is longer than the object's, the object is taken to be turned as is nearest to the answer.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from foveate.attention.periphery import LEAST, MOST, STRIDE, UNIT
from foveate.attention.proposals import centre
from foveate.scenes import gaze

FRINGE = 1.25  # factor beyond them within which a level is not asked
NEAR, AROUND, ASIDE = 0.45, 1.0, 0.8  # half-sides from an object: answers; is not asked; is not asked within the fringe
TURN = 0.7  # weight of cosine and sine against the other errors
HUBER = 0.1  # error from which the loss is linear


class Targets(NamedTuple):
    """The targets of the cells of patches."""

    owner: Int[Tensor, "n cells"]  # for each cell, which of its patch's objects it answers for; -1 for none
    asked: Bool[Tensor, "n cells"]  # whether the cell's logit counts


def cell_centres(cells: int) -> Float[Tensor, "cells_squared 2"]:
    """Centres (x, y) of a square of cells, row by row, pixels."""
    line = centre(torch.arange(cells)).float()
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack((x.reshape(-1), y.reshape(-1)), -1)


def targets(objects: Float[Tensor, "n k 5"], ignored: Bool[Tensor, "n blocks blocks"], cells: int) -> Targets:
    """Which of `cells` x `cells` cells answer for which objects.

    Objects are (a, b, tx, ty, period) in pixels of the patch; rows of a = b = 0 stand for none. Where nothing is asked
    is told in square blocks of pixels, a whole number of them a cell.
    """
    at = cell_centres(cells).to(objects)
    s = gaze.scale(objects[..., :4])
    pixels = torch.linalg.vector_norm(objects[:, :, None, 2:4] - at, dim=-1)
    distance = torch.where(s[..., None] > 0, pixels / s[..., None].clamp(min=1e-6), torch.inf)
    here = ((s >= LEAST) & (s <= MOST))[..., None]
    fringe = ((s >= LEAST / FRINGE) & (s <= MOST * FRINGE))[..., None]
    nearest = (pixels <= pixels.amin(-1, keepdim=True)) & (pixels <= STRIDE)
    answers = here & ((distance <= NEAR) | nearest)
    reached, owner = torch.where(answers, distance, torch.inf).min(1)
    owner = torch.where(torch.isfinite(reached), owner, -1)
    spared = ((here & (distance <= AROUND)) | (fringe & (distance <= ASIDE))).any(1)
    blocks = ignored.shape[-1] // cells
    spared |= ignored[:, ::blocks, ::blocks].flatten(1)
    return Targets(owner, (owner >= 0) | ~spared)


def periphery_loss(
    outputs: Float[Tensor, "n 6 y x"], objects: Float[Tensor, "n k 5"], told: Targets, harmonic: int
) -> Float[Tensor, ""]:
    """The loss of this module's text."""
    logit, *_ = flat = outputs.float().flatten(2).transpose(0, 1)
    patch, cell = torch.nonzero(told.owner >= 0, as_tuple=True)
    target = objects[patch, told.owner[patch, cell]]
    at = cell_centres(outputs.shape[-1]).to(target)[cell]
    answers = flat[1:, patch, cell]
    quality = torch.zeros_like(logit)
    quality[patch, cell] = quality_of(answers.detach(), target, at, harmonic)
    entropy = F.binary_cross_entropy_with_logits(logit, quality, reduction="none")
    focal = (quality - torch.sigmoid(logit)).square() * entropy
    error = errors(answers, target, at, harmonic)
    huber = F.huber_loss(error, torch.zeros_like(error), reduction="sum", delta=HUBER) / HUBER
    return ((focal * told.asked).sum() + huber) / max(len(patch), 1)


def errors(
    answers: Float[Tensor, "5 m"], target: Float[Tensor, "m 5"], at: Float[Tensor, "m 2"], harmonic: int
) -> Float[Tensor, "5 m"]:
    """(dx / s, dy / s, log s, TURN cos, TURN sin) of answers, less those of the objects."""
    s, (dx, dy) = gaze.scale(target[:, :4]), (target[:, 2:4] - at).T
    x, y, log_s, cosine, sine = answers
    shift = torch.stack(((UNIT * x - dx) / s, (UNIT * y - dy) / s, log_s - torch.log(s / UNIT)))
    if not harmonic:
        return torch.cat((shift, torch.zeros_like(shift[:2])))
    seen = torch.atan2(sine, cosine).detach() / harmonic
    told = harmonic * gaze.nearest_angle(seen, gaze.angle(target[:, :4]), target[:, 4])
    turn = torch.stack((cosine - torch.cos(told), sine - torch.sin(told)))
    return torch.cat((shift, TURN * turn * (target[:, 4] > 0)))


def quality_of(
    answers: Float[Tensor, "5 m"], target: Float[Tensor, "m 5"], at: Float[Tensor, "m 2"], harmonic: int
) -> Float[Tensor, "m"]:
    """q of this module's text."""
    x, y, log_s, cosine, sine = answers
    s, place = UNIT * torch.exp(log_s.clamp(-4, 4)), at + UNIT * torch.stack((x, y), -1)
    box = torch.cat((place - s[:, None], place + s[:, None]), -1)
    overlap = gaze.iou_of_pairs(box, gaze.to_boxes(target[:, :4]))
    if not harmonic:
        return overlap
    k = torch.where(target[:, 4] > 0, 360 / target[:, 4].clamp(min=1), 0.0)
    off = torch.atan2(sine, cosine) / harmonic - gaze.angle(target[:, :4])
    return overlap * (0.5 + 0.5 * torch.cos(k * off))
