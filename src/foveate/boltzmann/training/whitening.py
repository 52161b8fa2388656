"""A whitened space of patches, where a GRBM starts as the full-covariance Gaussian and can only add.

A GRBM describes the visible units as independent given the hidden ones, and pays for every correlation with hidden
units. In the coordinates

    x_i = u_i . (v - m) / sqrt(l_i),    log p(v) = log p(x) + log |det dx/dv| = log p(x) - 1/2 sum_i log l_i,

with l_i, u_i eigenvalues and eigenvectors of a covariance shrunk as by Ledoit & Wolf (2004), a GRBM without weights
(b = 0, sigma = 1) is that Gaussian. What is left for hidden units are the shapes of the coordinates' densities, whose
tails are heavier than a Gaussian's, and their dependence: both of higher order.

Coordinates are fitted on patches that the covariance has not seen (`held_out`), since on its own patches a covariance
of many dimensions makes small coordinates look narrower than they are.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.training.combs import Comb, fit_comb, quantiles
from foveate.errors import BadInput
from foveate.runtime.random import generator

COUNTS = (1, 2, 3)  # units of a coordinate's comb
NARROWER = (0.95, 0.85, 0.75, 0.6, 0.45)  # sigma of a comb's teeth beside the coordinate's deviation
POINTS = 512  # quantiles that stand for a coordinate's data
LEAST = 0.002  # nats that a hidden unit must be worth


class Whitening(NamedTuple):
    """An affine map to coordinates of mean 0 and covariance 1.

    Attributes:
        mean: m.
        matrix: [D, D], row i is u_i / sqrt(l_i), the largest l_i first.
        log_det: log |det dx/dv|, nats to be added to a log density of x.
    """

    mean: Float[Tensor, " visible"]
    matrix: Float[Tensor, "visible visible"]
    log_det: float

    def __call__(self, v: Float[Tensor, "rows visible"]) -> Float[Tensor, "rows visible"]:
        """x of v."""
        return (v - self.mean) @ self.matrix.T

    def inverse(self, x: Float[Tensor, "rows visible"]) -> Float[Tensor, "rows visible"]:
        """v of x."""
        return torch.linalg.solve(self.matrix.double(), x.double().T).T.to(x.dtype) + self.mean


def fit_whitening(v: Float[Tensor, "rows visible"]) -> Whitening:
    """From the mean and Ledoit-Wolf covariance of patches (scikit-learn's).

    Raises:
        BadInput: scikit-learn isn't there, or there are fewer than two patches.
    """
    try:
        from sklearn.covariance import LedoitWolf
    except ImportError as error:
        raise BadInput("whitening needs scikit-learn (pip install 'foveate[demo]')") from error
    if len(v) < 2:
        raise BadInput(f"patches of shape {list(v.shape)}: whitening needs at least two")
    found = LedoitWolf().fit(v.double().cpu().numpy())
    values, vectors = np.linalg.eigh(found.covariance_)
    values, vectors = np.maximum(values[::-1], 1e-12), vectors[:, ::-1]
    matrix = torch.from_numpy(np.ascontiguousarray((vectors / np.sqrt(values)).T))
    return Whitening(torch.from_numpy(found.location_).float(), matrix.float(), float(-0.5 * np.log(values).sum()))


def held_out(
    v: Float[Tensor, "rows visible"], group: Int[Tensor, " rows"], folds: int = 5
) -> Float[Tensor, "rows visible"]:
    """Coordinates of every patch by a whitening of patches of other groups; i-th largest stands for i-th largest.

    Args:
        v: Patches.
        group: What each shows: patches of one object stay together.
        folds: Parts.
    """
    x = torch.empty_like(v)
    for fold in range(folds):
        mine = group % folds == fold
        if mine.any():
            x[mine] = fit_whitening(v[~mine])(v[mine])
    return x


def start_from_marginals(x: Float[Tensor, "rows visible"], n_hidden: int, seed: int) -> GaussianBernoulliRBM:
    """A GRBM of independent visible units, each with the density of its coordinate, by combs along the axes.

    Hidden units go where they are worth most nats; those to spare get small random weights.

    Args:
        x: Uncorrelated coordinates, as `held_out` gives them.
        n_hidden: Hidden units.
        seed: Of the random weights.
    """
    data = x.double().cpu().numpy()
    mean, deviation = data.mean(0), np.maximum(data.std(0), 1e-6)
    points = quantiles((data - mean) / deviation, POINTS)
    found = [_fits(points[:, i]) for i in range(data.shape[1])]
    gain = np.array([[nats for nats, _, _ in row] for row in found]).reshape(len(found), len(COUNTS) + 1)
    chosen = share_out(gain, n_hidden)
    machine = GaussianBernoulliRBM(data.shape[1], n_hidden)
    noise = torch.randn(machine.W.shape, generator=generator(seed, "weights"))
    machine.W.data.copy_(noise * (0.1 / data.shape[1] ** 0.5))
    machine.c.data.fill_(-1.0)
    first = 0
    for i, choice in enumerate(chosen):
        _, narrow, comb = found[i][choice]
        sigma = deviation[i] * narrow
        machine.log_sigma.data[i] = float(np.log(sigma))
        teeth = comb.teeth + mean[i] / sigma  # from the middle of the coordinate to its zero
        moved = Comb(teeth, comb.log_weights, comb.nats)
        machine.b.data[i] = float(sigma * teeth[0])
        mine = slice(first, first + len(moved.weights))
        machine.W.data[:, mine] = 0
        machine.W.data[i, mine] = torch.from_numpy(sigma * moved.weights).float()
        machine.c.data[mine] = torch.from_numpy(moved.biases).float()
        first = mine.stop
    return machine


def _fits(points: Float[np.ndarray, " points"]) -> list[tuple[float, float, Comb]]:
    """The best comb of each size for a coordinate of unit variance: (nats over the Gaussian, its sigma, the comb).

    The first has no units and is the Gaussian itself.
    """
    single = Comb(np.zeros(1), np.zeros(1), 0.0)
    gaussian = -0.5 * np.log(2 * np.pi) - 0.5
    out = [(0.0, 1.0, single)]
    for count in COUNTS:
        tried = []
        for narrow in NARROWER:
            comb = fit_comb(points / narrow, count)
            tried.append((comb.nats - float(np.log(narrow)) - gaussian, narrow, comb))
        out.append(max(tried, key=lambda fit: fit[0]))
    return out


def share_out(gain: Float[np.ndarray, "coordinates choices"], units: int) -> Int[np.ndarray, " coordinates"]:
    """How many units each coordinate gets: sum_i gain[i, n_i] - price sum_i n_i is largest, at the lowest price that
    keeps sum_i n_i within `units` and is at least `LEAST`."""
    number = np.arange(gain.shape[1])

    def at(price: float) -> np.ndarray:
        return np.argmax(gain - price * number, axis=1)

    low, high = LEAST, max(LEAST, float(gain.max())) + 1e-9
    if at(low).sum() <= units:
        return at(low)
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if at(middle).sum() > units else (low, middle)
    return at(high)
