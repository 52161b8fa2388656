"""One step up the likelihood: from the statistics of data and model to new parameters.

The gradient is taken in the centred form of the energy, in which v enters as v - mu and h as h - lambda (Montavon,
Mueller 2012; the "enhanced gradient" of Cho, Raiko, Ilin 2011 when lambda averages data and model). With W shared, the
centred machine has biases b~ = b + W lambda and c~ = c + W^T (mu / sigma^2); its gradient is
    dW~ = <(v - mu)(h - lambda)>_data - <...>_model,   db~ = <v>_data - <v>_model,   dc~ = <h>_data - <h>_model,
each multiplied by sigma_i^2 where it is divided by it (the metric of v_i given h), and
    dlog sigma~_i = (<(v_i - b~_i)^2>_data - <...>_model - 2 sum_j W_ij dW~_ij) / sigma_i^2,
halved (the Fisher information of a log standard deviation is 2). Then b and c follow from b~ and c~. With
mu = lambda = 0 this is the plain gradient, and a binary visible unit is one with sigma = 1 held fixed.
"""

from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor


class Parameters(NamedTuple):
    """The tensors of a machine, or something of their shape (velocities, averages).

    Attributes:
        W: [visible, hidden].
        b: [visible].
        c: [hidden].
        log_sigma: [visible]; zeros that stay zeros where the visible units are binary.
    """

    W: Float[Tensor, "visible hidden"]
    b: Float[Tensor, " visible"]
    c: Float[Tensor, " hidden"]
    log_sigma: Float[Tensor, " visible"]

    def clone(self) -> "Parameters":
        return Parameters(*(x.clone() for x in self))

    def zeros(self) -> "Parameters":
        return Parameters(*(torch.zeros_like(x) for x in self))


class Statistics(NamedTuple):
    """What a step needs of a batch and of the chains.

    Attributes:
        W: [visible, hidden] dW~ of the module's formula.
        v: [visible] <v>_data - <v>_model.
        v_squared: [visible] <v^2>_data - <v^2>_model.
        h: [hidden] <h>_data - <h>_model.
        mu: [visible] offset of v.
        offset_h: [hidden] offset of h, lambda.
    """

    W: Float[Tensor, "visible hidden"]
    v: Float[Tensor, " visible"]
    v_squared: Float[Tensor, " visible"]
    h: Float[Tensor, " hidden"]
    mu: Float[Tensor, " visible"]
    offset_h: Float[Tensor, " hidden"]


class StepSizes(NamedTuple):
    """Attributes:
    rate: Of W, b and c.
    rate_log_sigma: Of log sigma; 0 holds it, as binary units need.
    momentum: Share of the last change that is kept.
    weight_decay: Pull of W towards 0, per unit of rate.
    log_sigma_floor: log sigma never falls below it.
    log_sigma_change: Longest step of a log sigma.
    average: How far the averaged parameters move towards the new ones.
    """

    rate: float
    rate_log_sigma: float = 0.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    log_sigma_floor: float = -float("inf")
    log_sigma_change: float = 0.05
    average: float = 1.0


def centre_slope(
    slope: Float[Tensor, "visible hidden"],
    v: Float[Tensor, " visible"],
    offset_h: Float[Tensor, " hidden"],
    mu: Float[Tensor, " visible"],
    h: Float[Tensor, " hidden"],
) -> None:
    """slope -= v offset_h^T + mu h^T, in place and in one pass."""
    if slope.device.type != "cpu":
        slope.addr_(v, offset_h, alpha=-1).addr_(mu, h, alpha=-1)
    else:
        _centre_slope(slope.numpy(), v.numpy(), offset_h.numpy(), mu.numpy(), h.numpy())


def ascend(
    parameters: Parameters, velocity: Parameters, average: Parameters, statistics: Statistics, sizes: StepSizes
) -> float:
    """Change `parameters`, `velocity` and `average` in place by one step; the root mean square change of W."""
    if parameters.W.device.type != "cpu":
        return ascend_reference(parameters, velocity, average, statistics, sizes)
    change = _ascend(
        *(x.numpy() for x in (*parameters, *velocity, average.W, *statistics)), *(np.float32(x) for x in sizes)
    )
    for kept, now in zip(average[1:], parameters[1:], strict=True):
        kept.lerp_(now, sizes.average)
    return change


def ascend_reference(
    parameters: Parameters, velocity: Parameters, average: Parameters, statistics: Statistics, sizes: StepSizes
) -> float:
    """The same in plain torch; also what other devices run."""
    W, b, c, log_sigma = parameters
    s = statistics
    precision = torch.exp(-2 * log_sigma)
    b_centred = b + W @ s.offset_h
    c_centred = c + W.T @ (s.mu * precision)
    squares = s.v_squared - 2 * b_centred * s.v
    slope = 0.5 * precision * (squares - 2 * (W * s.W).sum(1))

    velocity.W.mul_(sizes.momentum).add_(s.W - sizes.weight_decay * W, alpha=sizes.rate)
    velocity.b.mul_(sizes.momentum).add_(s.v, alpha=sizes.rate)
    velocity.c.mul_(sizes.momentum).add_(s.h, alpha=sizes.rate)
    if sizes.rate_log_sigma > 0:
        velocity.log_sigma.mul_(sizes.momentum).add_(slope, alpha=sizes.rate_log_sigma)
        velocity.log_sigma.clamp_(-sizes.log_sigma_change, sizes.log_sigma_change)

    W.add_(velocity.W)
    if sizes.rate_log_sigma > 0:
        log_sigma.add_(velocity.log_sigma).clamp_(min=sizes.log_sigma_floor)
    b.copy_(b_centred + velocity.b - W @ s.offset_h)
    c.copy_(c_centred + velocity.c - W.T @ (s.mu * torch.exp(-2 * log_sigma)))
    for kept, now in zip(average, parameters, strict=True):
        kept.lerp_(now, sizes.average)
    return float(velocity.W.square().mean().sqrt())


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _centre_slope(slope, v, lam, mu, h):
    for i in range(slope.shape[0]):
        for j in range(slope.shape[1]):
            slope[i, j] -= v[i] * lam[j] + mu[i] * h[j]


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"}, nogil=True)
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def _ascend(
    W, b, c, log_sigma, vel_W, vel_b, vel_c, vel_s, mean_W, g_W, g_v, g_v2, g_h, mu, lam,
    rate, rate_sigma, momentum, decay, floor, longest, weight,
):  # fmt: skip
    """One pass over the rows of W: the sums that the biases need and the average come with the update.

    Those that sigma needs are of the old W: a pass of their own over a row that is then at hand.
    """
    visible, hidden = W.shape
    total = 0.0
    for j in range(hidden):
        vel_c[j] = momentum * vel_c[j] + rate * g_h[j]
        c[j] += vel_c[j]
    for i in range(visible):
        precision = np.exp(np.float32(-2) * log_sigma[i])
        q_old = mu[i] * precision
        if rate_sigma > 0:
            slope, old = np.float32(0), np.float32(0)
            for j in range(hidden):
                slope += W[i, j] * g_W[i, j]
                old += W[i, j] * lam[j]
            squares = g_v2[i] - np.float32(2) * (b[i] + old) * g_v[i]
            step = momentum * vel_s[i] + rate_sigma * np.float32(0.5) * precision * (squares - np.float32(2) * slope)
            vel_s[i] = -longest if step < -longest else longest if step > longest else step
            moved = log_sigma[i] + vel_s[i]
            log_sigma[i] = floor if moved < floor else moved
        q_new = mu[i] * np.exp(np.float32(-2) * log_sigma[i])
        change, square = np.float32(0), np.float32(0)
        for j in range(hidden):
            before = W[i, j]
            velocity = momentum * vel_W[i, j] + rate * (g_W[i, j] - decay * before)
            after = before + velocity
            vel_W[i, j] = velocity
            W[i, j] = after
            mean_W[i, j] += weight * (after - mean_W[i, j])
            change += velocity * lam[j]
            square += velocity * velocity
            c[j] += q_old * before - q_new * after
        vel_b[i] = momentum * vel_b[i] + rate * g_v[i]
        b[i] += vel_b[i] - change
        total += square
    return np.sqrt(total / (visible * hidden))


def flips(before: Float[Tensor, "chains hidden"], after: Float[Tensor, "chains hidden"]) -> int | Tensor:
    """How many binary units differ."""
    if before.device.type != "cpu":
        return (before != after).sum()
    return int(_flips(before.numpy(), after.numpy()))


@njit(cache=True, nogil=True)
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def _flips(before, after):
    count = 0
    for i in range(before.shape[0]):
        row = np.int32(0)
        for j in range(before.shape[1]):
            row += np.int32(before[i, j] != after[i, j])
        count += row
    return count
