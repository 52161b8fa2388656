"""A log ratio of two densities of glimpses as a density of gazes: value and gradient through the sampling.

log p(u) = [log p_object(x(u)) - log p_background(x(u))] / T + log p(u). Any function of the standardised glimpse with a
gradient serves; the gradient goes to u through the exact Jacobian of the glimpse.
"""

import math
from collections.abc import Callable
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from foveate.attention.patch_conditionals import PatchConditionals
from foveate.attention.posterior.hmc import LogDensityAndGradient
from foveate.attention.posterior.prior import log_priors
from foveate.attention.posterior.target import GazeTargets
from foveate.scenes.gaze import from_chart
from foveate.scenes.glimpse import glimpses_with_jacobian
from foveate.scenes.pyramid import Pyramids

LogRatio = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x [chains, D] standardised -> (log ratios [chains] in nats, gradients in x [chains, D])."""


@no_type_check  # here and below: the tests' import hook would wrap what numba has to compile
@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def _pull_back(jacobian, cotangent, out):
    for row in prange(len(jacobian)):
        n = np.int64(row)
        for d in range(jacobian.shape[1]):
            total = 0.0
            for i in range(jacobian.shape[2]):
                total += float(jacobian[n, d, i]) * float(cotangent[n, i])
            out[n, d] = total


def pull_back(
    jacobian: Float[Tensor, "n dims pixels"], cotangent: Float[Tensor, "n pixels"]
) -> Float[Tensor, "n dims"]:
    """sum_i cotangent_i dx_i/du_d: the vector-Jacobian product, added up in float64 in one order for every row."""
    out = np.empty(jacobian.shape[:2])
    _pull_back(np.ascontiguousarray(jacobian.numpy()), np.ascontiguousarray(cotangent.numpy()), out)
    return torch.from_numpy(out)


def glimpse_ratio(
    pyramids: Pyramids,
    index: np.ndarray,
    gazes: Float[Tensor, "n 4"],
    patch: PatchConditionals,
    log_ratio: LogRatio,
    pyramid: bool = True,
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 4"]]:
    """The log ratio of each glimpse and its gradient in (a, b, tx, ty)."""
    seen, jacobian = glimpses_with_jacobian(pyramids, index, gazes, patch.size, 1.0, pyramid)
    value, by_x = log_ratio(patch.standardise(seen))
    by_pixel = by_x.view_as(seen) / patch.patch_std.view(3, 1, 1)
    return value.double(), pull_back(jacobian.flatten(2), by_pixel.flatten(1))


def ratio_density(
    targets: GazeTargets, patch: PatchConditionals, log_ratio: LogRatio, temperature: float
) -> LogDensityAndGradient:
    """The density over chart coordinates for `hmc.step`; prior, bounds and charts are those of `targets`."""
    length = torch.from_numpy(targets.length)

    def logdensity_and_grad(position: Tensor) -> tuple[Tensor, Tensor]:
        u = from_chart(position, length)
        value, by_u = glimpse_ratio(targets.pyramids, targets.index, u, patch, log_ratio, targets.pyramid)
        by_a, by_b, by_x, by_y = (by_u / temperature).unbind(1)
        a, b = u[:, 0], u[:, 1]
        gradient = torch.stack((a * by_a + b * by_b, a * by_b - b * by_a, length * by_x, length * by_y), 1)
        prior, by_prior = log_priors(position, targets.prior)
        return value / temperature + prior, gradient + by_prior

    return logdensity_and_grad


def normal_around(
    density: LogDensityAndGradient, middle: Float[Tensor, "chains 4"], spread: Float[Tensor, "4"]
) -> LogDensityAndGradient:
    """A density over chart coordinates times a normal one about `middle`, of standard deviations `spread`."""
    precision = spread.double().square().reciprocal()

    def logdensity_and_grad(position: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = density(position)
        away = position - middle
        away[:, 1] = torch.remainder(away[:, 1] + math.pi, 2 * math.pi) - math.pi
        return value - 0.5 * (precision * away.square()).sum(1), gradient - precision * away

    return logdensity_and_grad
