"""Combs: how a few hidden units give a Gaussian-Bernoulli RBM the density that it should have along one direction.

In units of sigma, -log p(v) of a GRBM is |v - b|^2 / 2 - sum_j softplus(c_j + w_j.v): a narrow bowl that each hidden
unit unbends about its threshold. n units along one direction, thresholds in order, make it (nearly) a mixture of n + 1
Gaussians of unit variance in a row, a comb. With teeth m_0 < ... < m_n of weights p_i,
    w_j = m_j - m_(j-1),   c_j = log p_j - log p_(j-1) - (m_j^2 - m_(j-1)^2) / 2,   b = m_0;
states out of order weigh less by exp(-w_j w_(j+1)). The teeth are fitted to data by expectation maximisation (Dempster,
Laird, Rubin 1977), so they follow skewness and tails.
"""

import heapq
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

COUNTS = np.array((0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128))
SPANS = np.exp(np.linspace(np.log(1.02), np.log(500.0), 24))
CLOSEST = 2.5
"""Teeth this far apart (in sigma) make a smooth density; closer ones would add nothing but states out of order."""
POINTS = 1024
"""Quantiles that stand for a direction's data."""
ITERATIONS = 12


class Comb(NamedTuple):
    """A mixture of Gaussians of unit variance in a row."""

    teeth: np.ndarray  # [n + 1] means, in units of sigma, rising
    log_weights: np.ndarray  # [n + 1] of the mixture
    nats: float  # mean log density of the points it was fitted to

    @property
    def weights(self) -> np.ndarray:
        """[n] w_j of the module's formula."""
        return np.diff(self.teeth)

    @property
    def biases(self) -> np.ndarray:
        """[n] c_j of the module's formula."""
        return np.diff(self.log_weights) - 0.5 * np.diff(self.teeth**2)


def quantiles(values: np.ndarray, points: int = POINTS) -> np.ndarray:
    """[points, ...] middles of equal shares of the values, along the first axis."""
    ordered = np.sort(values, axis=0)
    places = (np.arange(points) + 0.5) / points * len(values) - 0.5
    low = np.clip(np.floor(places).astype(int), 0, len(values) - 1)
    high = np.minimum(low + 1, len(values) - 1)
    share = np.clip(places - low, 0, 1).reshape(-1, *([1] * (values.ndim - 1)))
    return ordered[low] * (1 - share) + ordered[high] * share


def fit_comb(points: np.ndarray, count: int, closest: float = CLOSEST) -> Comb:
    """The comb of `count` units for sorted points in units of sigma.

    Fewer teeth come back, at least one, where the points' range has no room for them at distances of `closest`.
    """
    room = int((points[-1] - points[0]) / closest)
    teeth, log_weights, nats = _fit(points, max(min(count, room), 0), ITERATIONS)
    return Comb(teeth, log_weights, nats)


@njit(cache=True, error_model="numpy")
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def _fit(points, count, iterations):
    """Means and weights by expectation maximisation; a point has to do with the five teeth nearest to it only."""
    number = len(points)
    teeth = _spread(points, count)
    log_weights = np.full(count + 1, -np.log(count + 1.0))
    nats = 0.0
    for iteration in range(iterations + 1):
        mass, total = np.full(count + 1, 0.5), 0.5 * teeth  # half a point of prior keeps empty teeth where they are
        nats, near = 0.0, 0
        for y in points:
            while near < count and abs(teeth[near + 1] - y) < abs(teeth[near] - y):
                near += 1
            first, last = max(near - 2, 0), min(near + 3, count + 1)
            top = -np.inf
            for i in range(first, last):
                top = max(top, log_weights[i] - 0.5 * (y - teeth[i]) ** 2)
            density = 0.0
            for i in range(first, last):
                density += np.exp(log_weights[i] - 0.5 * (y - teeth[i]) ** 2 - top)
            nats += top + np.log(density)
            for i in range(first, last):
                share = np.exp(log_weights[i] - 0.5 * (y - teeth[i]) ** 2 - top) / density
                mass[i] += share
                total[i] += share * y
        if iteration < iterations:
            teeth = total / mass
            log_weights = np.log(mass / mass.sum())
    return teeth, log_weights, nats / number - 0.5 * np.log(2 * np.pi)


@njit(cache=True, error_model="numpy")
@no_type_check
def _spread(points, count):
    """First teeth, of a density like the cube root of the points' (Panter, Dite 1951): best for many teeth."""
    gaps = np.empty(len(points) - 1)
    for i in range(len(gaps)):
        gaps[i] = max(points[i + 1] - points[i], 1e-9) ** (2.0 / 3.0)
    along = np.concatenate((np.zeros(1), np.cumsum(gaps)))
    places = (np.arange(count + 1) + 0.5) / (count + 1) * along[-1]
    return np.interp(places, along, points)


class Layout(NamedTuple):
    """How hidden units are shared out."""

    log_sigma: float  # of every visible unit
    counts: np.ndarray  # [K] units of each principal direction
    nats: float  # mean log density to be expected of the data


def lay_out(variances: np.ndarray, shape: np.ndarray, units: int, log_sigma_floor: float) -> Layout:
    """The sigma and the sharing out of units that promise most.

    Args:
        variances: [D] principal variances, largest first.
        shape: [POINTS] quantiles of a typical direction's data, of unit variance.
        units: Hidden units to share out.
        log_sigma_floor: Lowest log sigma.
    """
    losses = loss_table(shape)
    low, high = log_sigma_floor, max(0.5 * float(np.log(variances.mean())), log_sigma_floor)
    tried: dict[float, Layout] = {}

    def at(log_sigma: float) -> Layout:
        if log_sigma not in tried:
            tried[log_sigma] = _lay_out_at(variances, losses, units, log_sigma)
        return tried[log_sigma]

    at(high)
    while high - low > 0.05:  # ternary search: nats rise and then fall in log sigma
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (left, high) if at(left).nats < at(right).nats else (low, right)
    return max(tried.values(), key=lambda layout: layout.nats)


def loss_table(shape: np.ndarray) -> np.ndarray:
    """[SPANS, COUNTS] nats that a comb lacks of a Gaussian's expected log density at that span."""
    table, shape = np.empty((len(SPANS), len(COUNTS))), quantiles(shape, POINTS // 4)
    for i, span in enumerate(SPANS):
        ideal = -0.5 * np.log(2 * np.pi) - 0.5 - np.log(span)
        for j, count in enumerate(COUNTS):
            full = j > 1 and (shape[-1] - shape[0]) * span < CLOSEST * COUNTS[j - 1]
            table[i, j] = table[i, j - 1] if full else ideal - fit_comb(shape * span, int(count)).nats
        table[i] = np.minimum.accumulate(table[i])
    return table


def _lay_out_at(variances: np.ndarray, losses: np.ndarray, units: int, log_sigma: float) -> Layout:
    ratio = variances / np.exp(2 * log_sigma)
    wide = int((ratio > SPANS[0] ** 2).sum())
    spans = np.sqrt(ratio[:wide])
    counts, loss = share_out(spans, losses, units)
    constant = -0.5 * np.log(2 * np.pi) - log_sigma
    nats = wide * (constant - 0.5) - np.log(spans).sum() - loss
    nats += (len(variances) - wide) * constant - 0.5 * ratio[wide:].sum()
    return Layout(log_sigma, counts, float(nats))


def share_out(spans: np.ndarray, losses: np.ndarray, units: int) -> tuple[np.ndarray, float]:
    """Units to directions, always where the next ones gain most nats each.

    Args:
        spans: [K] standard deviations in units of sigma.
        losses: [SPANS, COUNTS] from `loss_table`.
        units: Number to share out.

    Returns:
        [K] counts, and the loss that is left over all directions.
    """
    grid = np.log(SPANS)
    own = np.stack([np.interp(np.log(spans), grid, column) for column in losses.T], axis=1)
    own[:, 0] = 0.5 * spans**2 - 0.5 - np.log(spans)
    steps = COUNTS[None, :] - COUNTS[:, None]
    level = np.zeros(len(spans), dtype=int)

    def best_rise(k: int) -> tuple[float, int, int]:
        """The rise of direction k with most nats a unit, as (-nats a unit, k, level after it)."""
        gains = (own[k, level[k]] - own[k, level[k] + 1 :]) / steps[level[k], level[k] + 1 :]
        if len(gains) == 0:
            return 0.0, k, -1
        rise = int(gains.argmax())
        return -float(gains[rise]), k, int(level[k]) + 1 + rise

    heap = [best_rise(k) for k in range(len(spans))]
    heapq.heapify(heap)
    left = units
    while heap and left > 0:
        gain, k, after = heapq.heappop(heap)
        if gain < -1e-4 and steps[level[k], after] <= left:
            left -= int(steps[level[k], after])
            level[k] = after
            heapq.heappush(heap, best_rise(k))
    return COUNTS[level], float(own[np.arange(len(spans)), level].sum())
