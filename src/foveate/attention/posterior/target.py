"""The densities of gazes that Hamiltonian Monte Carlo moves in, one for each chain.

A chain moves in q = (log s, angle, tx / L, ty / L), L fixed for as long as it runs; 2 log s is the Jacobian of this
chart, da db dtx dty = s^2 L^2 dlog s dangle dq_2 dq_3. With f a log density of glimpses x(u), T the temperature and
p(u) the prior its target is

    log p(q) = f(x(u(q))) / T + log p(u) + 2 log s,

where f is -1/2 (x - m)^T Lambda (x - m) given a patch, and -F(x), F the first layer's free energy, with v and h1 summed
out. Its gradient goes to u through the exact Jacobian of the glimpse (in one compiled pass where Lambda is diagonal,
`NormalDensity`), and on to q by

    d/dlog s = a d/da + b d/db,   d/dangle = a d/db - b d/da,   d/dq_2 = L d/dtx,   d/dq_3 = L d/dty.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.posterior.hmc import Box, LogDensityAndGradient
from foveate.attention.posterior.prior import log_prior, prior_bounds, prior_rows
from foveate.attention.settings import GazePrior
from foveate.scenes.gaze import from_chart
from foveate.scenes.glimpse import by_row, glimpses_with_jacobian, misfits
from foveate.scenes.pyramid import Pyramids

GlimpseDensity = Callable[[Float[Tensor, "n 3 size size"]], Float[Tensor, " n"]]
"""Log density of glimpses in [0, 1], nats, up to a constant; differentiable."""


class NormalDensity:
    """-1/2 sum_i w_i (x_i - m_i)^2 of glimpses x in [0, 1]: the `GlimpseDensity` that is compiled with its gradient.

    Args:
        mean, weight: m and w, the inverse variances, of each row's glimpse.
    """

    def __init__(self, mean: Float[Tensor, "n 3 size size"], weight: Float[Tensor, "#n 3 size size"]):
        self.mean, self.weight = by_row(mean.float()), by_row(weight.expand_as(mean).float())

    def __call__(self, seen: Float[Tensor, "n 3 size size"]) -> Float[Tensor, " n"]:
        return -0.5 * (self.weight * (by_row(seen) - self.mean).square()).sum((1, 2))


class GazeTargets(NamedTuple):
    """Where the chains of a batch look, and what is believed before looking; a row each."""

    pyramids: Pyramids  # the images
    index: np.ndarray  # image of each chain
    length: Float[Tensor, " chains"]  # L of each chain's chart, in pixels
    size: int  # side of the patch
    pyramid: bool  # whether to sample from the pyramid (the paper does not)
    prior: Float[Tensor, "chains 5"]  # as `prior_rows` gives it
    box: Box  # bounds in the chart


def gaze_targets(
    pyramids: Pyramids,
    index: np.ndarray,
    gazes: Float[Tensor, "chains 4"],
    size: int,
    prior: GazePrior | None = None,
    pyramid: bool = True,
    flat: bool = True,
) -> GazeTargets:
    """The targets of chains that start at `gazes`: their scales there are the lengths of the charts.

    Without `flat`, no flat prior in (a, b, tx, ty) stands where `prior` says nothing of scale.
    """
    prior = GazePrior() if prior is None else prior
    low, high = prior_bounds(prior, pyramids, index)
    # A start of an impossible size still needs a chart.
    length = torch.hypot(gazes[:, 0], gazes[:, 1]).double().nan_to_num(nan=1.0)
    length = length.clamp(low[:, 0].exp(), high[:, 0].exp())
    low[:, 2:], high[:, 2:] = low[:, 2:] / length[:, None], high[:, 2:] / length[:, None]
    return GazeTargets(pyramids, index, length, size, pyramid, prior_rows(prior, len(index), flat), Box(low, high))


def of_glimpses(targets: GazeTargets, density: GlimpseDensity, temperature: float) -> LogDensityAndGradient:
    """A log density of glimpses x(u), divided by T, + log p(u) over chart coordinates, for `hmc.step`."""
    length = targets.length

    def logdensity_and_grad(position: Tensor) -> tuple[Tensor, Tensor]:
        u = from_chart(position, length)
        value, by_u = glimpse_log_density(targets, u, density)
        by_a, by_b, by_x, by_y = (by_u / temperature).unbind(1)
        a, b = u[:, 0], u[:, 1]
        gradient = torch.stack((a * by_a + b * by_b, a * by_b - b * by_a, length * by_x, length * by_y), 1)
        prior, by_prior = log_prior(position, targets.prior)
        return value / temperature + prior, gradient + by_prior

    return logdensity_and_grad


def glimpse_log_density(
    targets: GazeTargets, gazes: Float[Tensor, "n 4"], density: GlimpseDensity
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 4"]]:
    """A log density of the glimpse at each gaze, and its gradient in (a, b, tx, ty), added up in float64."""
    pyramids, index, size, pyramid = targets.pyramids, targets.index, targets.size, targets.pyramid
    if isinstance(density, NormalDensity):
        value, by_gaze = misfits(pyramids, index, gazes, density.mean, density.weight, size, pyramid=pyramid)
    else:
        seen, jacobian = glimpses_with_jacobian(pyramids, index, gazes, size, pyramid=pyramid)
        with torch.enable_grad():
            value = density(seen.requires_grad_())
            (by_pixel,) = torch.autograd.grad(value.sum(), seen)
        by_gaze = (jacobian.flatten(2).double() * by_pixel.double().flatten(1)[:, None]).sum(2)
    seen_at_all = torch.isfinite(gazes).all(1)  # a scale that overflows is nowhere
    return torch.where(seen_at_all, value.detach().double(), -torch.inf), by_gaze


def normal_around(
    density: LogDensityAndGradient, middle: Float[Tensor, "chains 4"], spread: Float[Tensor, "chains 4"]
) -> LogDensityAndGradient:
    """A density over chart coordinates times a normal one about `middle`, of standard deviations `spread`."""
    precision = spread.double().square().reciprocal()

    def logdensity_and_grad(position: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = density(position)
        away = position - middle
        away[:, 1] = torch.remainder(away[:, 1] + math.pi, 2 * math.pi) - math.pi
        return value - 0.5 * (precision * away.square()).sum(1), gradient - precision * away

    return logdensity_and_grad
