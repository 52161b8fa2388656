"""From the samples of a step to the statistics of its gradient, added up over all processes in one go."""

from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from foveate.boltzmann.training.gradient import Statistics, centre_slope
from foveate.boltzmann.training.parallel import Processes


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
