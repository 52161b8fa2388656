"""The Gaussian-binary restricted Boltzmann machine: real visible units, each with a learned standard deviation."""

import math
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn

from foveate.boltzmann.draws import Random
from foveate.boltzmann.log_z.fused_path import FusedPath
from foveate.boltzmann.log_z.path import Affine, Path
from foveate.boltzmann.rbm import RestrictedBoltzmannMachine
from foveate.boltzmann.training.centred import CentredAscent
from foveate.boltzmann.training.settings import Rule
from foveate.boltzmann.units import GAUSSIAN, Hidden, Natural, Visible
from foveate.runtime.random import generator

SHARE_ON = 0.1  # of its hidden units, where nothing has been learned


class GaussianBernoulliRBM(RestrictedBoltzmannMachine):
    """Real visible units with a learned standard deviation each (log_sigma [visible]), binary hidden units.

    E(v, h) = sum_i (v_i - b_i)^2 / (2 sigma_i^2) - sum_j c_j h_j - sum_ij (v_i / sigma_i^2) W_ij h_j, so that
    p(h_j = 1 | v) = sigmoid(c_j + sum_i W_ij v_i / sigma_i^2) and v_i | h ~ N(b_i + sum_j W_ij h_j, sigma_i^2)
    (Tang, Srivastava, Salakhutdinov 2014, supplement, with W_theirs = W / sigma^2; Cho, Ilin, Raiko 2011).
    """

    visible = GAUSSIAN
    ascent = CentredAscent(scaled=True)

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

    def visible_deviation(self) -> Float[Tensor, " visible"]:
        """Standard deviation of each pixel given hidden units: sigma."""
        return self.sigma

    def sent(self, v: Visible) -> Visible:
        return v * self.precision

    def visible_natural(self, h: Hidden) -> Natural:
        mu = self.visible_mean(h)
        return mu * self.precision, self.precision.expand_as(mu)

    def visible_own(self, v: Visible) -> Float[Tensor, " batch"]:
        """-sum_i (v_i - b_i)^2 / (2 sigma_i^2)."""
        return -(0.5 * (v - self.b).square() @ self.precision.to(v.dtype))

    def hidden_own(self, h: Hidden) -> Float[Tensor, " batch"]:
        """c.h - sum_i b_i^2 / (2 sigma_i^2)."""
        return h @ self.c - 0.5 * self.b.square() @ self.precision

    def visible_mean(self, h: Hidden) -> Visible:
        """mu(h) = b + W h, the mean of v given h."""
        return self.visible_input(h)

    def mean_field(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """up, c, down, b with mu(E[h | v]) = b + sigmoid(c + v up) down."""
        return self.W / torch.exp(2 * self.log_sigma)[:, None], self.c, self.W.T, self.b

    def chained_gates(self) -> Bool[Tensor, "gates"]:
        """Of hidden units beyond those that move means, whether each follows its neighbour; there are none."""
        return torch.zeros(0, dtype=torch.bool)

    def draw_visible(self, h: Hidden, random: Random) -> Visible:
        mu = self.visible_mean(h)
        return mu + self.sigma * random.normal(mu)

    def begin(self, data: Float[Tensor, "n visible"], seed: int) -> None:
        """A diagonal Gaussian with the data's moments, but for small random weights; P(h_j = 1) = `SHARE_ON`.

        No sigma is below a thousandth of the root mean square of all.
        """
        sigma = data.std(0, correction=0)
        sigma = sigma.clamp(min=1e-3 * float(sigma.square().mean().sqrt()) or 1e-3).cpu()
        noise = torch.randn(self.W.shape, generator=generator(seed, "weights"))
        self.W.copy_(noise * sigma[:, None] * (0.1 / self.n_visible**0.5))
        self.b.copy_(data.mean(0))
        self.c.fill_(math.log(SHARE_ON / (1 - SHARE_ON)))
        self.log_sigma.copy_(sigma.log())

    def usual_rule(self, steps: int) -> Rule:
        return replace(super().usual_rule(steps), rate_log_sigma=0.01)

    def figures(self, log_sigma_floor: float) -> dict[str, float]:
        """Share of the standard deviations at their floor, the smallest, and the median."""
        at_floor = (self.log_sigma <= log_sigma_floor).double().mean()
        found = {"sigma_at_floor": at_floor, "sigma_smallest": self.sigma.min(), "sigma_median": self.sigma.median()}
        return {name: float(value) for name, value in found.items()}

    def log_prob_given_hidden(self, v: Float[Tensor, "#batch visible"], h: Hidden) -> Float64[Tensor, " batch"]:
        """log p(v | h) = -sum_i log sigma_i - (D/2) log 2 pi - 1/2 sum_i (v_i - mu_i(h))^2 / sigma_i^2, in nats.

        The product W h is in the machine's type, everything else in float64.
        """
        log_sigma = self.log_sigma.double()
        residual = (v - self.b).double() - (h @ self.W.T).double()
        constant = log_sigma.sum() + 0.5 * self.n_visible * math.log(2 * math.pi)
        return -0.5 * (residual.square() @ torch.exp(-2 * log_sigma)) - constant

    def path(self, data: Float[Tensor, "n visible"], smoothing: float = 1.0) -> Path:
        """The annealing path, in the directions that the hidden units see, compiled where it runs on a CPU.

        With y_i = v_i / sigma_i the machine's couplings are A = diag(1 / sigma) W, and only the directions of y that A
        reaches have anything to do with the hidden units. In coordinates z = U^T y of its singular vectors
        (A = U S V^T, r = min(D, H) of them)

            Z = prod_i sigma_i  (2 pi)^((D - r) / 2)  integral sum_h exp(-|z - delta|^2 / 2 + c'.h + z.S V^T h) dz,

        so that annealing runs in r dimensions instead of D, and its base can have the data's variance along each of
        them: far closer to the machine than independent pixels. z is measured from the data's mean, which keeps all
        numbers small.
        """
        exact, v = self.exactly(), data.detach().to("cpu", torch.float64)
        per_sigma, origin = 1 / exact.sigma, v.mean(0)
        left, singular, right = torch.linalg.svd(exact.W * per_sigma[:, None], full_matrices=False)
        turned = GaussianBernoulliRBM(len(singular), exact.n_hidden).double()
        turned.W.copy_(singular[:, None] * right)
        turned.b.copy_(((exact.b - origin) * per_sigma) @ left)
        turned.c.copy_(exact.c + (origin * per_sigma.square()) @ exact.W)
        turned_away = (exact.b - origin) * per_sigma
        coordinates = Affine(
            origin=origin,
            into=per_sigma[:, None] * left,
            rest=origin + (turned_away - turned_away @ left @ left.T) / per_sigma,
            out=left.T / per_sigma,
        )
        z = (v - origin) @ coordinates.into
        # Smoothed with the machine's own variances, 1 in these coordinates, and never less.
        variance = ((z.square().sum(0) + smoothing) / (len(z) + smoothing)).clamp(min=1.0)
        (log_odds,) = turned.hidden.fitted(turned.hidden_mean(z), smoothing)
        base_hidden = torch.where((exact.W == 0).all(0), turned.c, log_odds)
        free = exact.n_visible - len(singular)
        outside = float(exact.log_sigma.sum()) + 0.5 * free * math.log(2 * math.pi)
        path = Path(turned, (torch.zeros_like(variance), 1 / variance), (base_hidden,), outside, coordinates)
        return FusedPath.of(path, turned.W, turned.b, turned.c, torch.ones_like(variance))
