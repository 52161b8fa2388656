"""How a step learns from samples: a machine's `ascent`, here plain gradient ascent that serves any machine.

The gradient of the log-likelihood is <-dE/dtheta>_data - <-dE/dtheta>_model; `centred.py` has what machines with a
matrix W climb instead.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.training.parallel import Processes
from foveate.boltzmann.training.settings import Rule

Offsets = tuple[Tensor, ...]


class Samples(NamedTuple):
    """What a step learns from: this process's part of it."""

    v_data: Float[Tensor, "rows visible"]  # rows of the batch
    h_data: Float[Tensor, "rows hidden"]  # E[h | v] of them
    v_model: Float[Tensor, "chains visible"]  # the chains' visible units
    h_model: Float[Tensor, "chains hidden"]  # E[h | v] of them
    before: Float[Tensor, "chains hidden"]  # the chains' hidden units at the beginning of the step
    after: Float[Tensor, "chains hidden"]  # the same at its end
    rows: int  # rows of the batch over all processes
    chains: int  # chains over all processes


class CDInfo(NamedTuple):
    """What a step says of itself."""

    change: float  # root mean square change of W, or of all parameters where there is none
    motion: float  # share of the chains' hidden units that flipped
    hidden_data: float  # mean of the hidden units on the batch
    failed: str = ""  # the first parameter that is no longer finite or has exploded


class Ascent:
    """Plain gradient ascent with momentum, for any machine; the slope of the energy is autograd's."""

    def offsets(self, machine: Any, data: Float[Tensor, "rows visible"]) -> Offsets:
        """What the gradient is centred at, to begin with."""
        return ()

    def learn(self, state: Any, samples: Samples, rule: Rule, processes: Processes) -> tuple[Offsets, CDInfo]:
        """A step up: the parameters of a `CDState`'s machines in place, and new offsets."""
        cells = samples.chains * samples.before.shape[1]
        on = samples.h_data.sum() / (samples.rows * samples.h_data.shape[1])
        parts = [*slopes(state.machine, samples), on, (samples.before != samples.after).sum().to(on) / cells]
        flat = torch.cat([part.flatten() for part in parts])
        processes.total(flat)
        *gradient, on, motion = (
            part.view_as(like) for part, like in zip(flat.split([p.numel() for p in parts]), parts, strict=True)
        )
        total, count, rates = 0.0, 0, state.machine.rates(rule)
        for (name, value), slope in zip(state.machine.named_parameters(), gradient, strict=True):
            if state.fast is not None:
                state.fast.get_parameter(name).mul_(rule.fast_decay).add_(slope, alpha=rule.fast_rate)
            pull = rule.weight_decay if value.ndim > 1 else 0.0
            speed = state.velocity.get_parameter(name).mul_(rule.momentum)
            value.add_(speed.add_(slope - pull * value, alpha=rates.get(name, rule.rate)))
            total, count = total + float(speed.square().sum()), count + value.numel()
        state.machine.constrain(rule)
        for kept, now in zip(state.average.parameters(), state.machine.parameters(), strict=True):
            kept.lerp_(now, averaged(rule, state.step))
        return (), CDInfo(math.sqrt(total / count), float(motion), float(on))


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
