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
POINTS = 1024  # Quantiles that stand for a direction's data
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
    return np.quantile(values, (np.arange(points) + 0.5) / points, axis=0, method="hazen")


def fit_comb(points: np.ndarray, count: int) -> Comb:
    """The comb of `count` units for sorted points in units of sigma, or of as many as have room."""
    count = max(min(count, int((points[-1] - points[0]) / CLOSEST)), 0)
    # First teeth of a density like the cube root of the points' (Panter, Dite 1951): best for many teeth.
    along = np.concatenate([[0], np.cumsum(np.maximum(np.diff(points), 1e-9) ** (2 / 3))])
    teeth = np.interp((np.arange(count + 1) + 0.5) / (count + 1) * along[-1], along, points)
    return Comb(*_fit(points, teeth, ITERATIONS))


@njit(cache=True, error_model="numpy")
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def _fit(points, teeth, iterations):
    """Means and weights by expectation maximisation; a point has to do with the five teeth nearest to it only."""
    number, count = len(points), len(teeth) - 1
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


class Layout(NamedTuple):
    """How hidden units are shared out."""

    log_sigma: float  # of every visible unit
    counts: np.ndarray  # [K] units of each principal direction
    nats: float  # mean log density to be expected of the data


def lay_out(variances: np.ndarray, shape: np.ndarray, units: int, log_sigma_floor: float) -> Layout:
    """The sigma and the sharing out of hidden units that promise most, for [D] principal variances, largest first, and
    [POINTS] quantiles of a typical direction's data, of unit variance."""
    losses = loss_table(shape)
    low, high = log_sigma_floor, max(0.5 * float(np.log(variances.mean())), log_sigma_floor)
    tried = [_lay_out_at(variances, losses, units, high)]
    while high - low > 0.05:  # ternary search: nats rise and then fall in log sigma
        ends = low + (high - low) / 3, high - (high - low) / 3
        left, right = (_lay_out_at(variances, losses, units, end) for end in ends)
        low, high = (ends[0], high) if left.nats < right.nats else (low, ends[1])
        tried += left, right
    return max(tried, key=lambda layout: layout.nats)


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
    """`units` dealt to directions, [K] deviations in units of sigma, always where the next ones gain most nats each.

    Returns the counts [K], and the loss (`loss_table`) that is left over all directions.
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
