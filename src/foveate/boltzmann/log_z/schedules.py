"""Inverse temperatures from 0 to 1 for annealing, equally spaced or so that every step loses as much.

All are float32 numbers held in float64: the chains move with exactly the beta that the weight is taken at.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.log_z.ais import BLOCK, Chains
from foveate.boltzmann.log_z.path import Path
from foveate.errors import BadInput
from foveate.runtime.precision import full_precision
from foveate.runtime.workers import one_thread_each

PILOT_STEPS, BINS = 1000, 50  # of the chains that the adaptive schedule is made from


def linear(temperatures: int) -> Float[Tensor, " steps"]:
    """temperatures + 1 equally spaced values, 0 and 1 included."""
    return _rounded(np.linspace(0, 1, temperatures + 1))


def sigmoid(temperatures: int) -> Float[Tensor, " steps"]:
    """Denser at both ends: a logistic curve of t in [-4, 4], scaled to run from 0 to 1."""
    curve = 1 / (1 + np.exp(-np.linspace(-4, 4, temperatures + 1)))
    return _rounded((curve - curve[0]) / (curve[-1] - curve[0]))


def adaptive(temperatures: int, spread: Float[Tensor, " bins"]) -> Float[Tensor, " steps"]:
    """Steps that all keep the same effective sample size.

    To second order a step d beta keeps the fraction 1 / (1 + d beta^2 var) of it, where var is the variance over the
    chains of d log p*_beta(v) / d beta; so d beta is proportional to 1 / sqrt(var), and beta(t) inverts the
    thermodynamic length (Crooks 2007; Grosse, Maddison, Salakhutdinov 2013). `spread` is its root in equal bins.
    """
    deviation = spread.double().numpy()
    if not np.isfinite(deviation).all():
        raise BadInput("the pilot chains of the adaptive schedule met numbers that are not finite")
    mean = deviation.mean()
    if mean == 0:  # nothing changes on the way, so any schedule is as good
        return linear(temperatures)
    length = np.concatenate([[0], np.cumsum(np.maximum(deviation, 0.05 * mean))])
    edges = np.linspace(0, 1, len(length))
    return _rounded(np.interp(np.linspace(0, length[-1], temperatures + 1), length, edges))


def make_schedule(path: Path, schedule: str, temperatures: int, seed: int) -> Float[Tensor, " steps"]:
    """temperatures + 1 inverse temperatures by the name of a schedule (`check_schedule`); `seed` is the pilot's."""
    check_schedule(schedule, temperatures)
    if schedule in FIXED:
        return FIXED[schedule](temperatures)
    return adaptive(temperatures, pilot_spread(path, seed))


def check_schedule(schedule: str, temperatures: int) -> None:
    """Raise BadInput where there is no such schedule, or fewer than one temperature."""
    if schedule not in (*FIXED, "adaptive"):
        raise BadInput(f"schedule = {schedule!r}: expected adaptive, {' or '.join(FIXED)}")
    if temperatures < 1:
        raise BadInput(f"temperatures = {temperatures}: expected at least 1")


def pilot_spread(path: Path, seed: int) -> Float[Tensor, " bins"]:
    """Standard deviation over a quick block of chains of d log p*_beta(v) / d beta, in BINS equal bins of beta."""
    betas, weights = linear(PILOT_STEPS), [torch.zeros(BLOCK, dtype=torch.float64)]
    with full_precision(), one_thread_each(), torch.no_grad():
        pilot = Chains(path, betas, range(BLOCK), seed, "pilot")
        for step in range(pilot.begin(None), PILOT_STEPS):
            pilot.advance(step, step + 1)
            weights.append(pilot.state(step + 1).log_weight)
    slopes = torch.stack(weights).diff(dim=0) / betas.diff()[:, None]
    return slopes.var(1).reshape(BINS, -1).mean(1).sqrt()


FIXED: dict[str, Callable[[int], Tensor]] = {"linear": linear, "sigmoid": sigmoid}
"""Schedules that need no pilot, by name."""


def _rounded(betas: np.ndarray) -> Tensor:
    betas = betas.astype(np.float32).astype(np.float64)
    betas[0], betas[-1] = 0.0, 1.0
    return torch.from_numpy(betas)
