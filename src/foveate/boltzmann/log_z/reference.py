"""An annealing step in plain torch: what the fused passes are tested against, and what runs on a GPU.

The random numbers are the fused passes' own (the same hash of chain, step, layer and unit), so both move the same
chains.
The step is driven by tensors alone, its counter too, and works in place: on a GPU it is captured once as a CUDA graph
and replayed, so that launching its hundred small kernels doesn't dominate.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foveate.boltzmann.log_z.path import AnnealingPath
from foveate.runtime.devices import captured
from foveate.runtime.random import halves, words
from foveate.runtime.random import units as unit_uniforms


@dataclass
class PlainChains:
    """Chains and their weights, changed in place by `plain_step`.

    Attributes:
        v: [n, V] visible states.
        slope: [n] float64, the visible part of d log p*_beta(v) / d beta.
        log_weight: [n] float64.
        step: [] int64, index of the beta that the chains are at.
    """

    v: Float[Tensor, "n V"]
    slope: Float[Tensor, " n"]
    log_weight: Float[Tensor, " n"]
    step: Int[Tensor, ""]


def plain_step(
    path: AnnealingPath, betas: Float[Tensor, " steps"], keys: Int[Tensor, " n"], chains: PlainChains
) -> None:
    """Move the weights to the next beta at the present v, then the chains by one Gibbs sweep at that beta.

    log w += log p*_new(v) - log p*_old(v), with log p*_beta(v) = (visible part) + sum_j softplus(c_base_j + beta s_j)
    and s = c_change + v W; the sweep leaves p_new invariant (Neal 2001, with the order of Salakhutdinov and Murray
    2008).
    """
    chains.step += 1
    # By `index_select`: an index that is a tensor of no dimensions would be looked at by the host.
    old, new = betas.index_select(0, torch.stack((chains.step - 1, chains.step))).unbind()
    s = chains.v @ path.W + path.c_change
    x_new = path.c_base + new * s.double()
    x_old = path.c_base + old * s.double()
    chains.log_weight += (new - old) * chains.slope + (_softplus(x_new) - _softplus(x_old)).sum(1)
    uniform = uniform_numbers(keys, chains.step, 0, path.W.shape[1])
    h = (uniform < torch.sigmoid(path.c_base + new.float() * s)).float()
    visible_step(path, h @ path.W.T, new, keys, chains)


def visible_step(
    path: AnnealingPath,
    product: Float[Tensor, "n V"],
    beta: Float[Tensor, ""],
    keys: Int[Tensor, " n"],
    chains: PlainChains,
) -> None:
    """Draw v given h at beta, and its part of the slope."""
    beta32 = beta.float()
    linear = path.b_base + beta32 * (product + path.b_change)
    uniform = uniform_numbers(keys, chains.step, 1, path.W.shape[0])
    if path.precision_base is None or path.precision_change is None:
        chains.v.copy_((uniform < torch.sigmoid(linear)).float())
        chains.slope.copy_((chains.v * path.b_change).double().sum(1))
        return
    precision = path.precision_base + beta32 * path.precision_change
    radius = torch.sqrt(-2 * torch.log(uniform + 2.0**-25) / precision)
    turn = uniform_numbers(keys, chains.step, 1, path.W.shape[0], second=True)
    chains.v.copy_(linear / precision + radius * torch.cos(2 * math.pi * turn))
    gained = path.b_change * chains.v - 0.5 * path.precision_change * chains.v.square()
    chains.slope.copy_(gained.double().sum(1))


def uniform_numbers(
    keys: Int[Tensor, " n"], step: Int[Tensor, ""], layer: int, units: int, second: bool = False
) -> Float[Tensor, "n units"]:
    """The uniform numbers of one layer at one step, as the fused passes draw them.

    Args:
        keys: One a chain.
        step: Counter.
        layer: 0 hidden, 1 visible.
        units: How many numbers a chain.
        second: The second number of each unit (Gaussian units need two).
    """
    low, high = (half.unsqueeze(1) for half in halves(words(keys, 2 * step + layer)))
    unit = torch.arange(units, dtype=torch.int64, device=keys.device)
    return unit_uniforms(unit, low, high ^ 0x9E3779B9 if second else high)


def captured_step(
    path: AnnealingPath, betas: Float[Tensor, " steps"], keys: Int[Tensor, " n"], chains: PlainChains
) -> "torch.cuda.CUDAGraph":
    """`plain_step` on these very tensors as a CUDA graph; the chains are as they were."""
    kept = [value.clone() for value in vars(chains).values()]
    graph = captured(lambda: plain_step(path, betas, keys, chains))
    for value, before in zip(vars(chains).values(), kept, strict=True):
        value.copy_(before)
    return graph


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))
