"""Sums over every state, for RBMs with few enough units on one side."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.rbm import BernoulliRBM, GaussianBernoulliRBM
from foveate.errors import BadInput
from foveate.runtime.random import numpy_generator

MOST_UNITS = 20
"""Units of the smaller layer up to which all states are summed: 2^20 free energies take a few seconds."""

_CHUNK = 1 << 14


def enumerable(rbm: BernoulliRBM | GaussianBernoulliRBM) -> bool:
    """Whether a layer of binary units has at most MOST_UNITS of them."""
    return rbm.n_hidden <= MOST_UNITS or (isinstance(rbm, BernoulliRBM) and rbm.n_visible <= MOST_UNITS)


def log_z_exact(rbm: BernoulliRBM | GaussianBernoulliRBM) -> float:
    """log Z by summing over all states of the smaller binary layer, the other one in closed form; float64, in nats.

    Raises:
        BadInput: No binary layer has MOST_UNITS units or fewer.
    """
    masses = _log_masses(rbm) if isinstance(rbm, BernoulliRBM) else _log_masses_gaussian(rbm)
    return float(torch.logsumexp(masses, 0))


def exact_samples(rbm: BernoulliRBM, chains: range, seed: int) -> Float[Tensor, "n visible"]:
    """Independent visible states distributed as p(v); each depends on (seed, chain id) alone.

    Raises:
        BadInput: Both layers have more than MOST_UNITS units.
    """
    mass = torch.softmax(_log_masses(rbm), 0)
    cumulative = torch.cumsum(mass, 0)
    weights, near, far, visible_is_near = _sides(rbm)
    samples = []
    for chain in chains:
        random = numpy_generator(seed, "exact sample", chain)
        index = torch.searchsorted(cumulative, float(random.random()) * cumulative[-1], right=True)
        state = _bits(index.clamp(max=len(mass) - 1)[None], len(near))
        if not visible_is_near:
            mean = torch.sigmoid(state @ weights + far)[0]
            state = (torch.from_numpy(random.random(len(mean))) < mean)[None]
        samples.append(state[0].float())
    return torch.stack(samples)


def _sides(rbm: BernoulliRBM) -> tuple[Tensor, Tensor, Tensor, bool]:
    """Couplings and biases in float64, the smaller layer first, and whether that is the visible one."""
    _require_enumerable(rbm)
    weights, b, c = (value.detach().to("cpu", torch.float64) for value in (rbm.W, rbm.b, rbm.c))
    return (weights, b, c, True) if len(b) <= len(c) else (weights.T, c, b, False)


def _log_masses(rbm: BernoulliRBM) -> Tensor:
    """log of the sum over the larger layer, for each state of the smaller."""
    weights, near, far, _ = _sides(rbm)
    masses = []
    for first in range(0, 2 ** len(near), _CHUNK):
        states = _bits(torch.arange(first, min(first + _CHUNK, 2 ** len(near))), len(near))
        x = states @ weights + far
        masses.append(states @ near + torch.logaddexp(x, torch.zeros_like(x)).sum(1))
    return torch.cat(masses)


def _log_masses_gaussian(grbm: GaussianBernoulliRBM) -> Tensor:
    """log of the integral over v, for each state of the hidden layer."""
    _require_enumerable(grbm)
    exact, all_states = copy.deepcopy(grbm).to("cpu", torch.float64), torch.arange(2**grbm.n_hidden)
    return torch.cat([-exact.free_energy_hidden(_bits(some, grbm.n_hidden)) for some in all_states.split(_CHUNK)])


def _require_enumerable(rbm: BernoulliRBM | GaussianBernoulliRBM) -> None:
    if not enumerable(rbm):
        units = f"{rbm.n_visible} and {rbm.n_hidden}" if isinstance(rbm, BernoulliRBM) else f"{rbm.n_hidden} hidden"
        raise BadInput(f"{units} units: only up to {MOST_UNITS} in one layer can be summed over")


def _bits(index: Tensor, units: int) -> Tensor:
    """[n] integers to [n, units] binary states in float64."""
    return ((index[:, None] >> torch.arange(units)) & 1).double()
