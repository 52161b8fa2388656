"""Parallel tempering of a machine: samples of the model that needn't cross its barriers at its own temperature.

Several ensembles of replicas run along a `Path`, one replica a level; neighbours exchange states. The bottom level is
the path's base, which is drawn afresh at every sweep, so a state that comes up from there is new. Ensembles that start
in different places and end up with different statistics show that the samples can't be trusted.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.draws import Counted
from foveate.boltzmann.log_z.ais import segment_steps
from foveate.boltzmann.log_z.path import Path
from foveate.boltzmann.machine import Machine
from foveate.boltzmann.units import Visible
from foveate.runtime.precision import full_precision
from foveate.runtime.random import generator, key
from foveate.runtime.workers import one_thread_each

ENSEMBLES = 4  # Independent ensembles, which start in different places (`starts_apart`)
LEVELS = 25  # Inverse temperatures of each, 0 and 1 included
STATISTICS = 4
"""Numbers watched for mixing: the log density's slope in beta, and v along the couplings' strongest directions."""


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
    r_hat: float  # largest of the statistics', second half of the sweeps: 1 if ensembles agree, NaN if nothing moves
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
        seed, state, tick, keep: As in `anneal`.
    """
    with full_precision(), one_thread_each(), torch.no_grad():
        run = _Tempering(path, ladder, state or _begin(path, len(ladder), starts, draws, sweeps), seed)
        while run.done < sweeps:
            run.advance(min(run.done + segment_steps(path, ENSEMBLES * len(ladder)), sweeps))
            keep(run.state())
            tick(run.done)
        state = run.state()
    found = [split_r_hat(each) for each in state.statistics[sweeps // 2 :].permute(2, 1, 0)]
    return Tempered(
        samples=path.leave(state.samples.flatten(0, 1).float()).unflatten(0, state.samples.shape[:2]),
        r_hat=max((each for each in found if not math.isnan(each)), default=math.nan),
        arrivals=int(state.arrivals),
    )


def split_r_hat(series: Float[Tensor, "chains draws"]) -> float:
    """Potential scale reduction of chains cut in halves (Gelman et al. 2013, section 11.4).

    NaN where it says nothing: fewer than four draws, or no chain moves and all are at the same place (which a constant
    statistic of a healthy chain does too); infinite where chains stand still in different places.
    """
    half = series.shape[1] // 2
    if half < 2:
        return math.nan
    parts = torch.cat([series[:, :half], series[:, -half:]]).double()
    within, between = parts.var(1).mean(), parts.mean(1).var()
    return float(torch.sqrt((half - 1) / half + between / within))


def starts_apart(machine: Machine, path: Path, data: Visible, levels: int, seed: int) -> Float[Tensor, "rows V"]:
    """Visible states for `temper`, each ensemble's in places of its own, so that their agreement says something.

    Of units whose states can't be counted by way of the hidden ones, so that every mode of a mixture may be among them.
    """
    random = generator(seed, "tempering start")
    typical = data[torch.randint(len(data), (levels,), generator=random).to(data.device)]
    there = path.machine.visible.scattered(path.enter(typical.cpu()), path.base(), random)
    return path.enter(machine.scattered(typical, random).cpu()) if there is None else there


def _begin(path: Path, levels: int, starts: Tensor, draws: int, sweeps: int) -> TemperingState:
    rows, visible = ENSEMBLES * levels, path.machine.visible
    return TemperingState(
        v=starts.to(visible.stored),
        slope=path.slope(starts),
        rows_by_level=torch.arange(rows).reshape(ENSEMBLES, levels).clone(),
        was_at_bottom=torch.zeros(rows, dtype=torch.uint8),
        arrivals=torch.zeros((), dtype=torch.int64),
        samples=torch.zeros((draws, ENSEMBLES, path.shape[0]), dtype=visible.stored),
        statistics=torch.zeros((sweeps, ENSEMBLES, STATISTICS), dtype=torch.float64),
        sweep=torch.zeros((), dtype=torch.int64),
    )


class _Tempering:
    """A run in progress, on memory of its own."""

    def __init__(self, path: Path, ladder: Tensor, state: TemperingState, seed: int):
        rows = len(state.v)
        self.path, self.ladder = path.block(rows), ladder
        self.kept = TemperingState(*(value.clone() for value in state))
        self.done, self.v, self.slope = int(state.sweep), state.v.float(), self.kept.slope
        self.keys = torch.tensor([key(seed, "tempering", row) for row in range(rows)])
        self.swap_key = torch.tensor([key(seed, "tempering swaps")])
        self.beta = torch.zeros(rows)
        self.beta[self.kept.rows_by_level] = ladder.float()
        self.directions = path.directions(STATISTICS - 1)
        sweeps, draws = len(state.statistics), len(state.samples)
        self.drawn_at = torch.from_numpy(np.linspace(sweeps // 2, sweeps - 1, draws).astype(int))

    def advance(self, until: int) -> None:
        path, kept = self.path, self.kept
        for sweep in range(self.done, until):
            h, coupling = path.tempered(self.v, self.beta, Counted(self.keys, 2 * sweep))
            slope = self.slope + coupling
            self._exchange(slope, sweep)
            self.v, self.slope = path.visible(h, self.beta, Counted(self.keys, 2 * sweep + 1))
            top = kept.rows_by_level[:, -1]
            kept.statistics[sweep, :, 0] = slope[top]
            kept.statistics[sweep, :, 1:] = (self.v[top] @ self.directions).double()
            kept.samples[self.drawn_at == sweep] = self.v[top].to(kept.samples.dtype)
        self.done = until

    def _exchange(self, slope: Float[Tensor, " rows"], sweep: int) -> None:
        """Offer neighbouring levels of each ensemble to exchange their states (Geyer 1991; Swendsen and Wang 1986).

        log p*_beta(v, h) is linear in beta with slope d, so an exchange between levels a and b is accepted with
        probability min(1, exp((beta_a - beta_b) (d_b - d_a))). Even and odd pairs take turns.
        """
        rows, bottom = self.kept.rows_by_level, self.kept.was_at_bottom
        pairs = torch.arange(sweep % 2, len(self.ladder) - 1, 2)
        below, above = rows[:, pairs], rows[:, pairs + 1]
        log_ratio = (self.ladder[pairs] - self.ladder[pairs + 1]) * (slope[above] - slope[below])
        uniform = Counted(self.swap_key, 2 * sweep).uniform(rows.view(1, -1)).view_as(rows)[:, pairs]
        swapped = torch.log(uniform.double() + 2.0**-25) < log_ratio
        rows[:, pairs], rows[:, pairs + 1] = torch.where(swapped, above, below), torch.where(swapped, below, above)
        bottom[rows[:, 0]] = 1
        self.kept.arrivals.add_(bottom[rows[:, -1]].sum())
        bottom[rows[:, -1]] = 0
        self.beta[rows] = self.ladder.float()

    def state(self) -> TemperingState:
        return self.kept._replace(
            v=self.v.to(self.kept.v.dtype, copy=True), slope=self.slope, sweep=torch.tensor(self.done)
        )
