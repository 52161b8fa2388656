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

from foveate.boltzmann import schedules
from foveate.boltzmann.annealing_path import AnnealingPath
from foveate.boltzmann.enumeration import enumerable, exact_samples
from foveate.boltzmann.rbm import BernoulliRBM
from foveate.boltzmann.tempering import ENSEMBLES, LEVELS, TemperingState, temper

R_HAT_LIMIT = 1.1
"""Above it, ensembles of parallel tempering disagree."""


@dataclass(frozen=True)
class ModelSamples:
    """Samples of the model from which reverse chains start.

    Attributes:
        v: [n, visible] states; chain r has row r.
        ensemble: [n] int64, which independent ensemble each came from (all different where exact).
        exact: Whether they are exact and independent.
        r_hat: Of parallel tempering, NaN where exact.
        arrivals: States that parallel tempering brought up from its base, 0 where exact.
    """

    v: Float[Tensor, "n visible"]
    ensemble: Tensor
    exact: bool
    r_hat: float = math.nan
    arrivals: int = 0

    def doubts(self) -> list[str]:
        """Why the samples may not be the model's, in words; empty where nothing speaks against them."""
        if self.exact:
            return []
        found = []
        if self.r_hat > R_HAT_LIMIT:
            found.append(
                f"log_z_upper can't be relied on: the chains that sample the model disagree (R-hat {self.r_hat:.3g})"
            )
        if self.arrivals < len(self.v):
            found.append(
                f"log_z_upper can't be relied on: only {self.arrivals} states came from the base to the model's "
                f"temperature, for {len(self.v)} reverse chains"
            )
        return found


def draw_model_samples(
    rbm: BernoulliRBM,
    path: AnnealingPath,
    spread: Float[Tensor, " bins"],
    activities: Float[Tensor, "n visible"],
    chains: int,
    sweeps: int,
    seed: int,
    state: TemperingState | None = None,
    tick: Callable[[int], None] = lambda done: None,
    keep: Callable[[TemperingState], None] = lambda state: None,
) -> ModelSamples:
    """Samples for reverse chains 0 to chains - 1: exact by enumeration where possible, else by parallel tempering.

    Args:
        rbm: The machine.
        path: To it.
        spread: Of the pilot, from which the tempering's ladder is spaced.
        activities: Where one of the ensembles starts: data, so that a mode that the base doesn't lead to is seen.
        chains: Number of samples.
        sweeps: Of parallel tempering.
        seed: Of all random numbers.
        state, tick, keep: As in `temper`.
    """
    if enumerable(rbm):
        return ModelSamples(exact_samples(rbm, range(chains), seed), torch.arange(chains), exact=True)
    draws = math.ceil(chains / ENSEMBLES)
    ladder = schedules.adaptive(LEVELS - 1, spread)
    tempered = temper(path, ladder, activities, draws, max(sweeps, 2 * draws), seed, state, tick, keep)
    return ModelSamples(
        v=tempered.samples.flatten(0, 1)[:chains],
        ensemble=torch.arange(ENSEMBLES).repeat(draws)[:chains],
        exact=False,
        r_hat=tempered.r_hat,
        arrivals=tempered.arrivals,
    )
