"""What v and h1 are, given where the gaze is: the conditionals that alternate with the moves of u.

With x(u) the standardised glimpse, mu(h1) = b + W h1, and the pixels under the gaze x_i ~ N(v_i, sigma_i^2),

    p(v | h1, u, I) = N((mu(h1) + x(u)) / 2, sigma^2 / 2),
    p(h1_j = 1 | v) = sigmoid(c_j + sum_i W_ij v_i / sigma_i^2)      (the Gaussian-Bernoulli RBM's),

and, with v integrated out, x_i | h1 ~ N(mu_i(h1), 2 sigma_i^2).
(Tang, Srivastava & Salakhutdinov 2014, section 3.)
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from foveate.attention.posterior.products import product, sample_bernoulli, sample_normal
from foveate.boltzmann.dbn import GaussianDBN


class Patches(ABC):
    """A first layer and the standardisation of its patches."""

    patch_mean: Float[Tensor, "3"]  # v = (pixel - mean) / std, channel by channel
    patch_std: Float[Tensor, "3"]  # see `patch_mean`

    @property
    @abstractmethod
    def dim(self) -> int:
        """D."""

    @property
    @abstractmethod
    def n_hidden(self) -> int:
        """How many units h1 has."""

    @abstractmethod
    def visible_mean(self, h: Float[Tensor, "n H"]) -> Float[Tensor, "n D"]:
        """mu(h1)."""

    @abstractmethod
    def sample_visible(
        self,
        keys: Int64[Tensor, " n"],
        sweep: int,
        mu: Float[Tensor, "n D"],
        h: Float[Tensor, "n H"],
        x: Float[Tensor, "n D"],
    ) -> Float[Tensor, "n D"]:
        """A draw of v given h1, whose mean of v is mu, and the glimpse."""

    @abstractmethod
    def hidden_input(self, v: Float[Tensor, "n D"]) -> Float[Tensor, "n H"]:
        """Log-odds of each hidden unit given v."""

    @abstractmethod
    def log_density(self, x: Float[Tensor, "n D"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n D"]]:
        """-F(x), the first layer's log density but for its log Z, and its gradient in x."""

    @abstractmethod
    def information(self, change: Float[Tensor, "n 3 size size"]) -> Float[Tensor, " n"]:
        """How many squared standard deviations of the glimpse a change of it is, in pixels in [0, 1]."""

    @abstractmethod
    def pixel_precision(self) -> Float[Tensor, "1 3 size size"]:
        """1 / variance of each pixel in [0, 1] given v and all other pixels."""

    @property
    def numbers(self) -> int:
        """How many numbers of its stream a chain uses for one draw of v and h1."""
        return self._of_visible + self.n_hidden

    @property
    def _of_visible(self) -> int:
        """Those for v: normal numbers come in pairs."""
        return self.dim + self.dim % 2

    def sample_hidden(self, keys: Int64[Tensor, " n"], sweep: int, v: Float[Tensor, "n D"]) -> Float[Tensor, "n H"]:
        """A draw of h1 given v."""
        log_odds = rows(self.hidden_input(v))
        out = np.empty_like(log_odds)
        sample_bernoulli(keys.numpy(), sweep * self.numbers + self._of_visible, log_odds, out)
        return torch.from_numpy(out)

    @property
    def size(self) -> int:
        """Side of the patch."""
        return round((self.dim / 3) ** 0.5)

    def standardise(self, pixels: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n D"]:
        """x from pixels in [0, 1]."""
        return ((pixels - self.patch_mean.view(3, 1, 1)) / self.patch_std.view(3, 1, 1)).flatten(1)

    def to_pixels(self, v: Float[Tensor, "#n D"]) -> Float[Tensor, "#n 3 size size"]:
        """Pixels in [0, 1] units from v."""
        return v.view(-1, 3, self.size, self.size) * self.patch_std.view(3, 1, 1) + self.patch_mean.view(3, 1, 1)


@dataclass(frozen=True)
class PatchConditionals(Patches):
    """A Gaussian-Bernoulli RBM, laid out for the compiled passes."""

    W: Float[Tensor, "D H"]  # couplings; b, c and log_sigma as in `GaussianBernoulliRBM`
    b: Float[Tensor, " D"]  # visible biases
    c: Float[Tensor, " H"]  # hidden biases
    log_sigma: Float[Tensor, " D"]  # log standard deviations
    patch_mean: Float[Tensor, "3"]
    patch_std: Float[Tensor, "3"]

    @cached_property
    def _up(self) -> np.ndarray:
        """W / sigma^2, rows by visible unit."""
        return rows(self.W * torch.exp(-2 * self.log_sigma).unsqueeze(1))

    @cached_property
    def _down(self) -> np.ndarray:
        """W turned, rows by hidden unit."""
        return rows(self.W.T)

    @cached_property
    def _spread(self) -> np.ndarray:
        """Standard deviation of v given h1 and the glimpse."""
        return rows(torch.exp(self.log_sigma) / 2**0.5)

    @cached_property
    def _precision(self) -> Float[Tensor, " D"]:
        """1 / sigma^2."""
        return torch.exp(-2 * self.log_sigma)

    @classmethod
    def of(cls, dbn: GaussianDBN) -> "PatchConditionals":
        """The first layer of a Gaussian DBN."""
        grbm = dbn.grbm
        parts = (grbm.W, grbm.b, grbm.c, grbm.log_sigma, dbn.patch.get_buffer("mean"), dbn.patch.get_buffer("std"))
        return cls(*(part.detach().cpu() for part in parts))

    @property
    def dim(self) -> int:
        return len(self.b)

    @property
    def n_hidden(self) -> int:
        return len(self.c)

    def pixel_precision(self) -> Float[Tensor, "1 3 size size"]:
        """1 / sigma^2 in units of pixels in [0, 1]."""
        precision = torch.exp(-2 * self.log_sigma.double()).view(1, 3, self.size, self.size)
        return precision / self.patch_std.double().square().view(3, 1, 1)

    def information(self, change: Float[Tensor, "n 3 size size"]) -> Float[Tensor, " n"]:
        return torch.from_numpy((self.pixel_precision() * change.square()).flatten(1).numpy().sum(1))

    def visible_mean(self, h: Float[Tensor, "n H"]) -> Float[Tensor, "n D"]:
        """mu(h1) = b + W h1."""
        return torch.from_numpy(product(rows(h), self._down, rows(self.b)))

    def hidden_input(self, v: Float[Tensor, "n D"]) -> Float[Tensor, "n H"]:
        """Log-odds of each hidden unit given v."""
        return torch.from_numpy(product(rows(v), self._up, rows(self.c)))

    def log_density(self, x: Float[Tensor, "n D"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n D"]]:
        """-F(x), the GRBM's log density but for its log Z, and its gradient in x.

        F(x) = sum_i (x_i - b_i)^2 / (2 sigma_i^2) - sum_j log(1 + exp(c_j + sum_i W_ij x_i / sigma_i^2)), hence
        -dF/dx_i = (mu_i(h) - x_i) / sigma_i^2 with h_j = P(h1_j = 1 | x).
        """
        # The library's products: several times as fast on dense rows, but their last bits depend on the batch.
        log_odds = torch.addmm(self.c, x, torch.from_numpy(self._up))
        away = x - self.b
        fit = 0.5 * (away.square() * self._precision).sum(1, dtype=torch.float64)
        mean = torch.addmm(self.b, torch.sigmoid(log_odds), torch.from_numpy(self._down))
        value = F.softplus(log_odds).sum(1, dtype=torch.float64) - fit
        return value, (mean - x) * self._precision

    def sample_visible(
        self,
        keys: Int64[Tensor, " n"],
        sweep: int,
        mu: Float[Tensor, "n D"],
        h: Float[Tensor, "n H"],
        x: Float[Tensor, "n D"],
    ) -> Float[Tensor, "n D"]:
        """A draw of v given h1, whose mean of v is mu, and the glimpse."""
        mean = ((mu + x) / 2).numpy()
        out = np.empty_like(mean)
        sample_normal(keys.numpy(), sweep * self.numbers, mean, self._spread, out)
        return torch.from_numpy(out)


def rows(tensor: Tensor) -> np.ndarray:
    """A tensor's numbers as compiled loops take them."""
    return np.ascontiguousarray(tensor.numpy(), np.float32)
