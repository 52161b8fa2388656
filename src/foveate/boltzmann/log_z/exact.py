"""Sums over every state, for machines with few enough states on one side."""

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.draws import FromNumpy
from foveate.boltzmann.machine import Machine
from foveate.boltzmann.units import Units
from foveate.errors import BadInput
from foveate.runtime.random import numpy_generator

MOST_STATES = 2**20
"""Of a layer whose states are summed: so many free energies take a few seconds."""

_CHUNK = 1 << 14


def enumerable(machine: Machine) -> bool:
    """Whether a layer has at most MOST_STATES states (20 binary units)."""
    return min(_states(machine)) <= MOST_STATES


def log_z_exact(machine: Machine) -> float:
    """log Z in closed form, or by summing over all states of the layer with fewer of them, the other one in closed
    form; float64, in nats.

    Raises:
        BadInput: There is no closed form, and no layer has MOST_STATES states or fewer.
    """
    closed = machine.log_z_closed()
    return float(torch.logsumexp(_log_masses(machine), 0)) if closed is None else closed


def exact_samples(machine: Machine, chains: range, seed: int) -> Float[Tensor, "n visible"]:
    """Independent visible states distributed as p(v); each depends on (seed, chain id) alone.

    Raises:
        BadInput: No layer has MOST_STATES states or fewer.
    """
    cumulative = torch.cumsum(torch.softmax(_log_masses(machine), 0), 0)
    exact, (units, count, visible), samples = machine.exactly(), _nearer(machine), []
    for chain in chains:
        random = numpy_generator(seed, "exact sample", chain)
        index = torch.searchsorted(cumulative, float(random.random()) * cumulative[-1], right=True)
        state = units.states(index.clamp(max=len(cumulative) - 1)[None], count)
        samples.append((state if visible else exact.draw_visible(state, FromNumpy(random)))[0].float())
    return torch.stack(samples)


def _states(machine: Machine) -> tuple[float, float]:
    """How many states the visible and the hidden layer have."""
    each = ((machine.visible.states_each, machine.n_visible), (machine.hidden.states_each, machine.n_hidden))
    visible, hidden = (float(n) ** units if n and units < 64 else float("inf") for n, units in each)
    return visible, hidden


def _nearer(machine: Machine) -> tuple[Units, int, bool]:
    """The layer with fewer states: its kind, its units, and whether it is the visible one."""
    visible, hidden = _states(machine)
    if visible <= hidden:
        return machine.visible, machine.n_visible, True
    return machine.hidden, machine.n_hidden, False


def _log_masses(machine: Machine) -> Float[Tensor, " states"]:
    """log of the sum over the larger layer, for each state of the smaller."""
    if not enumerable(machine):
        raise BadInput(
            f"{machine.n_visible} and {machine.n_hidden} units: one layer must have at most {MOST_STATES:,} states "
            "(20 binary units) to be summed over"
        )
    exact, (units, count, visible) = machine.exactly(), _nearer(machine)
    free_energy = exact.free_energy if visible else exact.free_energy_hidden
    numbers = torch.arange(int(min(_states(machine))))
    return torch.cat([-free_energy(units.states(some, count)) for some in numbers.split(_CHUNK)])
