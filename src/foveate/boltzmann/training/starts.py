"""Where learning starts: parameters of a restricted Boltzmann machine made from the data's moments."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.training.combs import Comb, Layout, fit_comb, lay_out, quantiles
from foveate.errors import BadInput
from foveate.runtime.random import generator

SPARE_BIAS = -1.0
"""c of hidden units that the start has no use for."""


class CombStart(NamedTuple):
    """What `lay_combs` finds out about the data."""

    mean: Tensor  # [D]
    directions: Tensor  # [D, K] principal directions, largest variance first; those that have a comb
    sigma: float  # of every visible unit
    combs: list[Comb]  # k of them, about the mean and in units of sigma
    layout: Layout  # as planned


def lay_combs(data: Float[Tensor, "batch visible"], n_hidden: int, log_sigma_floor: float = -5.0) -> CombStart:
    """Principal directions of the data, and a comb for each that is worth its units.

    Args:
        data: [N, D]; the more rows, the better the small directions are known.
        n_hidden: Hidden units at most.
        log_sigma_floor: No sigma is smaller.

    Raises:
        BadInput: Fewer than 2 rows, or no variance at all.
    """
    if len(data) < 2:
        raise BadInput(f"data of shape {list(data.shape)}: expected at least 2 rows")
    mean = data.mean(0)
    centred = (data - mean).to(torch.float32)
    variances, directions = torch.linalg.eigh((centred.T @ centred / len(data)).double())
    variances, directions = variances.flip(0).clamp(min=1e-12).numpy(), directions.flip(1).float()
    if variances[0] <= 1e-10:
        raise BadInput("the data has no variance: every row is the same")
    some = min(64, len(variances))
    positions = (centred @ directions[:, :some]).double().numpy() / np.sqrt(variances[:some])
    layout = lay_out(variances, quantiles(positions).mean(1), n_hidden, log_sigma_floor)
    sigma = float(np.exp(layout.log_sigma))
    wanted = np.flatnonzero(layout.counts)
    projections = quantiles((centred @ directions[:, wanted]).double().numpy() / sigma)
    combs = [fit_comb(projections[:, i].copy(), int(layout.counts[k])) for i, k in enumerate(wanted)]
    return CombStart(mean, directions[:, wanted], sigma, combs, layout)


def start_from_combs(
    data: Float[Tensor, "batch visible"], n_hidden: int, seed: int, log_sigma_floor: float = -5.0
) -> GaussianBernoulliRBM:
    """A GRBM whose hidden units are combs along the data's principal directions.

    The directions are orthogonal, so the density factorises: a probabilistic principal component analysis (Tipping,
    Bishop 1999) whose factors have mixtures for densities, before any learning. Units to spare get small weights.

    Args:
        data: What to be like.
        n_hidden: Number of hidden units.
        seed: Key of the random weights.
        log_sigma_floor: No sigma starts below it.
    """
    start = lay_combs(data, n_hidden, log_sigma_floor)
    sigma, mean = start.sigma, start.mean.double()
    machine = GaussianBernoulliRBM(data.shape[1], n_hidden)
    noise = torch.randn(machine.W.shape, generator=generator(seed, "weights"))
    W = (noise * (0.1 * sigma / data.shape[1] ** 0.5)).double()
    b, c = mean.clone(), torch.full((n_hidden,), SPARE_BIAS, dtype=torch.float64)
    first = 0
    for direction, one in zip(start.directions.T.double(), start.combs, strict=True):
        mine = slice(first, first + len(one.weights))
        weights = torch.from_numpy(one.weights)
        W[:, mine] = sigma * direction[:, None] * weights
        c[mine] = torch.from_numpy(one.biases) - weights * (direction @ mean) / sigma
        b += sigma * float(one.teeth[0]) * direction
        first = mine.stop
    values = {"W": W, "b": b, "c": c, "log_sigma": torch.full_like(mean, start.layout.log_sigma)}
    for name, value in values.items():
        getattr(machine, name).data.copy_(value)
    return machine


def start_small(
    data: Float[Tensor, "batch visible"], n_hidden: int, seed: int, share_on: float = 0.1
) -> GaussianBernoulliRBM:
    """A new GRBM that is a diagonal Gaussian of the data but for small random weights; see its `begin`.

    Args:
        data: What to be like.
        n_hidden: Number of hidden units.
        seed: Key of the random weights.
        share_on: P(h_j = 1) at the start.
    """
    machine = GaussianBernoulliRBM(data.shape[1], n_hidden)
    machine.begin(data, seed, share_on)
    return machine
