"""The Gaussian-binary machine with precision units, over whitened pixels.

Photographs of one kind of thing differ in contrast and sharpness as a whole: what a Gaussian misses of them is mostly a
scale that many directions share (Wainwright, Simoncelli 2000). Binary units that gate precisions, beside those that
move means, say it (Ranzato, Hinton 2010; here a precision unit gates the energy of a whole band of directions). With
x = A (v - m) in bands b, and |x_b|^2 the energy of one,

    -E(x, h, s) = sum_i [-x_i^2 / (2 sigma_i^2) + x_i (b_i + (W h)_i) / sigma_i^2] + c.h
                  + sum_bk s_bk (c_bk - lambda_bk |x_b|^2 / 2),       lambda_bk >= 0,

so that all hidden units are independent given x, all x_i given (h, s), and

    p(h_j = 1 | x) = sigmoid(c_j + sum_i W_ij x_i / sigma_i^2),
    p(s_bk = 1 | x) = sigmoid(c_bk - lambda_bk |x_b|^2 / 2),
    x_i | h, s ~ N((b_i + (W h)_i) / (sigma_i^2 P_i), 1 / P_i),    P_i = 1 / sigma_i^2 + sum_k lambda_bk s_bk  (b of i).

Without precision units it is `GaussianBernoulliRBM` in other coordinates. A direction may be in no band (-1). log Z is
closed where every mean unit touches one direction (`log_z_closed`). The hidden layer is h and, behind it, s band by
band; densities are of v, so log |det A| is counted.
"""

import math

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn

from foveate.boltzmann.draws import Random
from foveate.boltzmann.log_z.path import Affine, Path
from foveate.boltzmann.machine import Machine
from foveate.boltzmann.training.settings import Rule
from foveate.boltzmann.units import BINARY, GAUSSIAN, Hidden, Mask, Natural, Visible
from foveate.errors import BadInput
from foveate.runtime.random import generator

MOST_GATES = 16  # Precision units of a band, whose states log Z sums over
_LINEAR = 40.0  # Above it softplus(x) is x in float64 too
_STEP, _BEYOND = 0.25, 13.0
"""Of the grid that integrates one direction, in standard deviations: how fine, and how far beyond the outermost mean.
The integrand is a sum of Gaussians that wide, for which the trapezoidal rule errs by exp(-2 pi^2 / _STEP^2)."""


class PrecisionRBM(Machine):
    """D real units in whitened coordinates, M binary ones that move means, B bands of K that gate precisions.

    Attributes:
        W, b, c: [D, M] couplings of x and h, [D] means of x without hidden units, [M] biases of h.
        log_sigma: [D] log of the standard deviation of x_i where no precision unit is on.
        precisions, precision_c: [B, K] lambda, and biases of s.
        band: [D] the band of each whitened direction, from 0; -1: of none.
        mean, whiten: [D] m and [D, D] A; zero and the identity until they are set.
    """

    visible = GAUSSIAN
    hidden = BINARY
    band: Tensor
    mean: Tensor
    whiten: Tensor

    def __init__(self, n_visible: int, n_mean: int, band: Int64[Tensor, " visible"], n_bands: int, n_gates: int):
        super().__init__()
        if n_visible < 1 or n_mean < 1 or len(band) != n_visible:
            units = f"{n_visible} visible, {n_mean} mean units"
            raise BadInput(f"{units}: expected 1 or more, and a band each of {len(band)}")
        if not 1 <= n_gates <= MOST_GATES or n_bands < 1 or not -1 <= int(band.min()) <= int(band.max()) < n_bands:
            expected = f"expected 1 to {MOST_GATES} of these, and band from -1 to {n_bands - 1}"
            raise BadInput(f"{n_bands} bands, {n_gates} precision units each: {expected}")
        self.W, self.b = _zeros(n_visible, n_mean), _zeros(n_visible)
        self.c, self.log_sigma = _zeros(n_mean), _zeros(n_visible)
        self.precisions, self.precision_c = _zeros(n_bands, n_gates), _zeros(n_bands, n_gates)
        self._inverse: tuple[Tensor, int, tuple[Tensor, float]] | None = None
        self.register_buffer("band", band.long())
        self.register_buffer("mean", torch.zeros(n_visible))
        self.register_buffer("whiten", torch.eye(n_visible))

    @property
    def n_visible(self) -> int:
        return self.W.shape[0]

    @property
    def n_mean(self) -> int:
        """M."""
        return self.W.shape[1]

    @property
    def n_hidden(self) -> int:
        return self.n_mean + self.precisions.numel()

    @property
    def precision(self) -> Float[Tensor, " visible"]:
        """1 / sigma^2, of x where no precision unit is on."""
        return torch.exp(-2 * self.log_sigma)

    def coordinates(self, v: Visible) -> Visible:
        """x = A (v - m)."""
        return (v - self.mean) @ self.whiten.T

    def pixels(self, x: Visible) -> Visible:
        """v of x."""
        return x @ self.unwhiten.T + self.mean

    @property
    def unwhiten(self) -> Float[Tensor, "visible visible"]:
        """A^-1, inverted once."""
        return self._of_whitening()[0].to(self.whiten)

    @property
    def log_det(self) -> float:
        """log |det A|: nats by which a log density of v is above that of x."""
        return self._of_whitening()[1]

    def _of_whitening(self) -> tuple[Tensor, float]:
        known = self._inverse
        if known is None or known[0] is not self.whiten or known[1] != self.whiten._version:
            exact = self.whiten.double()
            inverse = torch.linalg.inv(exact), float(torch.linalg.slogdet(exact).logabsdet)
            known = self._inverse = (self.whiten, self.whiten._version, inverse)
        return known[2]

    def in_coordinates(self) -> "PrecisionRBM":
        """The same machine over x."""
        made = self.like()
        made.mean.zero_()
        made.whiten.copy_(torch.eye(self.n_visible))
        return made

    def hidden_natural(self, v: Visible) -> Natural:
        x = self.coordinates(v)
        return (torch.cat([torch.addmm(self.c, x * self.precision, self.W), self.gate_input(x).flatten(1)], 1),)

    def visible_natural(self, h: Hidden) -> Natural:
        """Natural parameters of x, whose units are independent given h; those of v are not."""
        means, gates = h[:, : self.n_mean], h[:, self.n_mean :].unflatten(1, tuple(self.precisions.shape))
        return torch.addmm(self.b, means, self.W.T) * self.precision, self.gated(gates)

    def gate_input(self, x: Visible) -> Float[Tensor, "batch bands gates"]:
        """c_bk - lambda_bk |x_b|^2 / 2: log-odds of the precision units, from coordinates."""
        inside = torch.nn.functional.one_hot(self.band + 1, len(self.precisions) + 1)[:, 1:]
        return self.precision_c - 0.5 * (x.square() @ inside.to(x))[:, :, None] * self.precisions

    def gated(self, gates: Float[Tensor, "batch bands gates"]) -> Visible:
        """P_i = 1 / sigma_i^2 + sum_k lambda_bk s_bk, b of i."""
        added = (gates * self.precisions).sum(2)
        return self.precision + torch.cat([torch.zeros_like(added[:, :1]), added], 1)[:, self.band + 1]

    def visible_own(self, v: Visible) -> Float[Tensor, " batch"]:
        x = self.coordinates(v)
        return (x * (self.b - 0.5 * x) * self.precision).sum(1)

    def hidden_own(self, h: Hidden) -> Float[Tensor, " batch"]:
        return h @ torch.cat([self.c, self.precision_c.flatten()])

    def free_energy_hidden(self, h: Hidden) -> Float[Tensor, " batch"]:
        return super().free_energy_hidden(h) + self.log_det

    def free_energy(self, v: Visible) -> Float[Tensor, " batch"]:
        return -self.log_mass(v).to(v)

    def log_mass(self, v: Visible) -> Float64[Tensor, " batch"]:
        """As a machine's: products in the machine's type, sums in float64."""
        x = self.coordinates(v)
        own = (x * (self.b - 0.5 * x) * self.precision).sum(1, dtype=torch.float64)
        moved = torch.nonzero(torch.linalg.vector_norm(self.W, dim=1)).flatten()  # of few directions
        means = torch.addmm(self.c, (x * self.precision)[:, moved], self.W[moved])
        for eta in (means, self.gate_input(x).flatten(1)):
            own += torch.nn.functional.softplus(eta, threshold=_LINEAR).sum(1, dtype=torch.float64)
        return own

    def visible_mean(self, h: Hidden) -> Visible:
        """mu(h, s), the mean of v."""
        return self.pixels(self.visible.mean(self.visible_natural(h)))

    def draw_visible(self, h: Hidden, random: Random) -> Visible:
        return self.pixels(self.visible.draw(self.visible_natural(h), random).to(h))

    def draw_masked(self, h: Hidden, v: Visible, mask: Mask, random: Random) -> Visible:
        """v with masked units U drawn given h and the others K, on which they depend: Lambda = A^T diag(P(h)) A.

        A draw v' of all units is moved by -Lambda_UU^-1 Lambda_UK (v - v')_K, which makes its mean and its covariance
        those of U given K. Solves systems of [batch, visible, visible].
        """
        drawn, precision = self.draw_visible(h, random), self.visible_natural(h)[1]
        away = torch.where(mask, torch.zeros_like(v), v - drawn)
        pull = ((away @ self.whiten.T) * precision) @ self.whiten
        lambdas = (self.whiten.T * precision[:, None]) @ self.whiten
        inside = mask[:, :, None] & mask[:, None, :]
        system = torch.where(inside, lambdas, torch.eye(self.n_visible).to(lambdas))
        moved = torch.linalg.solve(system, torch.where(mask, pull, torch.zeros_like(pull)))
        return torch.where(mask, drawn - moved, v)

    def log_prob_given_hidden(self, v: Float[Tensor, "#batch visible"], h: Hidden) -> Float64[Tensor, " batch"]:
        """log p(v | h, s), in nats; products in the machine's type, sums in float64."""
        eta = tuple(value.double() for value in self.visible_natural(h))
        x = self.coordinates(v).double().expand_as(eta[0])
        return self.visible.dot(eta, x) - self.visible.log_normaliser(eta) + self.log_det

    def visible_deviation(self) -> Float[Tensor, " visible"]:
        """Standard deviation of each pixel given hidden units, precision units off and on by halves."""
        _, precision = self.visible_natural(torch.full((1, self.n_hidden), 0.5).to(self.W))
        return (self.unwhiten.square() / precision).sum(1).sqrt()

    def mean_field(self) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """up, c, down, b with mu(E[h | v]) = b + sigmoid(c + v up) down; None where precisions change the means, which
        they don't where the directions that mean units move are in no band."""
        where = (self.W != 0).any(1) | (self.b != 0)
        if (self.band[where] >= 0).any():
            return None
        up = self.whiten[where].T @ (self.W * self.precision[:, None])[where]
        out = self.unwhiten.T[where]
        return up, self.c - self.mean @ up, self.W[where].T @ out, self.mean + self.b[where] @ out

    def moments(self) -> tuple[Tensor, Tensor]:
        """Those of the data by which v was whitened: coordinates of mean 0 and covariance 1."""
        out = self.unwhiten.double().cpu()
        return self.mean.double().cpu(), out @ out.T

    def chained_gates(self) -> Bool[Tensor, "gates"]:
        """Whether each precision unit follows its neighbour: all but the first of a band do."""
        return torch.arange(self.precisions.numel()) % self.precisions.shape[1] > 0

    def log_z_closed(self) -> float | None:
        """log Z, in nats, in float64; None where a mean unit touches several directions.

            Z = |det A|^-1 prod_b sum_s exp(c_b.s) prod_(i in b) Z_i(P_i(s)),
            Z_i(P) = integral exp(-P x^2 / 2 + x b_i / sigma_i^2) prod_(j of i) (1 + exp(c_j + W_ij x / sigma_i^2)) dx

        and a direction of no band counts once. Z_i is closed where i has no mean units; else, a sum of 2^n Gaussians,
        it is integrated by the trapezoidal rule, which is exact to the last digits for it.
        """
        exact = self.exactly()
        if ((exact.W != 0).sum(0) > 1).any():
            return None
        idle = (exact.W == 0).all(0)
        log_z = float(BINARY.log_normaliser((exact.c[idle],))) - float(torch.linalg.slogdet(exact.whiten).logabsdet)
        alone = exact.precision[:, None]
        log_z += float(exact._log_z_each(exact.band < 0, alone[exact.band < 0]).sum())
        states = BINARY.states(torch.arange(2 ** self.precisions.shape[1]), self.precisions.shape[1])
        for one, (gains, biases) in enumerate(zip(exact.precisions, exact.precision_c, strict=True)):
            mine = exact.band == one
            each = exact._log_z_each(mine, alone[mine] + states @ gains)
            log_z += float(torch.logsumexp(states @ biases + each.sum(0), 0))
        return log_z

    def _log_z_each(self, mine: Tensor, precision: Float[Tensor, "some states"]) -> Float[Tensor, "some states"]:
        """log Z_i(P) of the directions `mine` at some precisions each."""
        linear = (self.b * self.precision)[mine][:, None]
        found = 0.5 * (linear.square() / precision + math.log(2 * math.pi) - precision.log())
        couplings, own = self.W[mine], self.precision[mine]
        for row in torch.nonzero((couplings != 0).any(1)).flatten().tolist():
            units = couplings[row] != 0
            w, c = couplings[row, units] * own[row], self.c[units]
            ends = linear[row] + torch.stack([w.clamp(max=0).sum(), w.clamp(min=0).sum()])
            means, width = ends[:, None] / precision[row], precision[row].rsqrt()
            first, last = float((means - _BEYOND * width).min()), float((means + _BEYOND * width).max())
            step = _STEP * float(width.min())
            x = torch.arange(first, last + step, step, dtype=torch.float64)
            bends = linear[row] * x + torch.logaddexp(c + x[:, None] * w, torch.zeros(1, dtype=x.dtype)).sum(1)
            found[row] = torch.logsumexp(bends - 0.5 * precision[row][:, None] * x.square(), 1) + math.log(step)
        return found

    def path(self, data: Float[Tensor, "n visible"], smoothing: float = 1.0) -> Path:
        """The annealing path, in whitened coordinates."""
        exact, v = self.exactly(), data.detach().to("cpu", torch.float64)
        x = exact.in_coordinates()
        visible, hidden = x.reference(exact.coordinates(v), smoothing)
        at = Affine(origin=exact.mean, into=exact.whiten.T, rest=exact.mean, out=exact.unwhiten.T)
        return Path(x, visible, hidden, -exact.log_det, at)

    def begin(self, data: Float[Tensor, "n visible"], seed: int) -> None:
        """The data's moments, small random weights, and precision units that divide the deviation step by step."""
        x = self.coordinates(data)
        sigma = x.std(0, correction=0).clamp(min=1e-3 * float(x.std()) or 1e-3)
        noise = torch.randn(self.W.shape, generator=generator(seed, "weights"))
        self.W.copy_(noise * sigma[:, None].cpu() * (0.1 / self.n_visible**0.5))
        self.b.copy_(x.mean(0))
        self.log_sigma.copy_((1.5 * sigma).log())
        gates = torch.arange(1.0, self.precisions.shape[1] + 1).to(self.W)
        for one in range(len(self.precisions)):
            self.precisions[one] = self.precision[self.band == one].mean() * gates / gates.sum() * 2

    def rates(self, rule: Rule) -> dict[str, float]:
        return {"log_sigma": rule.rate_log_sigma}

    def constrain(self, rule: Rule) -> None:
        self.log_sigma.clamp_(min=rule.log_sigma_floor)
        self.precisions.clamp_(min=0.0)


def _zeros(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape), requires_grad=False)
