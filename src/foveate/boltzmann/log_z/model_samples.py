"""Reverse annealing: from the model's own samples back to the base, for an upper end of log Z.

The weights of chains that start from exact samples of the model and anneal to the base have mean Z_base / Z, so that
minus the log of their mean over-estimates log Z on average (Burda, Grosse, Salakhutdinov 2015, "Accurate and
conservative estimates of MRF log-likelihood using reverse annealing"). With forward annealing it brackets log Z, but
only as far as the samples are the model's: exact ones are where one layer is small, others are checked and reported on.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.log_z.exact import enumerable, exact_samples
from foveate.boltzmann.log_z.schedules import adaptive, pilot_spread
from foveate.boltzmann.log_z.tempering import ENSEMBLES, LEVELS, TemperingState, starts_apart, temper
from foveate.boltzmann.machine import Machine
from foveate.runtime.random import generator

R_HAT_LIMIT = 1.1
"""Above it, ensembles of parallel tempering disagree."""

TYPICAL = 1000
"""Samples from which the model's means are taken."""


@dataclass(frozen=True)
class ModelSamples:
    """Samples of the model: reverse chains start from some, and the base of the annealing has the means of others."""

    v: Float[Tensor, "n visible"]  # states; reverse chain r has row r
    typical: Float[Tensor, "m visible"]  # states that show the model's means
    ensemble: Tensor  # [n] int64, which independent ensemble each came from (all different where exact)
    exact: bool  # whether they are exact and independent
    r_hat: float = math.nan  # of parallel tempering, NaN where exact
    arrivals: int = 0  # states that parallel tempering brought up from its base, 0 where exact

    def doubts(self) -> list[str]:
        """Why the samples may not be the model's, in words; empty where nothing speaks against them."""
        if self.exact:
            return []
        found = []
        if self.r_hat > R_HAT_LIMIT:
            found.append(
                f"log_z_upper is not reliable: the chains that sample the model disagree (R-hat {self.r_hat:.3g})"
            )
        if self.arrivals < len(self.v):
            found.append(
                f"log_z_upper is not reliable: only {self.arrivals} states came from the base to the model's "
                f"temperature, for {len(self.v)} reverse chains"
            )
        return found


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

    Args:
        machine: What is sampled.
        data: What is typical as far as is known: the tempering's base has its moments, and one of its
            ensembles starts from them, so that a mode that the base doesn't lead to is seen.
        chains: Number of samples for chains to start from.
        sweeps: Of parallel tempering.
        seed: Of all random numbers.
        state, tick, keep: As in `temper`.
    """
    if enumerable(machine):
        drawn = exact_samples(machine, range(chains + TYPICAL), seed)
        return ModelSamples(drawn[:chains], drawn[chains:], torch.arange(chains), exact=True)
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
    return ModelSamples(
        v=tempered.samples[spaced].flatten(0, 1)[:chains],
        typical=tempered.samples.flatten(0, 1),
        ensemble=torch.arange(ENSEMBLES).repeat(each)[:chains],
        exact=False,
        r_hat=tempered.r_hat,
        arrivals=tempered.arrivals,
    )
