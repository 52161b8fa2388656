"""The binary restricted Boltzmann machine."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from foveate.boltzmann.draws import Numbered, bernoulli_units
from foveate.boltzmann.log_z.fused_path import FusedPath
from foveate.boltzmann.log_z.path import Path
from foveate.boltzmann.rbm import BinaryHidden
from foveate.boltzmann.training.settings import Rule
from foveate.boltzmann.units import BINARY
from foveate.runtime.random import generator

_MOST_NUMBERS = 1 << 22
"""In a tensor of [rows, visible, hidden]; more rows are taken one part after another."""


class BernoulliRBM(BinaryHidden):
    """Binary visible and hidden units: E(v, h) = -b.v - c.h - v.W h (Smolensky 1986; Hinton 2002).

    Args:
        n_visible: Number of visible units.
        n_hidden: Number of hidden units.
    """

    visible = BINARY

    def visible_step(self, h: Float[Tensor, "batch hidden"], random: Numbered) -> Float[Tensor, "batch visible"]:
        return bernoulli_units(h @ self.W.T, self.b, random)

    def begin(self, data: Float[Tensor, "n visible"], seed: int) -> None:
        """Independent units with the data's means, but for small random weights.

        Two observations more, a zero and a one, keep the biases of units finite that never change (Hinton 2012, "A
        practical guide to training restricted Boltzmann machines", section 8).
        """
        self.W.copy_(0.1 * torch.randn(self.W.shape, generator=generator(seed, "weights")))
        self.b.copy_(torch.logit((data.sum(0) + 1) / (len(data) + 2)))

    def usual_rule(self, steps: int) -> Rule:
        return replace(super().usual_rule(steps), rate=0.2, fast_rate=0.2)

    def pseudo_log_likelihood(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, " batch"]:
        """sum_i log P(v_i | all other v) = -sum_i softplus(F(v) - F(v with v_i flipped)), in nats (Besag 1975)."""
        rows = max(1, _MOST_NUMBERS // self.W.numel())
        return torch.cat([self._pseudo_log_likelihood(some) for some in v.split(rows)])

    def _pseudo_log_likelihood(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, " batch"]:
        x, change = self.hidden_input(v), 1 - 2 * v
        flipped = x[:, None] + change[:, :, None] * self.W
        gain = change * self.b + softplus(flipped).sum(2) - softplus(x).sum(1, keepdim=True)
        return -softplus(gain).sum(1)

    def path(self, data: Float[Tensor, "n visible"], smoothing: float = 1.0) -> Path:
        """As any machine's, compiled where it runs on a CPU."""
        path = super().path(data, smoothing)
        exact: Any = path.machine
        return FusedPath.of(path, exact.W, exact.b, exact.c)
