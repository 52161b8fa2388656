"""One step of stochastic gradient descent with momentum, clipped, beside an average of the weights.

With g the gradient, shrunk to a norm of at most `clip`, and p the step's number from 0,

    velocity <- momentum velocity + g,    weights <- weights - rate velocity,
    average <- k average + (1 - k) weights,    k = min(decay, (1 + p) / (10 + p)).
"""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from foveate.errors import NotFinite
from foveate.training.settings import DescentSettings

Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def descend(
    weights: list[Tensor],
    gradients: tuple[Tensor, ...],
    velocity: list[Tensor],
    average: list[Tensor],
    step: int,
    steps: int,
    settings: DescentSettings,
) -> float:
    """Step number `step` of `steps`; weights, velocity and average are changed in place.

    Returns:
        The norm of the gradient before it was clipped.
    """
    norm = torch.stack(torch._foreach_norm(gradients)).double().square().sum().sqrt().item()
    torch._foreach_mul_(velocity, settings.momentum)
    torch._foreach_add_(velocity, gradients, alpha=min(1.0, settings.clip / (norm + 1e-12)))
    torch._foreach_add_(weights, velocity, alpha=-rate_at(step, steps, settings))
    torch._foreach_lerp_(average, weights, 1 - min(settings.decay, (1 + step) / (10 + step)))
    return norm


def rate_at(step: int, steps: int, settings: DescentSettings) -> float:
    """The learning rate: a linear warm-up, then a cosine to zero."""
    warm = min(1.0, (step + 1) / settings.warm_up)
    return settings.rate * warm * 0.5 * (1 + math.cos(math.pi * step / steps))


def finite(net: Network, name: str) -> Network:
    """The network, if all of its weights are finite numbers.

    Raises:
        NotFinite: They aren't.
    """
    if not all(torch.isfinite(value).all() for value in net.parameters()):
        raise NotFinite(f"{name}'s weights are no longer finite: the learning rate is too high")
    return net
