"""Which pixels of a glimpse show the object, and which show what covers it.

Tang, Srivastava & Salakhutdinov (2014) give occlusion as a reason for a generative model of the object. Let R be the
place of a cover, any rectangle of a CELLS x CELLS grid over the patch, or none. The patch model explains what is
outside R, the background model what is inside, and

    p(R | x) ~ p(R) [p_object(x_rest) p_background(x_R)]^(1 / T),

with p(no cover) = 1/2 and each rectangle as likely as another. A pixel is visible with the probability that no R holds
it, summed over all: covers of other shapes are made up of several. Which rectangle it is shows in what the rest of the
patch makes likely inside of it, so both densities are those of whole regions. (Ratios pixel by pixel, smoothed, fail: a
cover is as smooth as the object, and explained by the object's principal components where they may bend to it.)

Cells are means of pixels, for which both models are multivariate t with their own mean and covariance: contrast differs
between photographs. With L = C^-1 of the object's cells and e = L (x - m),

    |x_rest|^2 = e.(x - m) - e_R.(L_RR)^-1 e_R,    log |C_rest| = log |C| + log |L_RR|,

so nothing larger than R is solved for, and that once for each R.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from foveate.attention.evidence import Background
from foveate.attention.found import Found
from foveate.boltzmann.dbn import GaussianDBN
from foveate.runtime.random import generator
from foveate.scenes.glimpse import PATCH_SIZE, glimpses, inside
from foveate.scenes.pyramid import Pyramids

CELLS = 8  # of the grid, a side
SMALLEST, LARGEST = 0.04, 0.75  # share of the patch that a cover takes
TEMPER = 3.0  # T: misfits of neighbouring cells are not independent
HEAVY = 4.0  # degrees of freedom of both t distributions
FLOOR = 0.01  # added to the variance of each cell, of pixels at about 1
DRAWS, SWEEPS = 256, 30  # of a plain patch model, whose covariance is not known in closed form

Moments = tuple[Float64[Tensor, " D"], Float64[Tensor, "D D"]]  # mean and covariance


class Shape(NamedTuple):
    """All rectangles of one shape."""

    inside: Bool[Tensor, "places cells"]
    members: Int64[Tensor, "places k"]  # numbers of the cells' channels inside
    given_rest: Float[Tensor, "places k k"]  # (L_RR)^-1 of the object
    alone: Float[Tensor, "places k k"]  # (C_RR)^-1 of the background
    constant: Float64[Tensor, " places"]  # log determinants: of the object's rest, and of the background inside
    background_constant: Float64[Tensor, " places"]


@dataclass(frozen=True)
class Occlusion:
    """The patch model and the background model over cells, and every place of a cover."""

    object_mean: Float[Tensor, " n"]
    background_mean: Float[Tensor, " n"]
    precision: Float[Tensor, "n n"]  # L
    log_det: float  # log |C|
    shapes: list[Shape]

    @classmethod
    def of(cls, gdbn: GaussianDBN, background: Background) -> "Occlusion":
        """From the models of a RUN; takes half a second."""
        return cls.of_moments(moments(gdbn), background.machine.moments())

    @classmethod
    def of_moments(cls, of_object: Moments, of_background: Moments) -> "Occlusion":
        """From means and covariances of standardised patches."""
        (mean, covariance), (its_mean, its_covariance) = of_object, of_background
        floor = FLOOR * torch.eye(3 * CELLS**2, dtype=torch.float64)
        object_cells, other = _cells_of(covariance) + floor, _cells_of(its_covariance) + floor
        precision, log_det = torch.linalg.inv(object_cells), float(torch.linalg.slogdet(object_cells).logabsdet)
        shapes = []
        for h in range(1, CELLS + 1):
            for w in range(1, CELLS + 1):
                if SMALLEST <= h * w / CELLS**2 <= LARGEST:
                    shapes.append(_shape(h, w, precision, log_det, other))
        means = _cells(mean[None])[0].float(), _cells(its_mean[None])[0].float()
        return cls(*means, precision.float(), log_det, shapes)

    def visible(self, v: Float[Tensor, "n D"]) -> Float[Tensor, "n 24 24"]:
        """P(pixel shows the object) of standardised glimpses."""
        cells = _cells(v.float())
        away, its_away = cells - self.object_mean, cells - self.background_mean
        pulled = away @ self.precision
        whole, count = (pulled * away).sum(1).double(), cells.shape[1]
        scores = [_student(whole, self.log_det, count)[:, None] / TEMPER + math.log(0.5)]
        each = math.log(0.5 / sum(len(shape.inside) for shape in self.shapes))
        for shape in self.shapes:
            k = shape.members.shape[1]
            rest = whole[:, None] - _squared(pulled, shape.members, shape.given_rest)
            found = _student(rest, shape.constant, count - k)
            found += _student(_squared(its_away, shape.members, shape.alone), shape.background_constant, k)
            scores.append(found / TEMPER + each)
        covers = torch.softmax(torch.cat(scores, 1), 1)[:, 1:].float()
        hidden = covers @ torch.cat([shape.inside for shape in self.shapes]).float()
        seen = (1 - hidden).clamp(0, 1).view(-1, 1, CELLS, CELLS)
        return F.interpolate(seen, size=(PATCH_SIZE, PATCH_SIZE), mode="bilinear")[:, 0]


def explained(
    occlusion: Occlusion, gdbn: GaussianDBN, pyramids: Pyramids, image: int, founds: Sequence[Found]
) -> list[Found]:
    """The objects of one image, each with its visible pixels; those outside the image are none."""
    if not founds:
        return []
    gazes = torch.from_numpy(np.stack([found.u for found in founds]))
    index = np.full(len(founds), image)
    visible = occlusion.visible(gdbn.standardise(glimpses(pyramids, index, gazes)).cpu())
    visible *= inside(pyramids, index, gazes).view_as(visible)
    return [replace(found, explained=mask.numpy()) for found, mask in zip(founds, visible, strict=True)]


def moments(gdbn: GaussianDBN) -> Moments:
    """Those of standardised patches; of a plain model those of what it makes up."""
    if (closed := gdbn.grbm.moments()) is not None:
        return closed
    random = generator(0, "occlusion", device=gdbn.rbm.W.device)
    mean = gdbn.sample(DRAWS, random, SWEEPS).double().cpu()
    about = mean - mean.mean(0)
    return mean.mean(0), about.T @ about / DRAWS + torch.diag(gdbn.grbm.visible_deviation().double().cpu().square())


def _shape(h: int, w: int, precision: Tensor, log_det: float, other: Tensor) -> Shape:
    """The rectangles of h x w cells."""
    inside = torch.zeros(CELLS - h + 1, CELLS - w + 1, CELLS, CELLS, dtype=torch.bool)
    for top in range(CELLS - h + 1):
        for left in range(CELLS - w + 1):
            inside[top, left, top : top + h, left : left + w] = True
    inside = inside.flatten(2).flatten(0, 1)
    members = torch.nonzero(inside.repeat(1, 3))[:, 1].view(len(inside), -1)
    object_block, background_block = (matrix[members[:, :, None], members[:, None, :]] for matrix in (precision, other))
    constant = log_det + torch.linalg.slogdet(object_block).logabsdet
    inverse, alone = torch.linalg.inv(object_block).float(), torch.linalg.inv(background_block).float()
    return Shape(inside, members, inverse, alone, constant, torch.linalg.slogdet(background_block).logabsdet)


def _squared(
    values: Float[Tensor, "n cells"], members: Int64[Tensor, "places k"], matrix: Float[Tensor, "places k k"]
) -> Float64[Tensor, "n places"]:
    """x_R.M x_R of every place."""
    some = values[:, members].transpose(0, 1)
    return ((some @ matrix) * some).sum(2).T.double()


def _student(squared: Float64[Tensor, "..."], log_det: Tensor | float, count: int) -> Float64[Tensor, "..."]:
    """log density of a multivariate t over `count` numbers, whose |x|^2 in its own matrix is `squared`."""
    half = (HEAVY + count) / 2
    constant = math.lgamma(half) - math.lgamma(HEAVY / 2) - count / 2 * math.log(HEAVY * math.pi)
    return constant - 0.5 * log_det - half * torch.log1p(squared / HEAVY)


def _cells(v: Float[Tensor, "n D"]) -> Float[Tensor, "n cells"]:
    """Means of the pixels of each cell, channel by channel."""
    side = PATCH_SIZE // CELLS
    return F.avg_pool2d(v.view(-1, 3, PATCH_SIZE, PATCH_SIZE), side).flatten(1)


def _cells_of(covariance: Float64[Tensor, "D D"]) -> Float64[Tensor, "cells cells"]:
    """The covariance of `_cells`."""
    return _cells(_cells(covariance).T.contiguous())
