"""Hamiltonian Monte Carlo for a batch of different targets, one chain a target.

Each chain n has its own density p_n over D coordinates, step size, scale and random stream; one call moves them all.
With position q, momentum r ~ N(0, 1) and S = diag(scale), the Hamiltonian H(q, r) = -log p(q) + |r|^2 / 2 is followed
by `n_leapfrog` leapfrog steps of size eps in the whitened coordinates q / S,

    r += eps/2 S grad log p(q);    q += eps S r;    r += eps/2 S grad log p(q),

and the end point is accepted with probability min(1, exp(H_start - H_end)) (Duane et al. 1987; Neal 2011). `scale` is a
standard deviation: the inverse mass matrix is diag(scale^2).

Box constraints are kept by reflection: where a position step leaves [low, high], the position is folded back and its
momentum turned round, which keeps volume and reversibility (Neal 2011, section 5.1).

An undefined density is a density of zero: a NaN or infinite energy at the end of a trajectory is a rejection and
counted as a divergence. A NaN gradient inside a trajectory counts as zero; any gradient function whatever leaves the
map reversible and volume-preserving, so the chain stays exact.

The form is blackjax's: `state = init(position, f)`, `state, info = step(randomness, state, f, ...)`, no hidden state.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from foveate.runtime.random import normals, uniforms

LogDensityAndGradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""positions [chains, D] -> (log densities [chains] up to a constant each, gradients [chains, D])."""

DIVERGENCE = 1000.0  # nats of energy error beyond which a trajectory has left the level set for good (as Stan has it)


class HMCState(NamedTuple):
    """Where the chains are."""

    position: Float[Tensor, "chains dims"]  # coordinates of each chain
    logdensity: Float[Tensor, " chains"]  # log p there (-inf where undefined)
    gradient: Float[Tensor, "chains dims"]  # its gradient (0 where undefined)


class HMCInfo(NamedTuple):
    """What happened in a transition, chain by chain."""

    acceptance: Float[Tensor, " chains"]  # probability with which the proposal was to be accepted (0 for a divergence)
    accepted: Bool[Tensor, " chains"]  # whether it was
    # the end point's energy was NaN or infinite, or more than `DIVERGENCE` above the start's
    diverged: Bool[Tensor, " chains"]
    energy_error: Float[Tensor, " chains"]  # H at the end minus H at the start


class Keyed(NamedTuple):
    """The randomness of one transition: each chain's key, and the transition's number."""

    # one 63-bit key a chain (`foveate.runtime.random.key` of the seed and what the chain is for)
    keys: Int64[Tensor, " chains"]
    transition: int  # which transition of the chain this is. The same pair gives the same numbers, whatever the batch.

    def draw(self, dims: int) -> tuple[Tensor, Tensor, Tensor]:
        """(momentum [chains, dims], uniform for acceptance [chains], uniform for the step size [chains])."""
        even = dims + dims % 2
        first = self.transition * (even + 2)
        extra = uniforms(self.keys, first + even, 2)
        return normals(self.keys, first, dims), extra[:, 0], extra[:, 1]


class Box(NamedTuple):
    """Bounds of the positions; a dimension with an infinite bound has none on either side."""

    low: Float[Tensor, "chains dims"]
    high: Float[Tensor, "chains dims"]


def init(position: Float[Tensor, "chains dims"], logdensity_and_grad: LogDensityAndGradient) -> HMCState:
    """The state at `position`. A chain whose density is undefined there has -inf and leaves at the first chance."""
    logdensity, gradient = _evaluate(position, logdensity_and_grad)
    return HMCState(position, logdensity, gradient)


def step(
    randomness: Keyed,
    state: HMCState,
    logdensity_and_grad: LogDensityAndGradient,
    step_size: Float[Tensor, " chains"],
    scale: Float[Tensor, "chains dims"],
    n_leapfrog: int,
    jitter: float = 0.0,
    box: Box | None = None,
) -> tuple[HMCState, HMCInfo]:
    """One transition of every chain.

    Args:
        logdensity_and_grad: The targets; row n of its argument belongs to chain n.
        step_size: eps of each chain, in units of `scale`.
        scale: Standard deviation of each coordinate as the kinetic energy assumes it (not a variance).
        jitter: The step size is multiplied by a uniform number in [1 - jitter, 1 + jitter], drawn anew for each
            transition and chain, which breaks the resonance of trajectories with periodic orbits.
    """
    momentum, uniform, wobble = randomness.draw(state.position.shape[1])
    momentum = momentum.to(state.position)
    eps = step_size * (1 + jitter * (2 * wobble.to(step_size) - 1))
    end, end_momentum = leapfrog(state, momentum, logdensity_and_grad, eps.unsqueeze(1) * scale, n_leapfrog, box)

    start_energy = 0.5 * momentum.square().sum(1) - state.logdensity
    energy = 0.5 * end_momentum.square().sum(1) - end.logdensity
    error = energy - start_energy
    defined = torch.isfinite(energy)
    # From a start of density zero (infinite energy) any defined place is accepted.
    acceptance = torch.where(defined, torch.exp(-error.clamp(min=0)), torch.zeros_like(error))
    accepted = uniform.to(acceptance) < acceptance
    diverged = ~defined | (error > DIVERGENCE)

    rows = accepted.unsqueeze(1)
    chosen = HMCState(
        torch.where(rows, end.position, state.position),
        torch.where(accepted, end.logdensity, state.logdensity),
        torch.where(rows, end.gradient, state.gradient),
    )
    return chosen, HMCInfo(acceptance, accepted, diverged, error)


def leapfrog(
    state: HMCState,
    momentum: Float[Tensor, "chains dims"],
    logdensity_and_grad: LogDensityAndGradient,
    step: Float[Tensor, "chains dims"],
    n_leapfrog: int,
    box: Box | None = None,
) -> tuple[HMCState, Float[Tensor, "chains dims"]]:
    """Follows the Hamiltonian; `step` is eps * scale. Returns the end and its momentum (not negated)."""
    position, logdensity, gradient = state
    for _ in range(n_leapfrog):
        momentum = momentum + 0.5 * step * gradient
        position, momentum = _reflect(position + step * momentum, momentum, box)
        logdensity, gradient = _evaluate(position, logdensity_and_grad)
        momentum = momentum + 0.5 * step * gradient
    return HMCState(position, logdensity, gradient), momentum


def _evaluate(position: Tensor, logdensity_and_grad: LogDensityAndGradient) -> tuple[Tensor, Tensor]:
    logdensity, gradient = logdensity_and_grad(position)
    undefined = torch.isnan(logdensity) | (logdensity == math.inf) | ~torch.isfinite(position).all(1)
    return logdensity.masked_fill(undefined, -math.inf), torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)


def _reflect(position: Tensor, momentum: Tensor, box: Box | None) -> tuple[Tensor, Tensor]:
    """Folds positions back into the box as often as they cross it; an odd number of times turns the momentum round."""
    if box is None:
        return position, momentum
    bounded = torch.isfinite(box.low) & torch.isfinite(box.high)
    width = torch.where(bounded, box.high - box.low, 1.0)
    low = torch.where(bounded, box.low, 0.0)
    turns = torch.floor((position - low) / width)
    within = position - low - turns * width
    odd = torch.remainder(turns, 2) == 1
    folded = low + torch.where(odd, width - within, within)
    folded = torch.minimum(torch.maximum(folded, low), low + width)  # whatever rounding does
    outside = bounded & (turns != 0)
    return torch.where(outside, folded, position), torch.where(outside & odd, -momentum, momentum)


class DualAveraging(NamedTuple):
    """Step sizes that bring the mean acceptance to a target, chain by chain (Hoffman & Gelman 2014, section 3.2.1)."""

    log_step: Float[Tensor, " chains"]  # log eps to use next, in the warm-up
    log_average: Float[Tensor, " chains"]  # log of the averaged eps, to keep when the adaptation ends
    error: Float[Tensor, " chains"]  # averaged difference between the target and the acceptance
    centre: Float[Tensor, " chains"]  # log eps that the iterates are drawn towards
    count: int  # updates so far

    @classmethod
    def begin(cls, step_size: Float[Tensor, " chains"]) -> "DualAveraging":
        """Starts at `step_size`, drawn towards ten times it: a step too large is found out the sooner."""
        log_step = torch.log(step_size)
        return cls(log_step, log_step, torch.zeros_like(log_step), log_step + math.log(10), 0)

    def update(self, acceptance: Float[Tensor, " chains"], target: float = 0.8) -> "DualAveraging":
        """After a transition with this acceptance probability (divergences have 0)."""
        count = self.count + 1
        weight, share = 1 / (count + 10), count**-0.75
        error = (1 - weight) * self.error + weight * (target - acceptance)
        log_step = self.centre - math.sqrt(count) / 0.05 * error
        average = share * log_step + (1 - share) * self.log_average
        return DualAveraging(log_step, average, error, self.centre, count)
