"""log Z of a binary RBM between a lower and an upper estimate, and reasons to doubt them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.log_z.ais import Estimate, check_schedule, estimate, make_schedule
from foveate.boltzmann.log_z.chains import State, anneal, trace_steps
from foveate.boltzmann.log_z.exact import enumerable, log_z_exact
from foveate.boltzmann.log_z.keeping import kept
from foveate.boltzmann.log_z.model_samples import ModelSamples, draw_model_samples
from foveate.boltzmann.log_z.path import AnnealingPath, binary_path
from foveate.boltzmann.log_z.tempering import TemperingState
from foveate.boltzmann.log_z.weights import effective_sample_size, log_mean_exp
from foveate.boltzmann.rbm import BernoulliRBM
from foveate.runtime.progress import Progress, Quiet
from foveate.storage.checkpoints import Checkpoints, NoCheckpoints

MARGIN = 2.0
"""Standard errors by which each end of the bracket lies outside its own estimate."""

WIDE = 1.0
"""Width of the bracket, in nats, above which it is doubted."""

MIN_SWEEPS = 2000
"""Of parallel tempering; half as many as there are temperatures, where that is more."""


@dataclass(frozen=True)
class Trace:
    """The forward chains on their way, for plotting.

    Attributes:
        betas: [points] inverse temperatures.
        log_z: [points] estimate of log Z at each.
        ess: [points] effective sample size of the weights at each.
    """

    betas: Float[Tensor, " points"]
    log_z: Float[Tensor, " points"]
    ess: Float[Tensor, " points"]


@dataclass(frozen=True)
class Bracket:
    """What forward and reverse annealing say of log Z, in nats.

    Attributes:
        forward: The estimate by forward annealing, low on average.
        reverse: The estimate by reverse annealing, high on average if its starts are the model's samples.
        exact: By enumeration, None where both layers are too large.
        sampling_doubts: What speaks against the reverse chains' starts, each a line for people.
        trace: Of the forward chains; None where it wasn't kept.
    """

    forward: Estimate
    reverse: Estimate
    exact: float | None
    sampling_doubts: list[str] = field(default_factory=list)
    trace: Trace | None = None

    @property
    def lower(self) -> float:
        """The forward estimate less MARGIN standard errors."""
        return self.forward.log_z - MARGIN * _known(self.forward.stderr)

    @property
    def upper(self) -> float:
        """The reverse estimate and MARGIN standard errors."""
        return self.reverse.log_z + MARGIN * _known(self.reverse.stderr)

    @property
    def doubts(self) -> list[str]:
        """What speaks against the figures, each a line for people; empty where nothing does."""
        return _doubts(self.forward, self.reverse, self.exact) + self.sampling_doubts


def bracket_log_z(
    rbm: BernoulliRBM,
    activities: Float[Tensor, "n visible"],
    chains: int | Sequence[int] = 100,
    temperatures: int = 50_000,
    schedule: str = "adaptive",
    seed: int = 0,
    all_chains: int | None = None,
    progress: Progress | None = None,
    checkpoints: Checkpoints | NoCheckpoints | None = None,
) -> Bracket:
    """Forward and reverse annealed importance sampling of an RBM's log Z.

    The model is sampled first: the reverse chains start from some of the samples, and the base that both directions
    share has the means of all. (With the means of data that the model doesn't fit, forward chains miss much of its
    mass.)

    Args:
        rbm: The machine.
        activities: Visible vectors, or probabilities, that show what is typical (data, or the layer below's means),
            from which the sampling of the model begins.
        chains: How many chains each way, or the ids of those to run here; log weights depend on (seed, id) alone.
        temperatures: Steps from the base to the model.
        schedule: "adaptive", "linear" or "sigmoid".
        seed: Of all random numbers.
        all_chains: How many chains there are in all when only some run here.
        progress: Shown and asked whether to stop.
        checkpoints: Where states are kept, to go on after a kill with the same numbers to the last bit.

    Raises:
        BadInput: No such schedule, no chains, or fewer than one temperature.
        Interrupted: The process was asked to stop.
    """
    ids = range(chains) if isinstance(chains, int) else chains
    total = all_chains if all_chains is not None else max(ids) + 1
    progress, checkpoints = progress or Quiet(), checkpoints or NoCheckpoints()
    check_schedule(schedule, temperatures)
    samples = _model_samples(rbm, activities, total, temperatures, seed, progress, checkpoints)
    path = binary_path(rbm, samples.typical)
    betas = make_schedule(path, schedule, temperatures, seed)
    moving = path.to(rbm.W.device)
    weights, trace = _run("forward", moving, betas, ids, seed, None, progress, checkpoints)
    back, _ = _run("reverse", moving, betas.flip(0), ids, seed, samples.v[list(ids)], progress, checkpoints)
    exact = log_z_exact(rbm) if enumerable(rbm) else None
    forward, reverse = estimate(path, weights), estimate(path, back, reverse=True)
    return Bracket(forward, reverse, exact, samples.doubts(), _plotted(path, betas, trace))


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
    if reverse.log_z + 2 * error + 1e-3 < forward.log_z:
        found.append(
            f"reverse annealing gives {forward.log_z - reverse.log_z:.2f} nats less than forward annealing, where it "
            "should give more: its starts aren't samples of the model"
        )
    if exact is not None and abs(exact - forward.log_z) > 4 * _known(forward.stderr) + 1e-3:
        found.append(f"log Z by annealing is {forward.log_z - exact:+.2f} nats off the exact one")
    return found


def _known(stderr: float) -> float:
    return 0.0 if math.isnan(stderr) else stderr


def _run(
    name: str,
    path: AnnealingPath,
    betas: Tensor,
    ids: Sequence[int],
    seed: int,
    start: Tensor | None,
    progress: Progress,
    checkpoints: Checkpoints | NoCheckpoints,
) -> tuple[Tensor, Tensor]:
    """Log weights and their trace, from the checkpoint where it is there."""
    if not checkpoints.done(name):
        with (
            progress.phase(f"{name} annealing", len(betas) - 1) as tick,
            kept(checkpoints, name, State) as (state, keep),
        ):
            result = anneal(path, betas, ids, seed, name, start, state, lambda done: tick(done), keep)
        checkpoints.finish(name, {"log_weights": result.log_weights, "trace": result.trace})
        return result.log_weights, result.trace
    tensors, _ = checkpoints.load(name) or ({}, {})
    return tensors["log_weights"], tensors["trace"]


def _model_samples(
    rbm: BernoulliRBM,
    activities: Tensor,
    total: int,
    temperatures: int,
    seed: int,
    progress: Progress,
    checkpoints: Checkpoints | NoCheckpoints,
) -> ModelSamples:
    """Starts of all reverse chains; those of a shard are the same whichever shard it is."""
    name = "samples"
    if checkpoints.done(name):
        tensors, meta = checkpoints.load(name) or ({}, {})
        r_hat = math.nan if meta["r_hat"] is None else float(meta["r_hat"])
        v, typical = tensors["v"].float(), tensors["typical"].float()
        return ModelSamples(v, typical, tensors["ensemble"], meta["exact"], r_hat, meta["arrivals"])
    with (
        progress.phase("samples of the model") as tick,
        kept(checkpoints, name, TemperingState) as (state, keep),
    ):
        sweeps = max(MIN_SWEEPS, temperatures // 2)
        samples = draw_model_samples(rbm, activities, total, sweeps, seed, state, lambda done: tick(done, sweeps), keep)
    meta = {"r_hat": samples.r_hat, "exact": samples.exact, "arrivals": samples.arrivals}
    states = {"v": samples.v.to(torch.uint8), "typical": samples.typical.to(torch.uint8)}
    checkpoints.finish(name, {**states, "ensemble": samples.ensemble}, meta)
    return samples


def _plotted(path: AnnealingPath, betas: Tensor, trace: Tensor) -> Trace:
    base = path.log_z_base + path.log_z_outside
    return Trace(
        betas=betas[trace_steps(len(betas) - 1)],
        log_z=base + log_mean_exp(trace.T),
        ess=torch.tensor([effective_sample_size(weights) for weights in trace.T], dtype=torch.float64),
    )
