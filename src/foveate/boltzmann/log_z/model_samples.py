"""Reverse annealing: from the model's own samples back to the base, for an upper end of log Z.

The weights of chains that start from exact samples of the model and anneal to the base have mean Z_base / Z, so that
minus the log of their mean over-estimates log Z on average (Burda, Grosse, Salakhutdinov 2015). The samples are exact
where one layer is small; others are checked and reported on.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.log_z.exact import enumerable, exact_samples
from foveate.boltzmann.log_z.schedules import adaptive, pilot_spread
from foveate.boltzmann.log_z.tempering import ENSEMBLES, LEVELS, Tempered, TemperingState, starts_apart, temper
from foveate.boltzmann.machine import Machine
from foveate.runtime.random import generator

R_HAT_LIMIT = 1.1  # Above it, ensembles of parallel tempering disagree
TYPICAL = 1000  # Samples from which the model's means are taken


class ModelSamples(NamedTuple):
    """Samples of the model: reverse chains start from some, and the base of the annealing has the means of others."""

    v: Float[Tensor, "n visible"]  # states; reverse chain r has row r
    typical: Float[Tensor, "m visible"]  # states that show the model's means
    doubts: list[str]  # why they may not be the model's, in words; none of exact ones


def draw_model_samples(
    machine: Machine,
    data: Float[Tensor, "n visible"],
    chains: int,
    sweeps: int,
    seed: int,
    state: TemperingState | None = None,
    tick: Callable[[int], None] = lambda done: None,
    keep: Callable[[TemperingState], None] = lambda state: None,
) -> ModelSamples:
    """Samples for reverse chains 0 to chains - 1: exact by enumeration where possible, else by parallel tempering.

    Of data, what is typical as far as is known, the tempering's base has the moments, and one of its ensembles starts
    from them, so that a mode that the base doesn't lead to is seen. `state`, `tick` and `keep` are as in `temper`.
    """
    if enumerable(machine):
        drawn = exact_samples(machine, range(chains + TYPICAL), seed)
        return ModelSamples(drawn[:chains], drawn[chains:], [])
    known = data
    if machine.visible.states_each is None:  # the base must reach wherever the machine's mass may be
        some = data[: ENSEMBLES * LEVELS]
        known = torch.cat([data, machine.scattered(some, generator(seed, "scattered"))])
    path = machine.path(known)
    ladder = adaptive(LEVELS - 1, pilot_spread(path, seed))
    starts = starts_apart(machine, path, data, LEVELS, seed)
    each = math.ceil(chains / ENSEMBLES)
    draws = max(each, math.ceil(TYPICAL / ENSEMBLES))
    tempered = temper(path, ladder, starts, draws, max(sweeps, 2 * draws), seed, state, tick, keep)
    spaced = torch.linspace(0, draws - 1, each, dtype=torch.float64).round().long()
    v = tempered.samples[spaced].flatten(0, 1)[:chains]
    return ModelSamples(v, tempered.samples.flatten(0, 1), _doubts(tempered, chains))


def _doubts(tempered: Tempered, chains: int) -> list[str]:
    found = []
    if tempered.r_hat > R_HAT_LIMIT:
        found.append(f"the chains that sample the model disagree (R-hat {tempered.r_hat:.3g})")
    if tempered.arrivals < chains:
        arrived = f"only {tempered.arrivals} states came from the base to the model's temperature"
        found.append(f"{arrived}, for {chains} reverse chains")
    return [f"log_z_upper is not reliable: {doubt}" for doubt in found]
