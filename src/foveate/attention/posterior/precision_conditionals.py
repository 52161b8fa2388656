"""`PatchConditionals` of a patch model with precision units, whose pixels are independent in whitened coordinates only.

With y = A (v - m), P(s) the precisions of y given the precision units, and Lambda(s) = A^T diag(P(s)) A that of v, the
pixels under the gaze are x | v ~ N(v, Lambda(s)^-1): where the plain model has sigma_i^2, this one has Lambda^-1. So

    p(v | h, s, u, I) = N((mu(h, s) + x(u)) / 2, Lambda(s)^-1 / 2),
    p(h, s | v): the first layer's,
    x | h, s ~ N(mu(h, s), 2 Lambda(s)^-1) with v integrated out.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from foveate.attention.posterior.conditionals import Patches, rows
from foveate.attention.posterior.products import product, sample_normal
from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.precision import PrecisionRBM


@dataclass(frozen=True)
class PrecisionConditionals(Patches):
    """A first layer of mean and precision units, on the CPU, laid out for fast passes."""

    machine: PrecisionRBM  # the first layer
    patch_mean: Float[Tensor, "3"]  # v = (pixel - mean) / std, channel by channel
    patch_std: Float[Tensor, "3"]  # see `patch_mean`

    @classmethod
    def of(cls, dbn: GaussianDBN) -> "PrecisionConditionals":
        """The first layer of a Gaussian DBN."""
        mean, std = (dbn.patch.get_buffer(name).detach().cpu() for name in ("mean", "std"))
        return cls(dbn.grbm.like().cpu(), mean, std)

    @property
    def dim(self) -> int:
        return self.machine.n_visible

    @property
    def n_hidden(self) -> int:
        return self.machine.n_hidden

    @cached_property
    def _into(self) -> tuple[np.ndarray, np.ndarray]:
        """A^T, and -A m: y = v A^T - A m."""
        A = self.machine.whiten
        return rows(A.T), rows(-(A.double() @ self.machine.mean.double()).float())

    @cached_property
    def _back(self) -> tuple[np.ndarray, np.ndarray]:
        """A^-T, and m."""
        return rows(self.machine.unwhiten.T), rows(self.machine.mean)

    @cached_property
    def _moved(self) -> tuple[Tensor, Tensor, Tensor]:
        """The directions that mean units move, W / sigma^2 there, and its transpose."""
        where = torch.nonzero((self.machine.W != 0).any(1)).flatten()
        up = (self.machine.W * self.machine.precision[:, None])[where].contiguous()
        return where, up, up.T.contiguous()

    def visible_mean(self, h: Float[Tensor, "n H"]) -> Float[Tensor, "n D"]:
        """mu(h, s)."""
        linear, precision = self._natural(h)
        return torch.from_numpy(product(rows(linear / precision), *self._back))

    def sample_visible(
        self,
        keys: Int64[Tensor, " n"],
        sweep: int,
        mu: Float[Tensor, "n D"],
        h: Float[Tensor, "n H"],
        x: Float[Tensor, "n D"],
    ) -> Float[Tensor, "n D"]:
        """A draw of v given h and s, whose mean of v is mu, and the glimpse."""
        y, nothing = np.empty((len(x), self.dim), np.float32), np.zeros(self.dim, np.float32)
        sample_normal(keys.numpy(), sweep * self.numbers, np.zeros_like(y), nothing + 1, y)
        y *= (2 * self._natural(h)[1]).rsqrt().numpy()
        return (mu + x) / 2 + torch.from_numpy(product(y, self._back[0], nothing))

    def hidden_input(self, v: Float[Tensor, "n D"]) -> Float[Tensor, "n H"]:
        """Log-odds of each mean and each precision unit given v."""
        y, (where, up, _) = torch.from_numpy(product(rows(v), *self._into)), self._moved
        means = product(rows(y[:, where]), rows(up), rows(self.machine.c))
        return torch.cat([torch.from_numpy(means), self.machine.gate_input(y).flatten(1)], 1)

    def log_density(self, x: Float[Tensor, "n D"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n D"]]:
        """-F(x), the first layer's log density but for its log Z, and its gradient in x.

        In y it is ((b + W h) / sigma^2 - P(s) y)_i at h and s of their means given y.
        """
        machine, (where, up, down) = self.machine, self._moved
        y = torch.addmm(torch.from_numpy(self._into[1]), x, torch.from_numpy(self._into[0]))
        means, gates = torch.addmm(machine.c, y[:, where], up), machine.gate_input(y)
        fit = (y * (machine.b - 0.5 * y) * machine.precision).sum(1, dtype=torch.float64)
        value = fit + F.softplus(means).sum(1, dtype=torch.float64) + F.softplus(gates).sum((1, 2), dtype=torch.float64)
        slope = machine.b * machine.precision - y * machine.gated(torch.sigmoid(gates))
        slope[:, where] += torch.sigmoid(means) @ down
        return value, slope @ machine.whiten

    def log_density_given(
        self, x: Float[Tensor, "n D"], centre: Float[Tensor, "n D"], h: Float[Tensor, "n H"], share: float
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n D"]]:
        """-share / 2 (x - centre)^T Lambda(s) (x - centre), and its gradient in x."""
        away, (_, precision) = (x - centre) @ self.machine.whiten.T, self._natural(h)
        pull = -share * precision * away
        return 0.5 * (pull * away).sum(1, dtype=torch.float64), pull @ self.machine.whiten

    def pixel_precision(self) -> Float[Tensor, "1 3 size size"]:
        """Of each pixel in [0, 1] where all others are known, precision units at their half."""
        half = torch.full((1, self.machine.n_hidden), 0.5)
        diagonal = self._natural(half)[1][0].double() @ self.machine.whiten.double().square()
        return diagonal.view(1, 3, self.size, self.size) / self.patch_std.double().square().view(3, 1, 1)

    def information(self, change: Float[Tensor, "n 3 size size"]) -> Float[Tensor, " n"]:
        """How many squared standard deviations of the glimpse a change of it is, pixels in [0, 1], s at its half."""
        away = (change / self.patch_std.view(3, 1, 1)).flatten(1).float() @ self.machine.whiten.T
        half = torch.full((1, self.machine.n_hidden), 0.5)
        return (away.square() * self._natural(half)[1]).sum(1, dtype=torch.float64)

    def _natural(self, h: Float[Tensor, "n H"]) -> tuple[Tensor, Tensor]:
        """P(s) times the mean of y, and P(s)."""
        machine, (where, _, down) = self.machine, self._moved
        linear = (machine.b * machine.precision).repeat(len(h), 1)
        moved = product(rows(h[:, : machine.n_mean]), rows(down), np.zeros(len(where), np.float32))
        linear[:, where] += torch.from_numpy(moved)
        gates = h[:, machine.n_mean :].unflatten(1, tuple(machine.precisions.shape))
        return linear, machine.gated(gates)
