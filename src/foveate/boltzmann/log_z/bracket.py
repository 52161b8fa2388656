"""log Z of a machine between a lower and an upper estimate, and reasons to doubt them; or the lower one alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.log_z.ais import AISState, anneal
from foveate.boltzmann.log_z.exact import enumerable, log_z_exact
from foveate.boltzmann.log_z.keeping import kept
from foveate.boltzmann.log_z.model_samples import ModelSamples, draw_model_samples
from foveate.boltzmann.log_z.path import Path
from foveate.boltzmann.log_z.schedules import check_schedule, make_schedule
from foveate.boltzmann.log_z.tempering import TemperingState
from foveate.boltzmann.log_z.weights import Estimate, estimate
from foveate.boltzmann.machine import Machine
from foveate.runtime.progress import Progress, Quiet
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints

MARGIN = 2.0
"""Standard errors by which each end of the bracket lies outside its own estimate."""

WIDE = 1.0
"""Width of the bracket, in nats, above which it is doubted."""

CROSSED = 0.05
"""Nats by which the forward estimate may lie above the upper end before that is doubted."""

MIN_SWEEPS = 2000
"""Of parallel tempering; half as many as there are temperatures, where that is more."""


class LogLikelihood(NamedTuple):
    """A mean log likelihood in nats per vector."""

    mean: float
    stderr: float  # over vectors; NaN of a single one
    low: float  # MARGIN standard errors below, at the upper end of log Z
    high: float


@dataclass(frozen=True)
class Bracket:
    """What forward and reverse annealing say of log Z, in nats."""

    forward: Estimate  # the estimate by forward annealing, low on average
    reverse: Estimate  # the estimate by reverse annealing, high on average if its starts are the model's samples
    exact: float | None  # by enumeration, None where both layers are too large
    # what speaks against the reverse chains' starts, each a line for people
    sampling_doubts: list[str] = field(default_factory=list)

    @property
    def lower(self) -> float:
        """The forward estimate less MARGIN standard errors."""
        return self.forward.log_z - MARGIN * _known(self.forward.stderr)

    @property
    def upper(self) -> float:
        """The reverse estimate and MARGIN standard errors."""
        return self.reverse.log_z + MARGIN * _known(self.reverse.stderr)

    def log_likelihood(self, machine: Machine, v: Float[Tensor, "batch visible"]) -> "LogLikelihood":
        """The mean log likelihood of vectors under the machine that this is the bracket of: log p(v) = -F(v) - log Z.

        Exact where log Z is; else with the forward estimate, which is low on average, so that the mean is a little
        high; `low` and `high` hold both what log Z leaves open and two standard errors over the vectors.
        """
        exact = self.exact
        nats = -machine.free_energy(v).double()
        mean, stderr = float(nats.mean()), float(nats.std() / len(v) ** 0.5) if len(v) > 1 else math.nan
        log_z, below, above = (exact,) * 3 if exact is not None else (self.forward.log_z, self.lower, self.upper)
        error = MARGIN * _known(stderr)
        return LogLikelihood(mean - log_z, stderr, mean - max(below, above) - error, mean - min(below, above) + error)

    @property
    def doubts(self) -> list[str]:
        """What speaks against the figures, each a line for people; empty where nothing does."""
        return _doubts(self.forward, self.reverse, self.exact) + self.sampling_doubts


def bracket_log_z(
    machine: Machine,
    data: Float[Tensor, "n visible"],
    chains: int | Sequence[int] = 100,
    temperatures: int = 50_000,
    schedule: str = "adaptive",
    seed: int = 0,
    all_chains: int | None = None,
    progress: Progress | None = None,
    checkpoints: Checkpoints | NoCheckpoints | None = None,
    name: str = "",
) -> Bracket:
    """Forward and reverse annealed importance sampling of a machine's log Z; log p(v) = -machine.free_energy(v) - it.

    The model is sampled first: the reverse chains start from some of the samples, and the base that both directions
    share has the moments of all. (With the moments of data that the model doesn't fit, forward chains miss much of its
    mass.)

    Args:
        machine: Of any kind.
        data: Visible vectors, or means, that show what is typical (data, or the layer below's means), from which the
            sampling of the model begins.
        chains: How many chains each way, or the ids of those to run here; log weights depend on (seed, id) alone.
        temperatures: Steps from the base to the model.
        schedule: "adaptive", "linear" or "sigmoid".
        seed: Of all random numbers.
        all_chains: How many chains there are in all when only some run here.
        progress: Shown and asked whether to stop.
        checkpoints: Where states are kept, to go on after a kill with the same numbers to the last bit.
        name: Of the machine, where several share the checkpoints.

    Raises:
        BadInput: The machine doesn't take the data, or no such schedule, no chains, or fewer than one temperature.
        Interrupted: The process was asked to stop.
    """
    ids = range(chains) if isinstance(chains, int) else chains
    total = all_chains if all_chains is not None else max(ids, default=-1) + 1
    check_schedule(schedule, temperatures)
    run = _Run(machine, seed, progress or Quiet(), checkpoints or NoCheckpoints(), name)
    samples = run.model_samples(machine.rows(data), total, temperatures)
    path = machine.path(samples.typical)
    betas = make_schedule(path, schedule, temperatures, seed)
    weights = run.anneal("forward", path, betas, ids)
    back = run.anneal("reverse", path, betas.flip(0), ids, samples.v[list(ids)])
    exact = log_z_exact(machine) if enumerable(machine) else None
    forward, reverse = estimate(path.log_z_base + weights), estimate(path.log_z_base - back, reverse=True)
    return Bracket(forward, reverse, exact, samples.doubts())


def forward_log_z(
    machine: Machine,
    data: Float[Tensor, "n visible"],
    chains: int = 50,
    temperatures: int = 1000,
    schedule: str = "linear",
    seed: int = 0,
    stream: str = "forward",
    progress: Progress | None = None,
    phase: str = "annealing",
) -> Estimate:
    """log Z by forward chains alone, from a base with the data's moments: low on average, and enough to compare with.

    Args:
        machine: Of any kind.
        data: Visible vectors, or means.
        chains: How many.
        temperatures, schedule, seed, progress: As in `bracket_log_z`.
        stream: What the chains are for; other names give other numbers.
        phase: What it is shown as.
    """
    path = machine.path(machine.rows(data))
    betas = make_schedule(path, schedule, temperatures, seed)
    with (progress or Quiet()).phase(phase, temperatures) as tick:
        moving = path.to(next(machine.parameters()).device)
        moved = anneal(moving, betas, range(chains), seed, stream, tick=lambda done: tick(done))
    return estimate(path.log_z_base + moved.log_weight)


def _doubts(forward: Estimate, reverse: Estimate, exact: float | None) -> list[str]:
    """What the figures themselves say against them."""
    found, n = [], len(forward.log_weights)
    if n < 2:
        return [f"{n} chains give no standard error"]
    for name, end in (("log_z", forward), ("log_z_upper", reverse)):
        if end.ess < 0.1 * n:
            found.append(f"{name} rests on few chains: {end.ess:.1f} of {n} carry its weight; take more temperatures")
    error = MARGIN * (_known(forward.stderr) + _known(reverse.stderr))
    width = reverse.log_z - forward.log_z + error
    if not width <= WIDE:  # NaN and infinity are doubtful too
        found.append(f"the bracket of log Z is {width:.2f} nats wide: the bound may be too high by as much")
    if forward.log_z > reverse.log_z + MARGIN * _known(reverse.stderr) + CROSSED:
        found.append(
            f"reverse annealing gives {forward.log_z - reverse.log_z:.2f} nats less than forward annealing, where it "
            "should give more: its starting states are not samples of the model, or the chains are too few"
        )
    if exact is not None and abs(exact - forward.log_z) > 4 * _known(forward.stderr) + 1e-3:
        found.append(f"log Z by annealing is {forward.log_z - exact:+.2f} nats off the exact one")
    return found


def _known(stderr: float) -> float:
    return 0.0 if math.isnan(stderr) else stderr


class _Run:
    """The parts of a bracket, each from its checkpoint where it is there."""

    def __init__(
        self, machine: Machine, seed: int, progress: Progress, checkpoints: Checkpoints | NoCheckpoints, name: str
    ):
        self.machine, self.seed, self.progress, self.checkpoints = machine, seed, progress, checkpoints
        self.prefix = f"{name} " if name else ""

    def anneal(self, name: str, path: Path, betas: Tensor, ids: Sequence[int], start: Tensor | None = None) -> Tensor:
        """Log weights."""
        kept_as, checkpoints = self.prefix + name, self.checkpoints
        if not checkpoints.done(kept_as):
            with (
                self.progress.phase(f"{kept_as} annealing", len(betas) - 1) as tick,
                kept(checkpoints, kept_as, AISState) as (state, keep),
            ):
                moving = path.to(next(self.machine.parameters()).device)
                chains = anneal(moving, betas, ids, self.seed, name, start, state, lambda done: tick(done), keep)
            checkpoints.finish(kept_as, {"log_weights": chains.log_weight})
            return chains.log_weight
        tensors, _ = checkpoints.load(kept_as) or ({}, {})
        return tensors["log_weights"]

    def model_samples(self, data: Tensor, total: int, temperatures: int) -> ModelSamples:
        """Starts of all reverse chains; those of a shard are the same whichever shard it is."""
        name, checkpoints = f"{self.prefix}samples", self.checkpoints
        if checkpoints.done(name):
            tensors, meta = checkpoints.load(name) or ({}, {})
            r_hat = math.nan if meta["r_hat"] is None else float(meta["r_hat"])
            v, typical = tensors["v"].float(), tensors["typical"].float()
            return ModelSamples(v, typical, tensors["ensemble"], meta["exact"], r_hat, meta["arrivals"])
        with (
            self.progress.phase(f"{self.prefix}samples of the model") as tick,
            kept(checkpoints, name, TemperingState) as (state, keep),
        ):
            sweeps = max(MIN_SWEEPS, temperatures // 2)
            samples = draw_model_samples(
                self.machine, data, total, sweeps, self.seed, state, lambda done: tick(done, sweeps), keep
            )
        meta = {"r_hat": samples.r_hat, "exact": samples.exact, "arrivals": samples.arrivals}
        stored = self.machine.visible.stored
        states = {"v": samples.v.to(stored), "typical": samples.typical.to(stored)}
        checkpoints.finish(name, {**states, "ensemble": samples.ensemble}, meta)
        return samples
