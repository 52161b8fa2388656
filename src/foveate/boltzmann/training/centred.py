"""One step up the likelihood of a machine with W, b, c and perhaps log sigma, compiled on a CPU.

The gradient is taken in the centred form of the energy, in which v enters as v - mu and h as h - lambda (Montavon,
Mueller 2012; the "enhanced gradient" of Cho, Raiko, Ilin 2011 when lambda averages data and model). With W shared, the
centred machine has biases b~ = b + W lambda and c~ = c + W^T (mu / sigma^2); its gradient is
    dW~ = <(v - mu)(h - lambda)>_data - <...>_model,   db~ = <v>_data - <v>_model,   dc~ = <h>_data - <h>_model,
each multiplied by sigma_i^2 where it is divided by it (the metric of v_i given h), and
    dlog sigma~_i = (<(v_i - b~_i)^2>_data - <...>_model - 2 sum_j W_ij dW~_ij) / sigma_i^2,
halved (the Fisher information of a log standard deviation is 2). Then b and c follow from b~ and c~. With
mu = lambda = 0 this is the plain gradient, and a binary visible unit is one with sigma = 1 held fixed.
"""

from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from foveate.boltzmann.training.ascent import Ascent, Learned, Offsets, Samples, averaged
from foveate.boltzmann.training.parallel import Processes
from foveate.boltzmann.training.settings import Rule

LONGEST = 0.05
"""Step of a log sigma."""


class Parameters(NamedTuple):
    """The tensors of a machine, or of one that holds velocities or averages; log_sigma zeros where v is binary."""

    W: Float[Tensor, "visible hidden"]
    b: Float[Tensor, " visible"]
    c: Float[Tensor, " hidden"]
    log_sigma: Float[Tensor, " visible"]


class Slopes(NamedTuple):
    """What a step needs of data and model."""

    W: Float[Tensor, "visible hidden"]  # dW~ of the module's formula
    v: Float[Tensor, " visible"]  # <v>_data - <v>_model
    v_squared: Float[Tensor, " visible"]  # <v^2>_data - <v^2>_model; zeros where v is binary
    h: Float[Tensor, " hidden"]  # <h>_data - <h>_model
    mu: Float[Tensor, " visible"]  # offset of v
    offset_h: Float[Tensor, " hidden"]  # offset of h, lambda


class CentredAscent(Ascent):
    """Up the centred gradient, in the metric of the visible units.

    Args:
        scaled: Whether the visible units have a log sigma that learns.
    """

    def __init__(self, scaled: bool = False):
        self.scaled = scaled

    def offsets(self, machine: Any, data: Float[Tensor, "rows visible"]) -> Offsets:
        """Means of v, and of h given it."""
        return data.mean(0), machine.hidden_expectation(data).mean(0)

    def learn(self, state: Any, samples: Samples, rule: Rule, processes: Processes) -> tuple[Offsets, Learned]:
        slopes, on, motion = centred_slopes(samples, state.offsets, rule.centre, self.scaled, processes)
        if state.fast is not None:  # it follows the gradient of the same energy, and fades; sigma has none
            state.fast.W.mul_(rule.fast_decay).add_(slopes.W, alpha=rule.fast_rate)
            state.fast.b.mul_(rule.fast_decay).add_(slopes.v - slopes.W @ slopes.offset_h, alpha=rule.fast_rate)
            state.fast.c.mul_(rule.fast_decay).add_(slopes.h - slopes.W.T @ slopes.mu, alpha=rule.fast_rate)
        held = (self._parameters(each) for each in (state.machine, state.velocity, state.average))
        rate_log_sigma = rule.rate_log_sigma if self.scaled else 0.0
        change = ascend(tuple(held), slopes, rule, rate_log_sigma, averaged(rule, state.step))
        return (slopes.mu, slopes.offset_h), Learned(change, float(motion), float(on))

    def _parameters(self, machine: Any) -> Parameters:
        W, b, c = machine.W.data, machine.b.data, machine.c.data
        return Parameters(W, b, c, machine.log_sigma.data if self.scaled else torch.zeros_like(b))


def centred_slopes(
    s: Samples, offsets: Offsets, centre: float, scaled: bool, processes: Processes
) -> tuple[Slopes, Tensor, Tensor]:
    """The centred gradient from everyone's samples, the mean of h on the batch, and the share of units that flipped.

    All means lie in one flat tensor, so that one all-reduce adds them up. Of

        <(v - mu)(h - lambda)>_data - <...>_model = <v h>_data - <v h>_model - (<v>_data - <v>_model) lambda
        - mu (<h>_data - <h>_model)

    the right side is computed, so that neither v nor h is copied to be centred.

    Args:
        s: Samples.
        offsets: mu and lambda as the last step left them.
        centre: How fast they follow the means; 0 is the plain gradient.
        scaled: Whether <v^2> is wanted.
        processes: Who learns together.
    """
    visible, hidden = s.v_data.shape[1], s.h_data.shape[1]
    flat = s.v_data.new_empty(visible * hidden + 3 * visible + 2 * hidden + 1)
    parts = flat.split([visible * hidden, visible, hidden, visible, hidden, visible, 1])
    W, v_data, h_data, v_model, h_model, v_squared, motion = parts
    W = W.view(visible, hidden)
    torch.mm(s.v_data.T, s.h_data, out=W)
    torch.addmm(W, s.v_model.T, s.h_model, beta=1 / s.rows, alpha=-1 / s.chains, out=W)
    sums = ((s.v_data, v_data, s.rows), (s.h_data, h_data, s.rows), (s.v_model, v_model, s.chains),
            (s.h_model, h_model, s.chains))  # fmt: skip
    for values, mean, count in sums:
        torch.sum(values, 0, out=mean).div_(count)
    v_squared.zero_()
    if scaled:
        v_squared.copy_(s.v_data.square().sum(0) / s.rows - s.v_model.square().sum(0) / s.chains)
    on_cpu = flat.device.type == "cpu"
    flipped = int(_flips(s.before.numpy(), s.after.numpy())) if on_cpu else (s.before != s.after).sum()
    motion.fill_(1).mul_(flipped).div_(s.chains * hidden)
    processes.total(flat)
    (mu, offset_h), dv, dh = offsets, v_data - v_model, h_data - h_model
    if centre:
        mu, offset_h = mu.lerp(v_data, centre), offset_h.lerp((h_data + h_model) / 2, centre)
        centre_slope(W, dv, offset_h, mu, dh)
    else:
        mu, offset_h = torch.zeros_like(mu), torch.zeros_like(offset_h)
    return Slopes(W, dv, v_squared, dh, mu, offset_h), h_data.mean(), motion


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


def ascend(held: tuple[Parameters, ...], slopes: Slopes, rule: Rule, rate_log_sigma: float, weight: float) -> float:
    """Change parameters, their velocity and their average in place by one step; the root mean square change of W.

    `weight` is how far the averages move towards the new parameters.
    """
    parameters, velocity, average = held
    if parameters.W.device.type != "cpu":
        return ascend_reference(held, slopes, rule, rate_log_sigma, weight)
    sizes = (rule.rate, rate_log_sigma, rule.momentum, rule.weight_decay, rule.log_sigma_floor, LONGEST, weight)
    change = _ascend(
        *(x.numpy() for x in (*parameters, *velocity, average.W, *slopes)), *(np.float32(x) for x in sizes)
    )
    for kept, now in zip(average[1:], parameters[1:], strict=True):
        kept.lerp_(now, weight)
    return change


def ascend_reference(
    held: tuple[Parameters, ...], slopes: Slopes, rule: Rule, rate_log_sigma: float, weight: float
) -> float:
    """The same in plain torch; also what other devices run."""
    parameters, velocity, average = held
    (W, b, c, log_sigma), s = parameters, slopes
    precision = torch.exp(-2 * log_sigma)
    b_centred = b + W @ s.offset_h
    c_centred = c + W.T @ (s.mu * precision)
    slope = 0.5 * precision * (s.v_squared - 2 * b_centred * s.v - 2 * (W * s.W).sum(1))
    velocity.W.mul_(rule.momentum).add_(s.W - rule.weight_decay * W, alpha=rule.rate)
    velocity.b.mul_(rule.momentum).add_(s.v, alpha=rule.rate)
    velocity.c.mul_(rule.momentum).add_(s.h, alpha=rule.rate)
    W.add_(velocity.W)
    if rate_log_sigma > 0:
        velocity.log_sigma.mul_(rule.momentum).add_(slope, alpha=rate_log_sigma).clamp_(-LONGEST, LONGEST)
        log_sigma.add_(velocity.log_sigma).clamp_(min=rule.log_sigma_floor)
    b.copy_(b_centred + velocity.b - W @ s.offset_h)
    c.copy_(c_centred + velocity.c - W.T @ (s.mu * torch.exp(-2 * log_sigma)))
    for kept, now in zip(average, parameters, strict=True):
        kept.lerp_(now, weight)
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


@njit(cache=True, nogil=True)
@no_type_check
def _flips(before, after):
    count = 0
    for i in range(before.shape[0]):
        row = np.int32(0)
        for j in range(before.shape[1]):
            row += np.int32(before[i, j] != after[i, j])
        count += row
    return count
