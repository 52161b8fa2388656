"""One step up the likelihood of a machine with W, b, c and perhaps log sigma.

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

from foveate.boltzmann.training.ascent import Ascent, CDInfo, Offsets, Samples, averaged
from foveate.boltzmann.training.parallel import Processes
from foveate.boltzmann.training.settings import Rule

LONGEST = 0.05  # Step of a log sigma


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
    """Up the centred gradient, in the metric of the visible units; `scaled` if these have a log sigma that learns."""

    def __init__(self, scaled: bool = False):
        self.scaled = scaled

    def offsets(self, machine: Any, data: Float[Tensor, "rows visible"]) -> Offsets:
        """Means of v, and of h given it."""
        return data.mean(0), machine.hidden_mean(data).mean(0)

    def learn(self, state: Any, samples: Samples, rule: Rule, processes: Processes) -> tuple[Offsets, CDInfo]:
        slopes, on, motion = centred_slopes(samples, state.offsets, rule.centre, self.scaled, processes)
        if state.fast is not None:  # it follows the gradient of the same energy, and fades; sigma has none
            state.fast.W.mul_(rule.fast_decay).add_(slopes.W, alpha=rule.fast_rate)
            state.fast.b.mul_(rule.fast_decay).add_(slopes.v - slopes.W @ slopes.offset_h, alpha=rule.fast_rate)
            state.fast.c.mul_(rule.fast_decay).add_(slopes.h - slopes.W.T @ slopes.mu, alpha=rule.fast_rate)
        held = (self._parameters(each) for each in (state.machine, state.velocity, state.average))
        rate_log_sigma = rule.rate_log_sigma if self.scaled else 0.0
        change = ascend(tuple(held), slopes, rule, rate_log_sigma, averaged(rule, state.step))
        return (slopes.mu, slopes.offset_h), CDInfo(change, float(motion), float(on))

    def _parameters(self, machine: Any) -> Parameters:
        W, b, c = machine.W.data, machine.b.data, machine.c.data
        return Parameters(W, b, c, machine.log_sigma.data if self.scaled else torch.zeros_like(b))


def centred_slopes(
    s: Samples, offsets: Offsets, centre: float, scaled: bool, processes: Processes
) -> tuple[Slopes, Tensor, Tensor]:
    """The centred gradient from everyone's samples, the mean of h on the batch, and the share of units that flipped.

    All means lie in one flat tensor, so that one all-reduce adds them up; neither v nor h is copied to be centred, as
    dW~ = <v h>_data - <v h>_model - dv lambda - mu dh. The offsets follow the means as fast as `centre` says; 0 is the
    plain gradient.
    """
    visible, hidden = s.v_data.shape[1], s.h_data.shape[1]
    flat = s.v_data.new_empty(visible * hidden + 3 * visible + 2 * hidden + 1)
    parts = flat.split([visible * hidden, visible, hidden, visible, hidden, visible, 1])
    W, v_data, h_data, v_model, h_model, v_squared, motion = parts
    W = W.view(visible, hidden)
    torch.mm(s.v_data.T, s.h_data, out=W)
    torch.addmm(W, s.v_model.T, s.h_model, beta=1 / s.rows, alpha=-1 / s.chains, out=W)
    for values, mean, count in ((s.v_data, v_data, s.rows), (s.h_data, h_data, s.rows),
                                (s.v_model, v_model, s.chains), (s.h_model, h_model, s.chains)):  # fmt: skip
        torch.sum(values, 0, out=mean).div_(count)
    v_squared.zero_()
    if scaled:
        v_squared.copy_(s.v_data.square().sum(0) / s.rows - s.v_model.square().sum(0) / s.chains)
    motion.copy_((s.before != s.after).sum() / (s.chains * hidden))
    processes.total(flat)
    (mu, offset_h), dv, dh = offsets, v_data - v_model, h_data - h_model
    if centre:
        mu, offset_h = mu.lerp(v_data, centre), offset_h.lerp((h_data + h_model) / 2, centre)
        W.addr_(dv, offset_h, alpha=-1).addr_(mu, dh, alpha=-1)
    else:
        mu, offset_h = torch.zeros_like(mu), torch.zeros_like(offset_h)
    return Slopes(W, dv, v_squared, dh, mu, offset_h), h_data.mean(), motion


def ascend(held: tuple[Parameters, ...], s: Slopes, rule: Rule, rate_log_sigma: float, weight: float) -> float:
    """Change parameters, velocity and average (which moves by `weight`) in place; the root mean square change of W."""
    (W, b, c, log_sigma), velocity, average = held
    precision = torch.exp(-2 * log_sigma)
    drawn = s.mu * precision  # c~ - c = W^T of this, before and after
    if rate_log_sigma > 0:
        squares = s.v_squared - 2 * (b + W @ s.offset_h) * s.v - 2 * torch.einsum("ij,ij->i", W, s.W)
        slope = 0.5 * precision * squares
        velocity.log_sigma.mul_(rule.momentum).add_(slope, alpha=rate_log_sigma).clamp_(-LONGEST, LONGEST)
        log_sigma.add_(velocity.log_sigma).clamp_(min=rule.log_sigma_floor)
    for value, speed, gained in ((b, velocity.b, s.v), (c, velocity.c, s.h)):
        value.add_(speed.mul_(rule.momentum).add_(gained, alpha=rule.rate))
    matrices, vectors = (W, velocity.W, average.W, s.W), (b, c, s.offset_h, drawn, s.mu * torch.exp(-2 * log_sigma))
    numbers = rule.rate, rule.momentum, rule.rate * rule.weight_decay, weight
    if W.device.type == "cpu":
        total = _climb(*(x.numpy() for x in (*matrices, *vectors)), *(np.float32(x) for x in numbers))
    else:
        total = float(climb(matrices, vectors, numbers))
    for kept, now in zip(average[1:], held[0][1:], strict=True):
        kept.lerp_(now, weight)
    return float(total / W.numel()) ** 0.5


def climb(matrices: tuple[Tensor, ...], vectors: tuple[Tensor, ...], numbers: tuple[float, ...]) -> Tensor:
    """Move W, its velocity and its average, and b and c by what that means to them; the sum of squares of the step."""
    (W, velocity, average, slope), (b, c, offset_h, before, after) = matrices, vectors
    rate, momentum, decay, weight = numbers
    c.add_(before @ W)
    W.add_(velocity.mul_(momentum).add_(slope, alpha=rate).sub_(W, alpha=decay))
    c.sub_(after @ W)
    b.sub_(velocity @ offset_h)
    average.lerp_(W, weight)
    return velocity.square().sum()


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"}, nogil=True)
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def _climb(W, velocity, average, slope, b, c, offset_h, before, after, rate, momentum, decay, weight):
    """`climb` in one pass over W."""
    total = 0.0
    for i in range(W.shape[0]):
        change, square = np.float32(0), np.float32(0)
        for j in range(W.shape[1]):
            old = W[i, j]
            step = momentum * velocity[i, j] + rate * slope[i, j] - decay * old
            new = old + step
            velocity[i, j] = step
            W[i, j] = new
            average[i, j] += weight * (new - average[i, j])
            change += step * offset_h[j]
            square += step * step
            c[j] += before[i] * old - after[i] * new
        b[i] -= change
        total += square
    return total
