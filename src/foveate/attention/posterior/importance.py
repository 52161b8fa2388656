"""The posterior of gazes by importance sampling: a few hundred looks in place of thousands, and no chain to wait for.

Where the network comes to rest is off by a law of error that is known from scenes set aside, a normal density of
q = (log s, angle, tx / L, ty / L) about the resting gaze (`sample`). It is narrow already, so points drawn from it, or
from another `Normal`, only have to be weighed:

    w_k ∝ exp(-F(x(u(q_k))) / T) p(q_k) N(q_k; rest, spread^2) / g(q_k),

F the GRBM's free energy, T the temperature, p the prior that a user gives, g the proposal; with g the law of error
itself the last two cancel. An expectation is sum_k w_k f(q_k) with weights that sum to one (Owen 2013, "Monte Carlo
theory, methods and examples", chapter 9). The points are those of one Sobol' sequence, shifted modulo one by a vector
of each gaze's own (Cranley & Patterson 1976), through the normal quantile function.

Whether the weights can be believed is asked of themselves. The largest M = min(S / 5, 3 sqrt S) of S are fitted by a
generalised Pareto distribution of shape k (Zhang & Stephens 2009, "A new and efficient estimation method for the
generalized Pareto distribution"), and replaced by its quantiles: Vehtari, Simpson, Gelman, Yao & Gabry (2024), "Pareto
smoothed importance sampling". Above k = min(1 - 1 / log10 S, 0.7) the estimate can't be trusted. Then more points are
drawn, from a proposal fitted to those so far (`adapted`), and all of them are weighed by the mixture of all proposals,
g = mean_t g_t: Cornuet, Marin, Mira & Robert (2012), "Adaptive multiple importance sampling". The law stays in the
mixture, so no weight grows beyond the number of proposals times the likelihood.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from foveate.attention.posterior.prior import log_prior
from foveate.attention.posterior.target import GazeTargets, GlimpseDensity
from foveate.runtime.random import key, uniforms
from foveate.scenes.gaze import from_chart, to_chart
from foveate.scenes.glimpse import glimpses

POINTS = 128  # of a proposal; of the law of error about 90 of them count (effective sample size)


class Normal(NamedTuple):
    """Independent normal densities of the coordinates of charts, one of each gaze."""

    middle: Float[Tensor, "n 4"]  # means
    spread: Float[Tensor, "n 4"]  # standard deviations

    def at(self, uniform: Float[Tensor, "n points 4"]) -> Float[Tensor, "n points 4"]:
        """The quantiles at numbers in (0, 1)."""
        return self.middle[:, None] + self.spread[:, None] * torch.special.ndtri(uniform)

    def log_density(self, position: Float[Tensor, "n points 4"]) -> Float[Tensor, "n points"]:
        """Log density but for a constant, nats; angles are those of `at`, not wrapped."""
        away = (position - self.middle[:, None]) / self.spread[:, None]
        return -0.5 * away.square().sum(-1) - torch.log(self.spread).sum(-1)[:, None]


class Correlated(NamedTuple):
    """Normal densities of coordinates that vary together, one of each gaze; see `Normal`."""

    middle: Float[Tensor, "n 4"]  # means
    factor: Float[Tensor, "n 4 4"]  # lower triangular, L of the covariances L L^T

    def at(self, uniform: Float[Tensor, "n points 4"]) -> Float[Tensor, "n points 4"]:
        """Points whose independent standard coordinates are the quantiles at numbers in (0, 1)."""
        return self.middle[:, None] + torch.special.ndtri(uniform) @ self.factor.mT

    def log_density(self, position: Float[Tensor, "n points 4"]) -> Float[Tensor, "n points"]:
        """Log density but for the constant of `Normal`, nats."""
        away = torch.linalg.solve_triangular(self.factor, (position - self.middle[:, None]).mT, upper=False)
        return -0.5 * away.square().sum(1) - self.factor.diagonal(dim1=1, dim2=2).log().sum(-1)[:, None]


Proposal = Normal | Correlated


class Weighed(NamedTuple):
    """Points of each gaze's posterior."""

    gazes: Float[Tensor, "n points 4"]  # u of each point, pixels
    weight: Float[Tensor, "n points"]  # their weights, which sum to one; 0 outside the prior's bounds
    ess: Float[np.ndarray, "n"]  # effective sample size, 1 / sum w^2
    k: Float[np.ndarray, "n"]  # shape of the weights' tail; infinite where no point weighs anything
    position: Float[Tensor, "n points 4"]  # of each point in its chart; angles are not wrapped
    log_target: Float[Tensor, "n points"]  # log density of the posterior there, up to a constant; nats
    proposals: tuple[Proposal, ...]  # as many points, in their order, are of each

    def take(self, row: int) -> "Weighed":
        """Those of one gaze."""
        some, proposals = slice(row, row + 1), [type(each)(*(p[[row]] for p in each)) for each in self.proposals]
        return Weighed._make((*(part[some] for part in self[:-1]), tuple(proposals)))

    @property
    def trusted(self) -> Bool[np.ndarray, "n"]:
        """Whether estimates of each gaze can be."""
        return self.k <= min(1 - 1 / math.log10(self.weight.shape[1]), 0.7)


def weigh(
    log_density: GlimpseDensity,
    targets: GazeTargets,
    law: Normal,
    names: Sequence[str],
    temperature: float,
    seed: int,
    before: Weighed | None = None,
) -> Weighed:
    """Draws points for each gaze, and weighs them, together with those from `before`.

    The law of error about each resting gaze is part of the posterior, beside which the targets have no flat prior; the
    first points are drawn from it. A unique name a gaze keys, with the seed, its shift.
    """
    drawn = law if before is None else adapted(before, law)
    proposals: tuple[Proposal, ...] = (drawn,) if before is None else (*before.proposals, drawn)
    keys = torch.tensor([key(seed, "importance", name) for name in names], dtype=torch.int64)
    shift = uniforms(keys, len(proposals) - 1, 4)
    position = drawn.at(torch.remainder(_sobol() + shift[:, None].double(), 1.0).clamp(1e-9, 1 - 1e-9))
    flat = position.flatten(0, 1)
    owner = np.repeat(np.arange(len(names)), POINTS)
    u = from_chart(flat, targets.length[owner])
    seen = glimpses(targets.pyramids, targets.index[owner], u, targets.size, pyramid=targets.pyramid)
    fit = log_density(seen).double() / temperature
    log_target = (fit + log_prior(flat, targets.prior[owner])[0]).view(len(names), POINTS) + law.log_density(position)
    low, high = (bound[:, None] for bound in targets.box)
    log_target[((position < low) | (position > high)).any(-1)] = -torch.inf
    u = u.view(*position.shape)
    if before is not None:
        position, log_target = torch.cat((before.position, position), 1), torch.cat((before.log_target, log_target), 1)
        u = torch.cat((before.gazes, u), 1)
    log_weight = log_target - torch.stack([each.log_density(position) for each in proposals]).logsumexp(0)
    smoothed = [smooth(each) for each in torch.where(torch.isfinite(log_weight), log_weight, -torch.inf).numpy()]
    weight = np.stack([each for each, _ in smoothed])
    ess = 1.0 / np.maximum(np.square(weight).sum(1), 1e-300)
    k = np.array([k for _, k in smoothed])
    return Weighed(u, torch.from_numpy(weight), ess, k, position, log_target, proposals)


@cache
def _sobol() -> Float[Tensor, "points 4"]:
    """The first points of the sequence, scrambled; the seed is part of the sequence, not of anybody's numbers."""
    return torch.quasirandom.SobolEngine(4, scramble=True, seed=0).draw(POINTS, dtype=torch.float64)


def smooth(log_weight: Float[np.ndarray, "points"]) -> tuple[Float[np.ndarray, "points"], float]:
    """Weights that sum to one, the largest replaced by quantiles of their fitted tail; and its shape k.

    Where fewer than five are in the tail weights stay as they are: with k = -inf if those below weigh as much as they,
    infinite if those below weigh nothing.
    """
    if not np.isfinite(log_weight).any():
        return np.zeros_like(log_weight), np.inf
    weight = np.exp(log_weight - log_weight.max())
    count = math.ceil(min(len(weight) / 5, 3 * math.sqrt(len(weight))))
    order = np.argsort(weight, kind="stable")
    cut, tail = weight[order[-count - 1]], weight[order[-count:]]
    above = tail[tail > cut * (1 + 1e-12)] - cut
    shape = -np.inf if cut > 0 else np.inf
    if len(above) >= 5:
        shape, scale = fit_tail(above)
        share = (np.arange(len(above)) + 0.5) / len(above)
        quantiles = scale * np.expm1(-shape * np.log1p(-share)) / shape if shape else -scale * np.log1p(-share)
        weight[order[-len(above) :]] = np.minimum(cut + quantiles, weight.max())
    return weight / weight.sum(), shape


def fit_tail(excess: Float[np.ndarray, "n"]) -> tuple[float, float]:
    """Shape k and scale of a generalised Pareto distribution, from excesses above a threshold, smallest first.

    Zhang & Stephens (2009): with theta = -k / scale the likelihood has k(theta) = mean log(1 - theta x) at its
    greatest, and theta is averaged over a grid, weighed by that profile likelihood. k is shrunk towards 1/2 as if ten
    more excesses had said so (Vehtari et al. 2024, appendix G).
    """
    n = len(excess)
    grid = 30 + int(math.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - np.sqrt(grid / (np.arange(grid) + 0.5))) / (3 * quartile)
    theta = theta[theta != 0]
    k = np.log1p(-theta[:, None] * excess).mean(1)
    profile = n * (np.log(-theta / k) - k - 1)
    weight = np.exp(profile - profile.max())
    best = float((theta * weight).sum() / weight.sum())
    shape = float(np.log1p(-best * excess).mean())
    return (n * shape + 5.0) / (n + 10.0), -shape / best


def adapted(weighed: Weighed, law: Normal) -> Correlated:
    """A proposal that fits weighed points better than the law they were drawn from: their mean and covariance C.

    Size and place often vary together: what is too large is also too low. The proposal's covariance is

        1.5^2 C + diag(spread / 4)^2,

    half as wide again as the points, since a proposal must not be narrower than its target, and never flat.
    """
    middle = torch.einsum("np,npd->nd", weighed.weight, weighed.position)
    away = weighed.position - middle[:, None]
    covariance = torch.einsum("np,npi,npj->nij", weighed.weight, away, away)
    least = torch.diag_embed((0.25 * law.spread).square())
    return Correlated(middle, torch.linalg.cholesky(1.5**2 * covariance + least))


def law_of_error(targets: GazeTargets, gazes: Float[Tensor, "n 4"], spread: Float[Tensor, "n 4"]) -> Normal:
    """The network's law of error about resting gazes, in the charts of `targets`."""
    return Normal(to_chart(gazes.double(), targets.length), spread.double())
