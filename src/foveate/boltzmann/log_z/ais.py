"""Annealed importance sampling (Neal 2001) of restricted Boltzmann machines.

Chains start from a distribution whose log Z is known, and move along an `AnnealingPath`; each gathers the log weight

    log w = sum_k log p*_k(v_{k-1}) - log p*_{k-1}(v_{k-1}),    v_k drawn by a Gibbs sweep that leaves p_k invariant,

whose mean exp is Z / Z_base. log Z is under-estimated on average (Jensen), and badly where the chains mix badly, which
their own spread needn't show; `reverse_ais.py` has the other end of the bracket.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.log_z import schedules
from foveate.boltzmann.log_z.chains import BLOCK, Runner, anneal
from foveate.boltzmann.log_z.path import AnnealingPath, binary_path
from foveate.boltzmann.log_z.weights import effective_sample_size, log_mean_exp, log_mean_stderr
from foveate.errors import BadInput
from foveate.runtime.full_precision import full_precision
from foveate.runtime.workers import one_thread_each

PILOT_STEPS = 1000
"""Steps of the chains that the adaptive schedule is made from."""


@dataclass(frozen=True)
class Estimate:
    """log Z as a set of chains estimates it.

    Attributes:
        log_z: In nats.
        stderr: Standard error of log_z from the spread of the weights; NaN when there are fewer than two.
        ess: Effective sample size of the weights, at most their number.
        log_weights: [n] float64, each chain's own estimate of log Z.
    """

    log_z: float
    stderr: float
    ess: float
    log_weights: Float[Tensor, " n"]


def from_log_weights(log_weights: Float[Tensor, " n"], reverse: bool = False) -> Estimate:
    """log Z from each chain's own estimate of it: forward chains' Z are averaged, reverse chains' 1 / Z."""
    weights = -log_weights if reverse else log_weights
    log_mean = float(log_mean_exp(weights))
    return Estimate(
        log_z=-log_mean if reverse else log_mean,
        stderr=log_mean_stderr(weights),
        ess=effective_sample_size(weights),
        log_weights=log_weights,
    )


def estimate(path: AnnealingPath, log_weights: Float[Tensor, " n"], reverse: bool = False) -> Estimate:
    """log Z from the log weights of `anneal`; with `reverse` from those of chains that went down to the base."""
    base = path.log_z_base + path.log_z_outside
    return from_log_weights(base - log_weights if reverse else base + log_weights, reverse)


def quick_log_z(gdbn: GaussianDBN, v: Float[Tensor, "n visible"], temperatures: int, seed: int) -> float:
    """The top RBM's log Z by 50 forward chains, from means of h1 given v: good enough to compare two models."""
    path = binary_path(gdbn.rbm, gdbn.grbm.hidden_mean(v))
    moving = path.to(gdbn.rbm.W.device)
    annealed = anneal(moving, schedules.linear(temperatures), range(50), seed, "held-out patches")
    return estimate(path, annealed.log_weights).log_z


def make_schedule(path: AnnealingPath, schedule: str, temperatures: int, seed: int) -> Float[Tensor, " steps"]:
    """Inverse temperatures by the name of a schedule.

    Args:
        path: What they are for.
        schedule: linear, sigmoid or adaptive.
        temperatures: Number of steps.
        seed: Of the pilot that the adaptive schedule is made from.

    Raises:
        BadInput: No such schedule, or fewer than one temperature.
    """
    check_schedule(schedule, temperatures)
    if schedule in schedules.FIXED:
        return schedules.FIXED[schedule](temperatures)
    return schedules.adaptive(temperatures, pilot_spread(path, seed))


def check_schedule(schedule: str, temperatures: int) -> None:
    """Raise where `make_schedule` would.

    Raises:
        BadInput: No such schedule, or fewer than one temperature.
    """
    if schedule not in (*schedules.FIXED, "adaptive"):
        raise BadInput(f"schedule = {schedule!r}: expected adaptive, {' or '.join(schedules.FIXED)}")
    if temperatures < 1:
        raise BadInput(f"temperatures = {temperatures}: expected at least 1")


def pilot_spread(path: AnnealingPath, seed: int, steps: int = PILOT_STEPS, bins: int = 50) -> Float[Tensor, " bins"]:
    """Standard deviation over a block of chains of d log p*_beta(v) / d beta, in equal bins of beta, from a quick
    run."""
    betas = schedules.linear(steps)
    with full_precision(), one_thread_each(), torch.no_grad():
        runner = Runner(path, betas, range(BLOCK), seed, "pilot")
        step, before = runner.begin(None), torch.zeros(BLOCK, dtype=torch.float64)
        variance = torch.zeros(steps, dtype=torch.float64)
        while step < steps:
            runner.advance(step, step + 1)
            after = runner.state(step + 1).log_weight
            variance[step] = ((after - before) / (betas[step + 1] - betas[step])).var()
            before, step = after, step + 1
    return variance.reshape(bins, -1).mean(1).sqrt()
