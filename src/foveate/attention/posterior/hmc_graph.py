"""Transitions of Hamiltonian Monte Carlo on a GPU: captured once as a CUDA graph, then replayed.

A transition is some thousands of small operations, each shorter than the time to launch it. As a graph they are
launched together, and while chains move nothing is copied to the host and no value is looked at: the transition's
number is counted on the device. Whatever density is sampled must keep to that (`gaze_targets.reference` does).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from foveate.attention.posterior.hmc import Box, Info, Keyed, LogDensityAndGradient, State, step
from foveate.attention.posterior.hmc_kernels import Moves
from foveate.runtime.devices import captured


def transitions(
    keys: Int64[Tensor, " chains"],
    first: int,
    count: int,
    state: State,
    logdensity_and_grad: LogDensityAndGradient,
    step_size: Float[Tensor, " chains"],
    scale: Float[Tensor, "chains dims"],
    n_leapfrog: int,
    jitter: float = 0.0,
    box: Box | None = None,
) -> tuple[State, Moves]:
    """Transitions number `first` to `first + count` of every chain; all tensors on one device, of any kind.

    Args:
        keys: Of each chain.
        first: Number of the first transition.
        count: How many, at least one.
        state: Where the chains are; it is left as it is.
        logdensity_and_grad: The targets, as `hmc.step` takes them.
        step_size: eps of each chain.
        scale: As for `hmc.step`.
        n_leapfrog: Leapfrog steps.
        jitter: As for `hmc.step`.
        box: As for `hmc.step`.
    """
    number = torch.zeros((), dtype=torch.int64).to(keys.device)
    now = State(*(value.clone() for value in state))
    happened: list[Tensor] = []

    def once() -> None:
        after, info = step(Keyed(keys, number), now, logdensity_and_grad, step_size, scale, n_leapfrog, jitter, box)
        for value, new in zip(now, after, strict=True):
            value.copy_(new)
        number.add_(1)
        happened[:] = info

    replay = captured(once, warm_ups=2).replay if keys.device.type == "cuda" else once
    for value, before in zip(now, state, strict=True):
        value.copy_(before)
    number.fill_(first)
    draws, infos = [], []
    for _ in range(count):
        replay()
        draws.append(now.position.clone())
        infos.append([value.clone() for value in happened])
    return now, Moves(torch.stack(draws), Info(*(torch.stack(column) for column in zip(*infos, strict=True))))
