"""Where learning starts: parameters of a restricted Boltzmann machine made from the data's moments."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from foveate.boltzmann.gaussian import GaussianBernoulliRBM
from foveate.boltzmann.training.combs import Comb, Layout, fit_comb, lay_out, quantiles
from foveate.boltzmann.units import Visible
from foveate.errors import BadInput
from foveate.runtime.random import generator

SPARE_BIAS = -1.0  # c of hidden units that the start has no use for


class CombStart(NamedTuple):
    """What `lay_combs` finds out about the data."""

    mean: Tensor  # [D]
    directions: Tensor  # [D, K] principal directions, largest variance first; those that have a comb
    combs: list[Comb]  # K of them, about the mean and in units of sigma
    layout: Layout  # as planned


def lay_combs(data: Visible, n_hidden: int, log_sigma_floor: float = -5.0) -> CombStart:
    """Principal directions of the data, and a comb for each that is worth its units, `n_hidden` at most in all.

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
    wanted = np.flatnonzero(layout.counts)
    projections = quantiles((centred @ directions[:, wanted]).double().numpy() / np.exp(layout.log_sigma))
    combs = [fit_comb(projections[:, i].copy(), int(layout.counts[k])) for i, k in enumerate(wanted)]
    return CombStart(mean, directions[:, wanted], combs, layout)


def start_from_combs(data: Visible, n_hidden: int, seed: int, log_sigma_floor: float = -5.0) -> GaussianBernoulliRBM:
    """A GRBM whose hidden units are combs along the data's principal directions.

    The directions are orthogonal, so the density factorises: a probabilistic principal component analysis (Tipping,
    Bishop 1999) whose factors have mixtures for densities. Units to spare get small random weights.
    """
    start = lay_combs(data, n_hidden, log_sigma_floor)
    sigma, mean = float(np.exp(start.layout.log_sigma)), start.mean.double()
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
    for parameter, value in ((machine.W, W), (machine.b, b), (machine.c, c)):
        parameter.copy_(value)
    machine.log_sigma.fill_(start.layout.log_sigma)
    return machine


def start_small(data: Visible, n_hidden: int, seed: int) -> GaussianBernoulliRBM:
    """A new GRBM that is a diagonal Gaussian of the data but for small random weights; see its `begin`."""
    machine = GaussianBernoulliRBM(data.shape[1], n_hidden)
    machine.begin(data, seed)
    return machine
