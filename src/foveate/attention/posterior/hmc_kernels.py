"""Hamiltonian Monte Carlo over gazes, whole trajectories compiled: `hmc.step` for the targets of `glimpse_density`.

A chain moves in q = (log s, angle, tx / L, ty / L), L fixed for as long as it runs. Its target is

    log p(q) = -1/2 sum_i w_i (x_i(u(q)) - m_i)^2 + log p(u) + 2 log s,

where 2 log s is the Jacobian of the chart, da db dtx dty = s^2 L^2 dlog s dangle dq_2 dq_3, and the gradient follows by

    d/dlog s = a d/da + b d/db,   d/dangle = a d/db - b d/da,   d/dq_2 = L d/dtx,   d/dq_3 = L d/dty.

The random numbers, the order of the operations and the rules for undefined energies are those of `hmc`, so a chain
here and one there with the same key make the same moves, to rounding.
"""

import math
from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int64
from numba import njit, prange
from torch import Tensor

from foveate.attention.posterior.glimpse_density import FAST, WORKSPACE, set_line, value_and_gradient
from foveate.attention.posterior.hmc import DIVERGENCE, HMCInfo, HMCState
from foveate.attention.posterior.prior import log_prior
from foveate.attention.posterior.target import GazeTargets
from foveate.runtime.random import normal_pair_at, uniform_at

_LANES = 6  # numbers of its stream that a chain uses in a transition: hmc.lanes(4)


@no_type_check  # here and below: the tests' import hook would wrap what numba has to compile
@njit(cache=True, fastmath=FAST, error_model="numpy")
def _evaluate(
    buffer, offset, height, width, top, fill, q, length, prior, mean, weight, size, extent, pyramid, work, u, g
):
    """log p(q); its gradient into g. Undefined densities are -inf, undefined gradients zero, as `hmc` has it."""
    s = math.exp(q[0])
    u[0], u[1], u[2], u[3] = s * math.cos(q[1]), s * math.sin(q[1]), q[2] * length, q[3] * length
    if not (math.isfinite(u[0]) and math.isfinite(u[1]) and math.isfinite(u[2]) and math.isfinite(u[3])):
        g[:] = 0.0
        return -math.inf
    value = value_and_gradient(
        buffer, offset, height, width, top, fill, u, mean, weight, size, extent, pyramid, work, g
    )
    by_a, by_b = g[0], g[1]
    more, by_scale, by_angle = log_prior(q, prior)
    g[0] = u[0] * by_a + u[1] * by_b + by_scale
    g[1] = u[0] * by_b - u[1] * by_a + by_angle
    g[2] *= length
    g[3] *= length
    for d in range(4):
        if not math.isfinite(g[d]):
            g[d] = 0.0
    value += more
    return value if value < math.inf else -math.inf


@no_type_check
@njit(cache=True, error_model="numpy")
def _reflect(q, r, low, high):
    """Folds the position back into its box; see `hmc._reflect`."""
    for d in range(4):
        if math.isfinite(low[d]) and math.isfinite(high[d]) and math.isfinite(q[d]):
            width = high[d] - low[d]
            turns = math.floor((q[d] - low[d]) / width)
            if turns != 0.0:
                within = q[d] - low[d] - turns * width
                odd = turns - 2.0 * math.floor(0.5 * turns) == 1.0
                if odd:
                    within = width - within
                    r[d] = -r[d]
                q[d] = min(max(low[d] + within, low[d]), high[d])


@no_type_check
@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def _evaluate_all(
    buffer, offset, height, width, levels, fill, index, length, mean, weight, size, extent, pyramid, prior, low, high,
    position, value, gradient,
):  # fmt: skip
    for chain in prange(len(position)):
        n = np.int64(chain)
        m, row = index[n], min(n, len(weight) - 1)
        work, u = np.zeros(WORKSPACE, np.float32), np.empty(4)
        set_line(work, size, extent)
        value[n] = _evaluate(
            buffer, offset[m], height[m], width[m], levels[m] - 1, fill[m], position[n], length[n], prior[n],
            mean[n], weight[row], size, extent, pyramid, work, u, gradient[n],
        )  # fmt: skip


@no_type_check
@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def _transitions(
    buffer, offset, height, width, levels, fill, index, length, mean, weight, size, extent, pyramid, prior, low, high,
    keys, first, count, step_size, scale, n_leapfrog, jitter,
    position, value, gradient, acceptance, accepted, diverged, energy, energy_error, draws,
):  # fmt: skip
    for chain in prange(len(position)):
        n = np.int64(chain)
        m, row = index[n], min(n, len(weight) - 1)
        work, u = np.zeros(WORKSPACE, np.float32), np.empty(4)
        set_line(work, size, extent)
        q, g, r, h = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
        for t in range(count):
            counter = (first + t) * _LANES
            r[0], r[1] = normal_pair_at(keys[n], counter)
            r[2], r[3] = normal_pair_at(keys[n], counter + 2)
            uniform, wobble = uniform_at(keys[n], counter + 4), uniform_at(keys[n], counter + 5)
            eps = step_size[n] * (1.0 + jitter * (2.0 * wobble - 1.0))
            start = -value[n]
            for d in range(4):
                q[d], g[d], h[d] = position[n, d], gradient[n, d], eps * scale[n, d]
                start += 0.5 * r[d] * r[d]
            end_value = value[n]
            for _ in range(n_leapfrog):
                for d in range(4):
                    r[d] += 0.5 * h[d] * g[d]
                    q[d] += h[d] * r[d]
                _reflect(q, r, low[n], high[n])
                end_value = _evaluate(
                    buffer, offset[m], height[m], width[m], levels[m] - 1, fill[m], q, length[n], prior[n],
                    mean[n], weight[row], size, extent, pyramid, work, u, g,
                )  # fmt: skip
                for d in range(4):
                    r[d] += 0.5 * h[d] * g[d]
            end = -end_value
            for d in range(4):
                end += 0.5 * r[d] * r[d]
            defined, error = math.isfinite(end), end - start
            probability = (math.exp(-error) if error > 0.0 else 1.0) if defined else 0.0
            acceptance[t, n], energy[t, n], energy_error[t, n] = probability, end, error
            accepted[t, n] = uniform < probability
            diverged[t, n] = not defined or error > DIVERGENCE
            if accepted[t, n]:
                value[n] = end_value
                for d in range(4):
                    position[n, d], gradient[n, d] = q[d], g[d]
            for d in range(4):
                draws[t, n, d] = position[n, d]


def init(position: Float[Tensor, "chains 4"], targets: GazeTargets) -> HMCState:
    """The state at chart coordinates `position`."""
    position = position.double().contiguous()
    value, gradient = np.empty(len(position)), np.empty((len(position), 4))
    arguments: tuple[Any, ...] = (*targets.tables, position.numpy(), value, gradient)
    _evaluate_all(*arguments)
    return HMCState(position, torch.from_numpy(value), torch.from_numpy(gradient))


class Moves(NamedTuple):
    """What `transitions` did."""

    draws: Float[Tensor, "transitions chains 4"]  # position after each transition, in the chart
    info: HMCInfo  # as of `hmc.step`, with transitions leading


def transitions(
    keys: Int64[Tensor, " chains"],
    first: int,
    count: int,
    state: HMCState,
    targets: GazeTargets,
    step_size: Float[Tensor, " chains"],
    scale: Float[Tensor, "chains 4"],
    n_leapfrog: int,
    jitter: float = 0.0,
) -> tuple[HMCState, Moves]:
    """Transitions `first` to `first + count` of every chain; arguments as of `hmc.step`."""
    chains = len(keys)
    position, value, gradient = (np.array(part.double().numpy(), order="C") for part in state)
    acceptance, energy, energy_error = (np.empty((count, chains)) for _ in range(3))
    accepted, diverged = (np.empty((count, chains), np.bool_) for _ in range(2))
    draws = np.empty((count, chains, 4))
    how = (keys.numpy(), first, count, _double(step_size), _double(scale), n_leapfrog, float(jitter))
    chains_now = (position, value, gradient)
    happened = (acceptance, accepted, diverged, energy, energy_error, draws)
    arguments: tuple[Any, ...] = (*targets.tables, *how, *chains_now, *happened)
    _transitions(*arguments)
    info = HMCInfo(*map(torch.from_numpy, (acceptance, accepted, diverged, energy, energy_error)))
    return HMCState(*map(torch.from_numpy, (position, value, gradient))), Moves(torch.from_numpy(draws), info)


def _double(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.double().numpy())
