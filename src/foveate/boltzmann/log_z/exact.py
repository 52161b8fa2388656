"""Sums over every state, for machines with few enough states on one side."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.draws import FromNumpy
from foveate.boltzmann.machine import Machine
from foveate.boltzmann.units import Units
from foveate.errors import BadInput
from foveate.runtime.random import numpy_generator

MOST_STATES = 2**20  # Of a layer whose states are summed: so many free energies take a few seconds
_CHUNK = 1 << 14


def enumerable(machine: Machine) -> bool:
    """Whether a layer has at most MOST_STATES states (20 binary units)."""
    return _nearer(machine)[3] <= MOST_STATES


def log_z_exact(machine: Machine) -> float:
    """log Z in closed form, or by summing over all states of the layer with fewer of them; float64, in nats.

    Raises:
        BadInput: There is no closed form, and no layer has MOST_STATES states or fewer.
    """
    closed = machine.log_z_closed()
    return float(torch.logsumexp(_log_masses(machine), 0)) if closed is None else closed


def exact_samples(machine: Machine, chains: range, seed: int) -> Float[Tensor, "n visible"]:
    """Independent visible states distributed as p(v) of an enumerable machine, each by (seed, chain id) alone."""
    cumulative = torch.cumsum(torch.softmax(_log_masses(machine), 0), 0)
    exact, (units, count, visible, _), samples = machine.exactly(), _nearer(machine), []
    for chain in chains:
        random = numpy_generator(seed, "exact sample", chain)
        index = torch.searchsorted(cumulative, float(random.random()) * cumulative[-1], right=True)
        state = units.states(index.clamp(max=len(cumulative) - 1)[None], count)
        samples.append((state if visible else exact.draw_visible(state, FromNumpy(random)))[0].float())
    return torch.stack(samples)


def _nearer(machine: Machine) -> tuple[Units, int, bool, float]:
    """The layer with fewer states: its kind, its units, whether it is the visible one, and how many states it has."""
    layers = (machine.visible, machine.n_visible, True), (machine.hidden, machine.n_hidden, False)
    counted = [(*one, float(one[0].states_each or math.inf) ** min(one[1], 64)) for one in layers]
    return min(counted, key=lambda one: one[3])


def _log_masses(machine: Machine) -> Float[Tensor, " states"]:
    """log of the sum over the larger layer, for each state of the smaller."""
    exact, (units, count, visible, states) = machine.exactly(), _nearer(machine)
    if states > MOST_STATES:
        raise BadInput(
            f"{machine.n_visible} and {machine.n_hidden} units: one layer must have at most {MOST_STATES:,} states "
            "(20 binary units) to be summed over"
        )
    free_energy = exact.free_energy if visible else exact.free_energy_hidden
    return torch.cat([-free_energy(units.states(some, count)) for some in torch.arange(int(states)).split(_CHUNK)])
