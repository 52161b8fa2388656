"""The binary restricted Boltzmann machine."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from foveate.boltzmann.log_z.fused_path import FusedPath
from foveate.boltzmann.log_z.path import Path
from foveate.boltzmann.rbm import RestrictedBoltzmannMachine
from foveate.boltzmann.training.settings import Rule
from foveate.boltzmann.units import Visible

_MOST_NUMBERS = 1 << 22  # In a tensor of [rows, visible, hidden]; more rows are taken one part after another


class BernoulliRBM(RestrictedBoltzmannMachine):
    """Binary visible and hidden units: E(v, h) = -b.v - c.h - v.W h (Smolensky 1986; Hinton 2002)."""

    def usual_rule(self, steps: int) -> Rule:
        return replace(super().usual_rule(steps), rate=0.2, fast_rate=0.2)

    def pseudo_log_likelihood(self, v: Visible) -> Float[Tensor, " batch"]:
        """sum_i log P(v_i | all other v) = -sum_i softplus(F(v) - F(v with v_i flipped)), in nats (Besag 1975)."""
        rows = max(1, _MOST_NUMBERS // self.W.numel())

        def of(v: Tensor) -> Tensor:
            x, change = self.hidden_input(v), 1 - 2 * v
            flipped = x[:, None] + change[:, :, None] * self.W
            gain = change * self.b + softplus(flipped).sum(2) - softplus(x).sum(1, keepdim=True)
            return -softplus(gain).sum(1)

        return torch.cat([of(some) for some in v.split(rows)])

    def path(self, data: Float[Tensor, "n visible"], smoothing: float = 1.0) -> Path:
        """As any machine's, compiled where it runs on a CPU."""
        path = super().path(data, smoothing)
        exact: Any = path.machine
        return FusedPath.of(path, exact.W, exact.b, exact.c)
