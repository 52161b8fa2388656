"""Parallel tempering of a machine: samples of the model that needn't cross its barriers at its own temperature.

Several ensembles of replicas run along a `Path`, one replica a level; neighbours exchange states. The bottom level is
the path's base, which is drawn afresh at every sweep, so a state that comes up from there is new. Ensembles that start
in different places and end up with different statistics show that the samples can't be trusted.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.draws import Counted
from foveate.boltzmann.log_z.ais import segment_steps
from foveate.boltzmann.log_z.fused import swap_pass
from foveate.boltzmann.log_z.path import Path
from foveate.boltzmann.machine import Machine
from foveate.runtime.precision import full_precision
from foveate.runtime.random import key
from foveate.runtime.workers import one_thread_each

ENSEMBLES = 4
"""Independent ensembles, which start in different places (`starts_apart`)."""

LEVELS = 25
"""Inverse temperatures of each, 0 and 1 included."""

STATISTICS = 4
"""Numbers watched for mixing: the log density's slope in beta, and v along the strongest directions of the
couplings."""


class TemperingState(NamedTuple):
    """All that going on needs."""

    v: Tensor  # [rows, V] states, as the units store them
    slope: Tensor  # [rows] float64, the visible part of d log p*_beta(v, h) / d beta
    rows_by_level: Tensor  # [ensembles, levels] which row is at which level
    was_at_bottom: Tensor  # [rows] uint8
    arrivals: Tensor  # [] states that came up from the bottom to the top so far
    samples: Tensor  # [draws, ensembles, V], stored alike (zeros where not drawn yet)
    statistics: Tensor  # [sweeps, ensembles, STATISTICS] of the top level (zeros where not reached yet)
    sweep: Tensor  # [] sweeps done


class Tempered(NamedTuple):
    """Samples, and what is known of their worth."""

    samples: Float[Tensor, "draws ensembles visible"]  # states of the top level
    # largest split R-hat over the statistics, second half of the sweeps; 1 when the ensembles agree, NaN where
    # nothing moves
    r_hat: float
    arrivals: int  # how many states came up from the bottom to the top, all ensembles together


def temper(
    path: Path,
    ladder: Float[Tensor, " levels"],
    starts: Float[Tensor, "rows V"],
    draws: int,
    sweeps: int,
    seed: int,
    state: TemperingState | None = None,
    tick: Callable[[int], None] = lambda done: None,
    keep: Callable[[TemperingState], None] = lambda state: None,
) -> Tempered:
    """Run ENSEMBLES ensembles and draw from their top levels, evenly over the second half of the sweeps.

    Args:
        path: To the machine, on the CPU.
        ladder: Ascending inverse temperatures from 0 to 1.
        starts: Visible states of all replicas, as the path has them, ensemble by ensemble.
        draws: Samples of each ensemble, at most half the sweeps.
        sweeps: Gibbs sweeps of every replica, each followed by exchanges.
        seed: Of all random numbers.
        state: Where an earlier run of the same call stopped.
        tick: Called with the sweeps done; may raise to stop.
        keep: Called just before it with the state from which to go on.
    """
    with full_precision(), one_thread_each(), torch.no_grad():
        if state is None:
            state = _begin(path, len(ladder), starts, draws, sweeps)
        run = _Tempering(path, ladder, state, seed)
        while run.done < sweeps:
            run.advance(min(run.done + segment_steps(path, ENSEMBLES * len(ladder)), sweeps))
            keep(run.state())
            tick(run.done)
        state = run.state()
    half = state.statistics[sweeps // 2 :]
    return Tempered(
        samples=path.leave(state.samples.flatten(0, 1).float()).unflatten(0, state.samples.shape[:2]),
        r_hat=max((split_r_hat(half[..., i].T) for i in range(STATISTICS)), key=_worst),
        arrivals=int(state.arrivals),
    )


def split_r_hat(series: Float[Tensor, "chains draws"]) -> float:
    """Potential scale reduction of chains cut in halves (Gelman et al. 2013, section 11.4).

    NaN where it says nothing: fewer than four draws, or no chain moves and all are at the same place (which a constant
    statistic of a healthy chain does too); infinite where chains stand still in different places.
    """
    half = series.shape[1] // 2
    if half < 2:
        return float("nan")
    parts = torch.cat([series[:, :half], series[:, -half:]]).double()
    within, between = parts.var(1).mean(), half * parts.mean(1).var()
    if within == 0:
        return float("nan") if between == 0 else float("inf")
    return float(torch.sqrt((half - 1) / half + between / (half * within)))


def _worst(r_hat: float) -> float:
    return -1.0 if np.isnan(r_hat) else r_hat


def starts_apart(
    machine: Machine, path: Path, data: Float[Tensor, "n visible"], levels: int, seed: int
) -> Float[Tensor, "rows V"]:
    """Visible states for `temper`, each ensemble's in places of its own, so that their agreement says something.

    They are near data, near the base, anywhere, and opposite to the data; of units whose states can't be counted by way
    of the hidden ones, so that every mode of a mixture may be among them.
    """
    generator = torch.Generator().manual_seed(key(seed, "tempering start"))
    typical = data[torch.randint(len(data), (levels,), generator=generator).to(data.device)]
    there = path.machine.visible.scattered(path.enter(typical.cpu()), path.base(), generator)
    return path.enter(machine.scattered(typical, generator).cpu()) if there is None else there


def _begin(path: Path, levels: int, starts: Tensor, draws: int, sweeps: int) -> TemperingState:
    rows, (width, _), visible = ENSEMBLES * levels, path.shape, path.machine.visible
    return TemperingState(
        v=starts.to(visible.stored),
        slope=path.slope(starts),
        rows_by_level=torch.arange(rows).reshape(ENSEMBLES, levels).clone(),
        was_at_bottom=torch.zeros(rows, dtype=torch.uint8),
        arrivals=torch.zeros((), dtype=torch.int64),
        samples=torch.zeros((draws, ENSEMBLES, width), dtype=visible.stored),
        statistics=torch.zeros((sweeps, ENSEMBLES, STATISTICS), dtype=torch.float64),
        sweep=torch.zeros((), dtype=torch.int64),
    )


class _Tempering:
    """A run in progress, on memory of its own."""

    def __init__(self, path: Path, ladder: Tensor, state: TemperingState, seed: int):
        rows = len(state.v)
        self.path, self.ladder = path.block(rows), ladder.numpy()
        self.kept = TemperingState(*(value.clone() for value in state))
        self.done, self.arrivals = int(state.sweep), int(state.arrivals)
        self.v, self.slope = state.v.float(), self.kept.slope
        self.keys = torch.tensor([key(seed, "tempering", row) for row in range(rows)])
        self.swap_key = np.uint64(key(seed, "tempering swaps"))
        self.beta = torch.zeros(rows)
        self._set_betas()
        self.directions = path.directions(STATISTICS - 1)
        sweeps, draws = len(state.statistics), len(state.samples)
        drawn_at = np.linspace(sweeps // 2, sweeps - 1, draws).astype(int)
        self.draws_at = {int(sweep): np.flatnonzero(drawn_at == sweep) for sweep in set(drawn_at)}

    def advance(self, until: int) -> None:
        path, kept = self.path, self.kept
        rows, bottom = kept.rows_by_level.numpy(), kept.was_at_bottom.numpy()
        for sweep in range(self.done, until):
            h, coupling = path.tempered(self.v, self.beta, Counted(self.keys, 2 * sweep))
            slope = (self.slope + coupling).numpy()
            self.arrivals += swap_pass(rows, self.ladder, slope, sweep, self.swap_key, bottom)
            self._set_betas()
            self.v, self.slope = path.visible(h, self.beta, Counted(self.keys, 2 * sweep + 1))
            top = rows[:, -1]
            kept.statistics[sweep, :, 0] = torch.from_numpy(slope[top])
            kept.statistics[sweep, :, 1:] = (self.v[top] @ self.directions).double()
            for draw in self.draws_at.get(sweep, ()):
                kept.samples[draw] = self.v[top].to(kept.samples.dtype)
        self.done = until

    def state(self) -> TemperingState:
        return self.kept._replace(
            v=self.v.to(self.kept.v.dtype, copy=True),
            slope=self.slope,
            arrivals=torch.tensor(self.arrivals),
            sweep=torch.tensor(self.done),
        )

    def _set_betas(self) -> None:
        self.beta[self.kept.rows_by_level] = torch.from_numpy(self.ladder).float()
