"""How a step learns from samples: a machine's `ascent`, plain for any machine, or compiled for those with a matrix W.

The gradient of the log-likelihood is <-dE/dtheta>_data - <-dE/dtheta>_model. `Ascent` takes it from the machine's
energy and climbs it as it is. `CentredAscent` climbs that of the centred energy, by the passes of `gradient.py`.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.training.gradient import (
    Parameters,
    Statistics,
    StepSizes,
    ascend,
    centre_slope,
    flips,
)
from foveate.boltzmann.training.parallel import Processes
from foveate.boltzmann.training.settings import Rule

Offsets = tuple[Tensor, ...]


class Samples(NamedTuple):
    """What a step learns from: this process's part of it.

    Attributes:
        v_data: Rows of the batch.
        h_data: E[h | v] of them.
        v_model: The chains' visible units.
        h_model: E[h | v] of them.
        before: The chains' hidden units at the beginning of the step.
        after: The same at its end.
        rows: Rows of the batch over all processes.
        chains: Chains over all processes.
    """

    v_data: Float[Tensor, "rows visible"]
    h_data: Float[Tensor, "rows hidden"]
    v_model: Float[Tensor, "chains visible"]
    h_model: Float[Tensor, "chains hidden"]
    before: Float[Tensor, "chains hidden"]
    after: Float[Tensor, "chains hidden"]
    rows: int
    chains: int


class Learned(NamedTuple):
    """What a step did.

    Attributes:
        change: Root mean square change of the parameters, or of W alone.
        motion: Share of the chains' hidden units that flipped.
        hidden_data: Mean of the hidden units on the batch.
    """

    change: float
    motion: float
    hidden_data: float


class Ascent:
    """Plain gradient ascent with momentum, for any machine; the slope of the energy is autograd's."""

    def offsets(self, machine: Any, data: Float[Tensor, "rows visible"]) -> Offsets:
        """What the gradient is centred at, to begin with; here nothing."""
        return ()

    def learn(
        self,
        machine: Any,
        velocity: Any,
        average: Any,
        fast: Any | None,
        samples: Samples,
        offsets: Offsets,
        rule: Rule,
        step: int,
        processes: Processes,
    ) -> tuple[Offsets, Learned]:
        """A step up, in place.

        Args:
            machine: Whose parameters learn.
            velocity, average, fast: Machines that hold the parameters' last change, their average, and fast weights.
            samples: Of data and model.
            offsets: As the last step left them.
            rule: How.
            step: Steps taken before.
            processes: Who learns together.
        """
        parts = [*slopes(machine, samples), *_counted(samples)]
        flat = torch.cat([part.flatten() for part in parts])
        processes.total(flat)
        *gradient, on, motion = (
            part.view_as(like) for part, like in zip(flat.split([p.numel() for p in parts]), parts, strict=True)
        )
        total, count, rates = 0.0, 0, machine.rates(rule)
        for (name, value), slope in zip(machine.named_parameters(), gradient, strict=True):
            speed = velocity.get_parameter(name).mul_(rule.momentum).add_(slope, alpha=rates.get(name, rule.rate))
            if fast is not None:
                fast.get_parameter(name).mul_(rule.fast_decay).add_(slope, alpha=rule.fast_rate)
            value.add_(speed)
            total, count = total + float(speed.square().sum()), count + value.numel()
        machine.constrain(rule)
        for kept, now in zip(average.parameters(), machine.parameters(), strict=True):
            kept.lerp_(now, averaged(rule, step))
        return (), Learned(math.sqrt(total / count), float(motion), float(on))


def slopes(machine: Any, samples: Samples) -> list[Tensor]:
    """<-dE/dtheta>_data - <-dE/dtheta>_model of every parameter, in their order: this process's part of the means."""
    values = {name: value.detach().clone().requires_grad_() for name, value in machine.named_parameters()}
    with torch.enable_grad():
        twin = machine.holding(values)
        data = twin.energy(samples.v_data, samples.h_data).sum() / samples.rows
        model = twin.energy(samples.v_model, samples.h_model).sum() / samples.chains
        found = torch.autograd.grad(model - data, list(values.values()), allow_unused=True)
    pairs = zip(values.values(), found, strict=True)
    return [torch.zeros_like(value) if slope is None else slope.detach() for value, slope in pairs]


def averaged(rule: Rule, step: int) -> float:
    """How far the averaged parameters move towards the new ones; the first ones are an average of few."""
    return max(1 - rule.average, 1 / (step + 1))


def _counted(samples: Samples) -> list[Tensor]:
    """Parts of the mean of the hidden units on the batch, and of the share of the chains' that flipped."""
    hidden = samples.h_data.shape[1]
    on = samples.h_data.sum() / (samples.rows * hidden)
    return [on, torch.as_tensor(flips(samples.before, samples.after)).to(on) / (samples.chains * hidden)]


class CentredAscent(Ascent):
    """The centred gradient of a machine with W, b and c, in the metric of its visible units.

    Args:
        scaled: Whether the visible units have a log sigma that learns.
    """

    def __init__(self, scaled: bool = False):
        self.scaled = scaled

    def offsets(self, machine: Any, data: Float[Tensor, "rows visible"]) -> Offsets:
        """Means of v, and of h given it."""
        return data.mean(0), machine.hidden_expectation(data).mean(0)

    def learn(
        self,
        machine: Any,
        velocity: Any,
        average: Any,
        fast: Any | None,
        samples: Samples,
        offsets: Offsets,
        rule: Rule,
        step: int,
        processes: Processes,
    ) -> tuple[Offsets, Learned]:
        m, (mu, offset_h) = moments(samples, self.scaled, processes), offsets
        found = statistics(m, mu, offset_h, rule.centre)
        sizes = StepSizes(
            rule.rate, rule.rate_log_sigma if self.scaled else 0.0, rule.momentum, rule.weight_decay,
            rule.log_sigma_floor, average=averaged(rule, step),
        )  # fmt: skip
        if fast is not None:
            self._learn_fast(fast, found, rule)
        parameters, speeds, averages = (self._parameters(each) for each in (machine, velocity, average))
        change = ascend(parameters, speeds, averages, found, sizes)
        return (found.mu, found.offset_h), Learned(change, float(m.motion), float(m.h_data.mean()))

    def _parameters(self, machine: Any) -> Parameters:
        """The tensors themselves; without log sigma, zeros that nothing changes."""
        W, b, c = machine.W.data, machine.b.data, machine.c.data
        return Parameters(W, b, c, machine.log_sigma.data if self.scaled else torch.zeros_like(b))

    def _learn_fast(self, fast: Any, s: Statistics, rule: Rule) -> None:
        """The fast weights follow the gradient of the same (centred) energy, and fade; sigma has none."""
        fast.W.mul_(rule.fast_decay).add_(s.W, alpha=rule.fast_rate)
        fast.b.mul_(rule.fast_decay).add_(s.v - s.W @ s.offset_h, alpha=rule.fast_rate)
        fast.c.mul_(rule.fast_decay).add_(s.h - s.W.T @ s.mu, alpha=rule.fast_rate)


class Moments(NamedTuple):
    """Means over all rows and chains of all processes.

    Attributes:
        slope: <v h>_data - <v h>_model.
        v_data, h_data, v_model, h_model: Means of the units.
        v_squared: <v^2>_data - <v^2>_model; zeros where v is binary.
        motion: [1] share of the chains' hidden units that flipped.
    """

    slope: Float[Tensor, "visible hidden"]
    v_data: Float[Tensor, " visible"]
    h_data: Float[Tensor, " hidden"]
    v_model: Float[Tensor, " visible"]
    h_model: Float[Tensor, " hidden"]
    v_squared: Float[Tensor, " visible"]
    motion: Float[Tensor, "1"]


def moments(s: Samples, gaussian: bool, processes: Processes) -> Moments:
    """The means of everyone's samples; they lie in one flat tensor, so that one all-reduce adds them up."""
    visible, hidden = s.v_data.shape[1], s.h_data.shape[1]
    flat = s.v_data.new_empty(visible * hidden + 3 * visible + 2 * hidden + 1)
    slope, *parts = flat.split([visible * hidden, visible, hidden, visible, hidden, visible, 1])
    found = Moments(slope.view(visible, hidden), *parts)
    torch.mm(s.v_data.T, s.h_data, out=found.slope)
    torch.addmm(found.slope, s.v_model.T, s.h_model, beta=1 / s.rows, alpha=-1 / s.chains, out=found.slope)
    for name, count in (("v_data", s.rows), ("h_data", s.rows), ("v_model", s.chains), ("h_model", s.chains)):
        torch.sum(getattr(s, name), 0, out=getattr(found, name)).div_(count)
    if gaussian:
        found.v_squared.copy_(s.v_data.square().sum(0) / s.rows - s.v_model.square().sum(0) / s.chains)
    else:
        found.v_squared.zero_()
    found.motion.fill_(1).mul_(flips(s.before, s.after)).div_(s.chains * hidden)
    processes.total(flat)
    return found


def statistics(
    m: Moments, mu: Float[Tensor, " visible"], offset_h: Float[Tensor, " hidden"], centre: float
) -> Statistics:
    """The centred gradient, with the offsets moved first; it takes over the moments' slope.

    <(v - mu)(h - lambda)>_data - <...>_model = <v h>_data - <v h>_model - (<v>_data - <v>_model) lambda
    - mu (<h>_data - <h>_model), so that neither v nor h is copied to be centred.

    Args:
        m: Of a step.
        mu: Offset of v.
        offset_h: Offset of h, lambda.
        centre: How fast the offsets follow the means; 0 is the plain gradient.
    """
    dv, dh = m.v_data - m.v_model, m.h_data - m.h_model
    if centre:
        mu = mu.lerp(m.v_data, centre)
        offset_h = offset_h.lerp((m.h_data + m.h_model) / 2, centre)
        centre_slope(m.slope, dv, offset_h, mu, dh)
    else:
        mu, offset_h = torch.zeros_like(mu), torch.zeros_like(offset_h)
    return Statistics(m.slope, dv, m.v_squared, dh, mu, offset_h)
