"""Restricted Boltzmann machines: energies, conditionals and free energies.

Two kinds, with the same face. Both are densities known up to their normaliser, p(x) = exp(-F(x)) / Z, where the free
energy F has the hidden units summed out. How they learn is in `contrastive.py`, what log Z is in `ais.py`.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from foveate.errors import BadInput

_MOST_NUMBERS = 1 << 22
"""In a tensor of [rows, visible, hidden]; more rows are taken one part after another."""


class RestrictedBoltzmannMachine(nn.Module):
    """What both kinds share: a bipartite graph of visible and binary hidden units.

    Attributes:
        W: [visible, hidden] couplings.
        b: [visible] visible biases (for Gaussian units, the mean when no hidden unit is on).
        c: [hidden] hidden biases.

    The parameters need no gradient: contrastive learning has its own. A new machine has W = b = c = 0; `initial.py` has
    starts made from data.
    """

    def __init__(self, n_visible: int, n_hidden: int):
        super().__init__()
        for name, value in (("n_visible", n_visible), ("n_hidden", n_hidden)):
            if value < 1:
                raise BadInput(f"{name} = {value}: a Boltzmann machine needs at least one unit on each side")
        self.W = nn.Parameter(torch.zeros(n_visible, n_hidden), requires_grad=False)
        self.b = nn.Parameter(torch.zeros(n_visible), requires_grad=False)
        self.c = nn.Parameter(torch.zeros(n_hidden), requires_grad=False)

    @property
    def n_visible(self) -> int:
        return self.W.shape[0]

    @property
    def n_hidden(self) -> int:
        return self.W.shape[1]

    def hidden_input(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch hidden"]:
        """Log-odds of each hidden unit given v."""
        raise NotImplementedError

    def hidden_mean(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch hidden"]:
        """p(h_j = 1 | v)."""
        return torch.sigmoid(self.hidden_input(v))

    def sample_hidden(
        self, v: Float[Tensor, "batch visible"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch hidden"]:
        """A draw of h given v, as zeros and ones."""
        return bernoulli(self.hidden_mean(v), generator)


class BernoulliRBM(RestrictedBoltzmannMachine):
    """Binary visible and hidden units: E(v, h) = -b.v - c.h - v.W h (Smolensky 1986; Hinton 2002).

    Args:
        n_visible: Number of visible units.
        n_hidden: Number of hidden units.
    """

    def hidden_input(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch hidden"]:
        return torch.addmm(self.c, v, self.W)

    def visible_input(self, h: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch visible"]:
        """Log-odds of each visible unit given h."""
        return torch.addmm(self.b, h, self.W.T)

    def energy(self, v: Float[Tensor, "batch visible"], h: Float[Tensor, "batch hidden"]) -> Float[Tensor, " batch"]:
        """E(v, h), in nats."""
        return -(v @ self.b) - h @ self.c - ((v @ self.W) * h).sum(1)

    def free_energy(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, " batch"]:
        """F(v) = -log sum_h exp(-E(v, h)) = -b.v - sum_j softplus(c_j + v.W_j), in nats."""
        return -(v @ self.b) - softplus(self.hidden_input(v)).sum(1)

    def pseudo_log_likelihood(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, " batch"]:
        """sum_i log P(v_i | all other v) = -sum_i softplus(F(v) - F(v with v_i flipped)), in nats (Besag 1975)."""
        rows = max(1, _MOST_NUMBERS // self.W.numel())
        return torch.cat([self._pseudo_log_likelihood(some) for some in v.split(rows)])

    def _pseudo_log_likelihood(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, " batch"]:
        x, change = self.hidden_input(v), 1 - 2 * v
        flipped = x[:, None] + change[:, :, None] * self.W
        gain = change * self.b + softplus(flipped).sum(2) - softplus(x).sum(1, keepdim=True)
        return -softplus(gain).sum(1)

    def free_energy_hidden(self, h: Float[Tensor, "batch hidden"]) -> Float[Tensor, " batch"]:
        """-log sum_v exp(-E(v, h)): the visible units summed out."""
        return -(h @ self.c) - softplus(self.visible_input(h)).sum(1)

    def visible_mean(self, h: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch visible"]:
        """p(v_i = 1 | h)."""
        return torch.sigmoid(self.visible_input(h))

    def sample_visible(
        self, h: Float[Tensor, "batch hidden"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch visible"]:
        """A draw of v given h, as zeros and ones."""
        return bernoulli(self.visible_mean(h), generator)


class GaussianBernoulliRBM(RestrictedBoltzmannMachine):
    """Real visible units with a learned standard deviation each, binary hidden units.

    E(v, h) = sum_i (v_i - b_i)^2 / (2 sigma_i^2) - sum_j c_j h_j - sum_ij (v_i / sigma_i^2) W_ij h_j, so that
    p(h_j = 1 | v) = sigmoid(c_j + sum_i W_ij v_i / sigma_i^2) and v_i | h ~ N(b_i + sum_j W_ij h_j, sigma_i^2)
    (Tang, Srivastava, Salakhutdinov 2014, supplement, with W_theirs = W / sigma^2; Cho, Ilin, Raiko 2011).

    Args:
        n_visible: Number of real visible units.
        n_hidden: Number of binary hidden units.

    Attributes:
        log_sigma: [visible] log of the standard deviation of v_i given h.
    """

    def __init__(self, n_visible: int, n_hidden: int):
        super().__init__(n_visible, n_hidden)
        self.log_sigma = nn.Parameter(torch.zeros(n_visible), requires_grad=False)

    @property
    def sigma(self) -> Float[Tensor, " visible"]:
        """Standard deviation of each visible unit given h."""
        return self.log_sigma.exp()

    @property
    def precision(self) -> Float[Tensor, " visible"]:
        """1 / sigma^2."""
        return torch.exp(-2 * self.log_sigma)

    def hidden_input(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch hidden"]:
        return torch.addmm(self.c, v * self.precision, self.W)

    def energy(self, v: Float[Tensor, "batch visible"], h: Float[Tensor, "batch hidden"]) -> Float[Tensor, " batch"]:
        """E(v, h), in nats."""
        scaled = v * self.precision
        return 0.5 * (v - self.b).square() @ self.precision - h @ self.c - ((scaled @ self.W) * h).sum(1)

    def free_energy(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, " batch"]:
        """F(v) = sum_i (v_i - b_i)^2 / (2 sigma_i^2) - sum_j softplus(c_j + sum_i W_ij v_i / sigma_i^2), in nats."""
        return 0.5 * (v - self.b).square() @ self.precision - softplus(self.hidden_input(v)).sum(1)

    def free_energy_hidden(self, h: Float[Tensor, "batch hidden"]) -> Float[Tensor, " batch"]:
        """-log integral_v exp(-E(v, h)): the visible units integrated out.

        With mu = b + W h: -c.h - sum_i [(mu_i^2 - b_i^2) / (2 sigma_i^2) + log sigma_i + log(2 pi) / 2].
        """
        mu = self.visible_mean(h)
        gain = 0.5 * (mu.square() - self.b.square()) @ self.precision
        return -(h @ self.c) - gain - self.log_sigma.sum() - 0.5 * self.n_visible * math.log(2 * math.pi)

    def visible_mean(self, h: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch visible"]:
        """mu(h) = b + W h, the mean of v given h."""
        return torch.addmm(self.b, h, self.W.T)

    def sample_visible(
        self, h: Float[Tensor, "batch hidden"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch visible"]:
        """A draw of v given h."""
        mu = self.visible_mean(h)
        return mu + self.sigma * _drawn(torch.randn, mu, generator)

    def log_prob_given_hidden(
        self, v: Float[Tensor, "batch visible"], h: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, " batch"]:
        """log p(v | h) = -sum_i log sigma_i - (D/2) log 2 pi - 1/2 sum_i (v_i - mu_i(h))^2 / sigma_i^2, in nats."""
        squares = (v - self.visible_mean(h)).square() @ self.precision
        return -0.5 * squares - self.log_sigma.sum() - 0.5 * self.n_visible * math.log(2 * math.pi)


def bernoulli(
    probability: Float[Tensor, "batch units"], generator: torch.Generator | None = None
) -> Float[Tensor, "batch units"]:
    """Independent zeros and ones with P(1) = probability; comparing is faster than torch.bernoulli."""
    return (_drawn(torch.rand, probability, generator) < probability).to(probability.dtype)


def _drawn(kind: Callable[..., Tensor], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Random numbers of a tensor's shape, type and device, drawn on the generator's device."""
    device = like.device if generator is None else generator.device
    return kind(like.shape, generator=generator, dtype=like.dtype, device=device).to(like.device)
