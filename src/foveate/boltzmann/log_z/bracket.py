"""log Z of a machine between a lower and an upper estimate, and reasons to doubt them; or the lower one alone."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.log_z.ais import AISState, anneal
from foveate.boltzmann.log_z.exact import enumerable, log_z_exact
from foveate.boltzmann.log_z.model_samples import ModelSamples, draw_model_samples
from foveate.boltzmann.log_z.path import Path
from foveate.boltzmann.log_z.schedules import check_schedule, make_schedule
from foveate.boltzmann.log_z.tempering import TemperingState
from foveate.boltzmann.log_z.weights import Estimate, estimate
from foveate.boltzmann.machine import Machine
from foveate.boltzmann.units import Visible
from foveate.runtime.progress import Progress, Quiet
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints

MARGIN = 2.0  # Standard errors by which each end of the bracket lies outside its own estimate
WIDE = 1.0  # Width of the bracket, in nats, above which it is doubted
CROSSED = 0.05  # Nats by which the forward estimate may lie above the upper end before that is doubted
MIN_SWEEPS = 2000  # Of parallel tempering; half as many as there are temperatures, where that is more
KEEP_EVERY = 10.0  # Seconds between two writings of the state of a run

Result = tuple[dict[str, Tensor], dict[str, Any]]


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
    sampling_doubts: list[str] = field(default_factory=list)  # about the reverse chains' starts, for people

    @property
    def lower(self) -> float:
        """The forward estimate less MARGIN standard errors."""
        return self.forward.log_z - MARGIN * _known(self.forward.stderr)

    @property
    def upper(self) -> float:
        """The reverse estimate and MARGIN standard errors."""
        return self.reverse.log_z + MARGIN * _known(self.reverse.stderr)

    def log_likelihood(self, machine: Machine, v: Visible) -> LogLikelihood:
        """The mean log likelihood of vectors under the machine that this is the bracket of: log p(v) = -F(v) - log Z.

        Exact where log Z is; else with the forward estimate, which is low on average, so that the mean is a little
        high; `low` and `high` hold both what log Z leaves open and two standard errors over the vectors.
        """
        nats, exact = -machine.free_energy(v).double(), self.exact
        mean, stderr = float(nats.mean()), float(nats.std() / len(v) ** 0.5) if len(v) > 1 else math.nan
        log_z, below, above = (self.forward.log_z, self.lower, self.upper) if exact is None else (exact,) * 3
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
    share has the moments of all. (With those of data that the model doesn't fit, forward chains miss much of its mass.)

    Args:
        machine: Of any kind.
        data: Visible vectors, or means, that show what is typical, from which the sampling of the model begins.
        chains: How many chains each way, or the ids of those to run here; log weights depend on (seed, id) alone.
        temperatures: Steps from the base to the model.
        schedule, seed: "adaptive", "linear" or "sigmoid"; of all random numbers.
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
    return Bracket(forward, reverse, exact, samples.doubts)


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

    Arguments are as in `bracket_log_z`. Other names of a `stream` give other numbers; it is shown as `phase`.
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

        def work(state: AISState | None, tick: Callable, keep: Callable) -> Result:
            moving = path.to(next(self.machine.parameters()).device)
            return {"log_weights": anneal(moving, betas, ids, self.seed, name, start, state, tick, keep).log_weight}, {}

        return self._once(name, f"{name} annealing", len(betas) - 1, AISState, work)[0]["log_weights"]

    def model_samples(self, data: Tensor, total: int, temperatures: int) -> ModelSamples:
        """Starts of all reverse chains; those of a shard are the same whichever shard it is."""
        sweeps, stored = max(MIN_SWEEPS, temperatures // 2), self.machine.visible.stored

        def work(state: TemperingState | None, tick: Callable, keep: Callable) -> Result:
            drawn = draw_model_samples(self.machine, data, total, sweeps, self.seed, state, tick, keep)
            return {"v": drawn.v.to(stored), "typical": drawn.typical.to(stored)}, {"doubts": drawn.doubts}

        tensors, meta = self._once("samples", "samples of the model", sweeps, TemperingState, work)
        return ModelSamples(tensors["v"].float(), tensors["typical"].float(), meta["doubts"])

    def _once(self, name: str, title: str, steps: int, kind: Any, work: Callable[..., Result]) -> Result:
        """What `work` gives, or gave an earlier run.

        It is given the state, a NamedTuple of this kind, that an earlier run left under `name`, if any, and is to tell
        of newer ones: the newest is written every KEEP_EVERY seconds, and when the work is left by an exception.
        """
        name, checkpoints = self.prefix + name, self.checkpoints
        found = checkpoints.load(name)
        if found and checkpoints.done(name):
            return found
        latest, written = None, time.monotonic()

        def write() -> None:
            if latest is not None:
                checkpoints.save(name, dict(zip(latest._fields, map(torch.as_tensor, latest), strict=True)))

        def keep(state: Any) -> None:
            nonlocal latest, written
            latest = state
            if time.monotonic() - written >= KEEP_EVERY:
                write()
                written = time.monotonic()

        state = kind(*(found[0][field] for field in kind._fields)) if found else None
        with self.progress.phase(self.prefix + title, steps) as tick:
            try:
                result = work(state, lambda done: tick(done), keep)
            except BaseException:
                write()
                raise
        checkpoints.finish(name, *result)
        return result
