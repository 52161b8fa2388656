"""The densities of gazes that Hamiltonian Monte Carlo moves in, one for each chain.

A chain moves in q = (log s, angle, tx / L, ty / L), L fixed for as long as it runs; 2 log s is the Jacobian of this
chart, da db dtx dty = s^2 L^2 dlog s dangle dq_2 dq_3. Given a patch its target is

    log p(q) = -1/2 sum_i w_i (x_i(u(q)) - m_i)^2 + log p(u) + 2 log s

(`glimpse_density`, `prior`), as tables for compiled loops (`GazeTargets`). With v and h1 summed out it is

    log p(q) = -F(x(u(q))) / T + log p(u) + 2 log s

with the free energy of the first layer, whose gradient goes to u through the exact Jacobian of the glimpse
(`of_glimpses`).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from foveate.attention.posterior.conditionals import Patches
from foveate.attention.posterior.glimpse_density import to_lanes
from foveate.attention.posterior.hmc import Box, LogDensityAndGradient
from foveate.attention.posterior.prior import log_prior_reference, log_priors, prior_bounds, prior_rows
from foveate.attention.settings import GazePrior
from foveate.scenes.gaze import from_chart
from foveate.scenes.glimpse import glimpses_with_jacobian, plain_glimpses
from foveate.scenes.pyramid import Pyramids

GlimpseDensity = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Of standardised glimpses x [n, D]: log density [n], and its gradient in x."""


class GazeTargets(NamedTuple):
    """The densities of a batch of chains, one each."""

    pyramids: Pyramids  # the images
    index: np.ndarray  # image of each chain
    length: np.ndarray  # L of each chain's chart, in pixels
    mean: np.ndarray  # m of each chain, lanes of the kernel (`glimpse_density.to_lanes`)
    weight: np.ndarray  # w, for all chains or each
    size: int  # side of the patch
    extent: float  # half-side of the window in canonical units
    pyramid: bool  # whether to sample from the pyramid (the paper does not)
    prior: np.ndarray  # [chains, 5] as `prior_rows` gives it
    low: np.ndarray  # [chains, 4] lower bounds in the chart, or -inf
    high: np.ndarray  # [chains, 4] upper bounds

    def with_patches(self, mean: Tensor, weight: Tensor) -> "GazeTargets":
        """The same with other means and weights, in units of pixels in [0, 1]."""
        return self._replace(mean=to_lanes(mean, 65535.0), weight=to_lanes(weight, 65535.0**-2))

    def with_means(self, mean: Tensor) -> "GazeTargets":
        """The same with other means alone."""
        return self._replace(mean=to_lanes(mean, 65535.0))

    @property
    def tables(self) -> tuple[Any, ...]:
        """The fields in order, as compiled loops take them, the pyramids' first."""
        return (*self.pyramids.arrays, *self[1:])

    @property
    def box(self) -> Box:
        """The bounds as `hmc.step` takes them."""
        return Box(torch.from_numpy(self.low), torch.from_numpy(self.high))


def gaze_targets(
    pyramids: Pyramids,
    index: np.ndarray,
    gazes: Float[Tensor, "chains 4"],
    mean: Float[Tensor, "chains 3 size size"],
    weight: Float[Tensor, "#chains 3 size size"],
    prior: GazePrior | None = None,
    extent: float = 1.0,
    pyramid: bool = True,
) -> GazeTargets:
    """The targets of chains that start at `gazes`: their scales there are the lengths of the charts."""
    prior = GazePrior() if prior is None else prior
    index = np.ascontiguousarray(index, np.int64)
    low, high = prior_bounds(prior, pyramids, index)
    # A start of an impossible size still needs a chart.
    length = torch.hypot(gazes[:, 0], gazes[:, 1]).double().nan_to_num(nan=1.0).numpy()
    length = np.clip(length, np.exp(low[:, 0]), np.exp(high[:, 0]))
    low[:, 2:], high[:, 2:] = low[:, 2:] / length[:, None], high[:, 2:] / length[:, None]
    rows = prior_rows(prior, len(index))
    empty = np.empty((0, 0, 0), np.float32)
    targets = GazeTargets(
        pyramids, index, length, empty, empty, mean.shape[-1], float(extent), pyramid, rows, low, high
    )
    return targets.with_patches(mean, weight)


def reference(targets: GazeTargets) -> LogDensityAndGradient:
    """The same targets for `hmc.step`, by autograd in plain torch: what the compiled loops are tested against."""
    size = targets.size
    mean, weight = (
        torch.from_numpy(t).double().unflatten(2, (size, 4))[..., :3].permute(0, 3, 1, 2)
        for t in (targets.mean, targets.weight)
    )
    mean, weight = mean / 65535, weight * 65535.0**2
    length, rows = torch.from_numpy(targets.length), torch.from_numpy(targets.prior)
    glimpses = plain_glimpses(targets.pyramids, targets.index, mean, size, targets.extent, targets.pyramid)

    def logdensity_and_grad(position: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            q = position.detach().requires_grad_()
            seen = glimpses(from_chart(q, length))
            value = -0.5 * (weight * (seen - mean).square()).sum((1, 2, 3)) + log_prior_reference(q, rows)
            (gradient,) = torch.autograd.grad(value.sum(), q)
        return value.detach(), gradient

    return logdensity_and_grad


def of_glimpses(
    targets: GazeTargets, patch: Patches, density: GlimpseDensity, temperature: float
) -> LogDensityAndGradient:
    """A log density of glimpses x(u), divided by T, + log p(u) over chart coordinates, for `hmc.step`; priors and
    charts are those of `targets`."""
    length = torch.from_numpy(targets.length)

    def logdensity_and_grad(position: Tensor) -> tuple[Tensor, Tensor]:
        u = from_chart(position, length)
        value, by_u = glimpse_log_density(targets.pyramids, targets.index, u, patch, density, targets.pyramid)
        by_a, by_b, by_x, by_y = (by_u / temperature).unbind(1)
        a, b = u[:, 0], u[:, 1]
        gradient = torch.stack((a * by_a + b * by_b, a * by_b - b * by_a, length * by_x, length * by_y), 1)
        prior, by_prior = log_priors(position, targets.prior)
        return value / temperature + prior, gradient + by_prior

    return logdensity_and_grad


def glimpse_log_density(
    pyramids: Pyramids,
    index: np.ndarray,
    gazes: Float[Tensor, "n 4"],
    patch: Patches,
    density: GlimpseDensity,
    pyramid: bool = True,
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 4"]]:
    """A log density of each standardised glimpse (`patch.log_density`: -F(x(u))), nats, and its gradient in (a, b, tx,
    ty)."""
    seen, jacobian = glimpses_with_jacobian(pyramids, index, gazes, patch.size, 1.0, pyramid)
    value, by_x = density(patch.standardise(seen))
    by_pixel = by_x.view_as(seen) / patch.patch_std.view(3, 1, 1)
    return value.double(), pull_back(jacobian.flatten(2), by_pixel.flatten(1))


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
