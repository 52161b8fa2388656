"""Where learning starts: parameters of a Gaussian-Bernoulli RBM made from the data's mean and covariance.

**Combs.** In units of sigma, -log p(v) of a GRBM is |v - b|^2 / 2 - sum_j softplus(c_j + w_j.v): a narrow Gaussian bowl
that each hidden unit unbends a little, about its threshold. n units along one principal direction, with equal weights w
and thresholds w apart, unbend it along that direction: they are (nearly) a mixture of n + 1 Gaussians in a row, a comb,
as wide as the data. Combs along orthogonal directions are independent, so this density factorises, its normaliser is a
product of one-dimensional integrals, and the best number of units for each direction and the best sigma can be found
before any learning. Learning then starts as good as a principal component analysis with quantised factors. (Ours; the
limit of many units is the probabilistic PCA of Tipping and Bishop 1999.)
"""

import heapq
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from foveate.boltzmann.rbm import GaussianBernoulliRBM
from foveate.errors import BadInput
from foveate.keys import generator

_COUNTS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128)
_SPANS = tuple(np.exp(np.linspace(np.log(1.05), np.log(400.0), 24)))
_REACH = 5.6  # standard deviations that a comb's teeth span, before its spacing is searched
_WIDTHS = (0.5, 0.65, 0.8, 0.9, 1.0, 1.15)


class Comb(NamedTuple):
    """n equal units along one direction of a Gaussian of standard deviation r, in units of sigma.

    Attributes:
        spacing: w, the weight of each unit and the distance of neighbouring teeth.
        biases: [n] c_j such that unit j's threshold lies between teeth j - 1 and j.
        nats: Expected log density of N(0, r^2) under the comb.
    """

    spacing: float
    biases: Float[Tensor, " units"]
    nats: float


def comb(span: float, count: int) -> Comb:
    """The best comb of `count` units for N(0, span^2) noise of unit standard deviation included.

    Teeth lie at m_i = (i - n/2) w with weights about N(m_i; 0, s^2), s^2 = span^2 - 1, which
    c_j = -(1 + 1/s^2) (m_j^2 - m_(j-1)^2) / 2 gives. The spacing w is searched; the density is normalised numerically.
    """
    if count == 0:
        return Comb(0.0, torch.zeros(0), -0.5 * float(np.log(2 * np.pi)) - 0.5 * span**2)
    reach = 1.6 * span if count == 1 else _REACH * span / (count + 1)
    candidates = (_comb(span, count, width * reach) for width in _WIDTHS)
    return max(candidates, key=lambda one: one.nats)


def _comb(span: float, count: int, spacing: float) -> Comb:
    teeth = (np.arange(count + 1) - count / 2) * spacing
    biases = -0.5 * (1 + 1 / max(span**2 - 1, 0.05)) * (teeth[1:] ** 2 - teeth[:-1] ** 2)
    return Comb(spacing, torch.from_numpy(biases), _comb_nats(span, spacing, biases))


@njit(cache=True)
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def _comb_nats(span, spacing, biases):
    """E over y ~ N(0, span^2) of log [exp(-(y - m_0)^2 / 2 + sum_j softplus(c_j + w y)) / Z], on half of the line.

    A softplus whose argument is far from 0 is its argument or 0; a comb is symmetric.
    """
    first = -0.5 * len(biases) * spacing
    end = max(4.5 * span, 5 - first)
    points = min(max(int(3 * end), 150), 1000)
    step = end / (points - 1)
    logs = np.empty(points)
    for i in range(points):
        y = i * step
        logs[i] = -0.5 * (y - first) ** 2
        for bias in biases:
            x = bias + spacing * y
            logs[i] += x if x > 20 else 0.0 if x < -20 else np.log1p(np.exp(x))
    top, mass, weights, mean = logs.max(), 0.0, 0.0, 0.0
    for i in range(points):
        share = 0.5 if i == 0 else 1.0
        mass += share * np.exp(logs[i] - top)
        weight = share * np.exp(-0.5 * (i * step / span) ** 2)
        weights += weight
        mean += weight * (logs[i] - top)
    return mean / weights - np.log(2 * step * mass)


@cache
def _losses() -> np.ndarray:
    """[span, count] nats that the best comb lacks of the Gaussian's own, on the grid of _SPANS and _COUNTS."""
    table = np.empty((len(_SPANS), len(_COUNTS)))
    for i, span in enumerate(_SPANS):
        for j, count in enumerate(_COUNTS):
            if j > 1 and _REACH * span / count < 1:  # teeth much closer than sigma add nothing
                table[i, j] = table[i, j - 1]
            else:
                table[i, j] = -0.5 * np.log(2 * np.pi) - 0.5 - np.log(span) - comb(span, count).nats
    return table


def allocate(spans: np.ndarray, units: int) -> tuple[np.ndarray, float]:
    """How many units each direction gets so that together they lose least; greedy on nats a unit.

    Args:
        spans: [K] standard deviations in units of sigma, largest first, all above the first of _SPANS.
        units: Number to share out.

    Returns:
        [K] counts, and the loss in nats left over all directions.
    """
    grid = np.log(np.array(_SPANS))
    losses = np.stack([np.interp(np.log(spans), grid, column) for column in _losses().T], axis=1)
    losses[:, 0] = 0.5 * spans**2 - 0.5 - np.log(spans)
    counts = np.array(_COUNTS)
    steps = counts[None, :] - counts[:, None]
    level = np.zeros(len(spans), dtype=int)

    def best_rise(k: int) -> tuple[float, int, int]:
        """The rise of direction k with most nats a unit, as (-nats a unit, k, level after it)."""
        gains = (losses[k, level[k]] - losses[k, level[k] + 1 :]) / steps[level[k], level[k] + 1 :]
        if len(gains) == 0:
            return 0.0, k, -1
        rise = int(gains.argmax())
        return -float(gains[rise]), k, int(level[k]) + 1 + rise

    heap = [best_rise(k) for k in range(len(spans))]
    heapq.heapify(heap)
    left = units
    while heap and left > 0:
        gain, k, after = heapq.heappop(heap)
        if gain < 0 and steps[level[k], after] <= left:
            left -= int(steps[level[k], after])
            level[k] = after
            heapq.heappush(heap, best_rise(k))
    return counts[level], float(losses[np.arange(len(spans)), level].sum())


class Plan(NamedTuple):
    """How a start by combs is laid out.

    Attributes:
        log_sigma: Of every visible unit.
        counts: [K] units of each principal direction.
        nats: Expected log density of Gaussian data of that covariance.
    """

    log_sigma: float
    counts: np.ndarray
    nats: float


def plan_combs(variances: np.ndarray, units: int, log_sigma_floor: float = -5.0) -> Plan:
    """The sigma and allocation that are best for Gaussian data of these principal variances ([D], largest first)."""
    if not log_sigma_floor < 0:
        raise BadInput(f"log_sigma_floor = {log_sigma_floor}: expected a negative number")
    low, high = log_sigma_floor, 0.5 * float(np.log(variances.mean()))
    tried: dict[float, Plan] = {}

    def at(log_sigma: float) -> Plan:
        return tried.setdefault(log_sigma, _plan_at(variances, units, log_sigma))

    while high - low > 0.06:  # ternary search: the nats rise and then fall in log sigma
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (left, high) if at(left).nats < at(right).nats else (low, right)
    return max(tried.values(), key=lambda plan: plan.nats) if tried else at(high)


def _plan_at(variances: np.ndarray, units: int, log_sigma: float) -> Plan:
    ratio = variances / np.exp(2 * log_sigma)
    wide = int((ratio > _SPANS[0] ** 2).sum())
    spans = np.sqrt(ratio[:wide])
    counts, loss = allocate(spans, units)
    constant = -0.5 * np.log(2 * np.pi) - log_sigma
    nats = wide * (constant - 0.5) - np.log(spans).sum() - loss
    nats += (len(variances) - wide) * constant - 0.5 * ratio[wide:].sum()
    return Plan(log_sigma, counts, float(nats))


def start_from_combs(
    data: Float[Tensor, "batch visible"], n_hidden: int, seed: int, log_sigma_floor: float = -5.0
) -> GaussianBernoulliRBM:
    """A GRBM whose hidden units are combs along the data's principal directions.

    Units that no direction wants start with small random weights.

    Args:
        data: What to be like; a few times as many rows as directions matter makes the covariance a good one.
        n_hidden: Number of hidden units.
        seed: Key of the random weights.
        log_sigma_floor: No sigma starts below it.

    Raises:
        BadInput: Fewer than 2 rows.
    """
    if len(data) < 2:
        raise BadInput(f"data of shape {list(data.shape)}: expected at least 2 rows")
    machine = GaussianBernoulliRBM(data.shape[1], n_hidden)
    wide = data.to(torch.float64)
    mean = wide.mean(0)
    variances, directions = torch.linalg.eigh((wide - mean).T @ (wide - mean) / len(data))
    order = variances.clamp(min=1e-12).flip(0).numpy()
    directions = directions.flip(1)
    plan = plan_combs(order, n_hidden, log_sigma_floor)
    sigma = float(np.exp(plan.log_sigma))

    W = 0.01 * sigma * torch.randn(data.shape[1], n_hidden, generator=generator(seed, "weights"), dtype=torch.float64)
    b, c = mean.clone(), torch.full((n_hidden,), -1.0, dtype=torch.float64)
    first = 0
    for k in np.flatnonzero(plan.counts):
        n = int(plan.counts[k])
        teeth = comb(float(np.sqrt(order[k])) / sigma, n)
        mine = slice(first, first + n)
        W[:, mine] = (sigma * teeth.spacing * directions[:, k])[:, None]
        c[mine] = teeth.biases - teeth.spacing * (directions[:, k] @ mean) / sigma
        b -= sigma * teeth.spacing * n / 2 * directions[:, k]
        first += n
    for name, value in (("W", W), ("b", b), ("c", c), ("log_sigma", torch.full_like(mean, plan.log_sigma))):
        getattr(machine, name).data.copy_(value)
    return machine


def start_small(
    data: Float[Tensor, "batch visible"], n_hidden: int, seed: int, share_on: float = 0.1
) -> GaussianBernoulliRBM:
    """A GRBM that is a diagonal Gaussian of the data but for small random weights: b, sigma from the data's moments.

    Args:
        data: What to be like.
        n_hidden: Number of hidden units.
        seed: Key of the random weights.
        share_on: P(h_j = 1) at the start.
    """
    machine = GaussianBernoulliRBM(data.shape[1], n_hidden)
    sigma = data.std(0, correction=0).clamp(min=1e-3)
    noise = torch.randn(machine.W.shape, generator=generator(seed, "weights"))
    machine.W.data.copy_(noise * sigma[:, None] * (0.1 / data.shape[1] ** 0.5))
    machine.b.data.copy_(data.mean(0))
    machine.c.data.fill_(float(np.log(share_on / (1 - share_on))))
    machine.log_sigma.data.copy_(sigma.log())
    return machine
