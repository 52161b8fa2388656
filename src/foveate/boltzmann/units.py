"""Kinds of units: a layer of independent units, given what reaches it, as an exponential family.

    p(s | eta) = exp(sum_k eta_k . t_k(s) - A(eta)),

with natural parameters eta_k [n, units], sufficient statistics t_k and the log-normaliser A, which sums (or
integrates) over all states of the layer (Welling, Rosen-Zvi, Hinton 2005, "Exponential family harmoniums"). All that
sampling, annealing and exact sums ask of a layer is here: a new kind of unit is a subclass of `Units`.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import softplus

from foveate.boltzmann.draws import Random
from foveate.errors import BadInput

Natural = tuple[Tensor, ...]
"""Natural parameters: a tensor [n, units] for each sufficient statistic (or [units], the same for all rows)."""

Visible = Float[Tensor, "batch visible"]
Hidden = Float[Tensor, "batch hidden"]
Mask = Bool[Tensor, "#batch visible"]


class Units(ABC):
    """A kind of unit."""

    states_each: int | None = None  # how many states a unit has; None where they can't be counted
    stored: torch.dtype = torch.float32  # in which type states are kept

    @abstractmethod
    def log_normaliser(self, eta: Natural) -> Float[Tensor, "*n"]:
        """A(eta), summed over the layer."""

    @abstractmethod
    def dot(self, eta: Natural, s: Float[Tensor, "n units"]) -> Float[Tensor, " n"]:
        """sum_k eta_k . t_k(s)."""

    @abstractmethod
    def mean(self, eta: Natural) -> Float[Tensor, "n units"]:
        """E[s]."""

    @abstractmethod
    def draw(self, eta: Natural, random: Random) -> Float[Tensor, "n units"]:
        """Independent states."""

    @abstractmethod
    def fitted(self, s: Float[Tensor, "m units"], smoothing: float) -> Natural:
        """[units] natural parameters with the moments of states (or means) s, smoothed so that nothing is certain."""

    def scattered(
        self, typical: Float[Tensor, "m units"], base: Natural, generator: torch.Generator
    ) -> Float[Tensor, "rows units"] | None:
        """[4 m, units] states for ensembles that start apart, m each: at typical states, at draws of a base [units],
        anywhere, opposite to the typical ones; None: better had by way of the other layer."""
        return None

    def states(self, index: Int64[Tensor, " n"], units: int) -> Float[Tensor, "n units"]:
        """Some of the states_each ** units states of a layer, by number, in float64."""
        raise NotImplementedError

    def check(self, data: Float[Tensor, "n units"]) -> None:
        """Raise BadInput, which says what is expected, where data can't be states, or means of states."""
        if len(data) == 0 or not torch.isfinite(data).all():
            raise BadInput(f"data of shape {list(data.shape)}: expected at least one row, and finite numbers only")


class Binary(Units):
    """Zeros and ones: eta the log-odds of 1, t(s) = s, A = sum_j log(1 + exp(eta_j))."""

    states_each = 2
    stored = torch.uint8

    def log_normaliser(self, eta: Natural) -> Float[Tensor, "*n"]:
        (x,) = eta
        whole = x.dtype == torch.float64  # torch's softplus takes x for it above 20, which is off by 2e-9
        return (torch.logaddexp(x, torch.zeros_like(x)) if whole else softplus(x)).sum(-1)

    def dot(self, eta: Natural, s: Float[Tensor, "n units"]) -> Float[Tensor, " n"]:
        return (eta[0] * s).sum(-1)

    def mean(self, eta: Natural) -> Float[Tensor, "n units"]:
        return torch.sigmoid(eta[0])

    def draw(self, eta: Natural, random: Random) -> Float[Tensor, "n units"]:
        return random.binary(eta[0])

    def fitted(self, s: Float[Tensor, "m units"], smoothing: float) -> Natural:
        on = s.sum(0) + smoothing  # imaginary observations of either state (Laplace)
        return (torch.log(on) - torch.log(len(s) + 2 * smoothing - on),)

    def scattered(
        self, typical: Float[Tensor, "m units"], base: Natural, generator: torch.Generator
    ) -> Float[Tensor, "rows units"]:
        even = torch.full_like(typical, 0.5)
        mean = torch.cat([typical, torch.sigmoid(base[0]).to(typical).expand_as(typical), even, 1 - typical])
        return (torch.rand(mean.shape, generator=generator) < mean).to(typical)

    def states(self, index: Int64[Tensor, " n"], units: int) -> Float[Tensor, "n units"]:
        return ((index[:, None] >> torch.arange(units)) & 1).double()

    def check(self, data: Float[Tensor, "n units"]) -> None:
        super().check(data)
        if not 0 <= float(data.min()) <= float(data.max()) <= 1:
            raise BadInput(f"data from {float(data.min()):g} to {float(data.max()):g}: binary units take 0 to 1")


class Gaussian(Units):
    """Real numbers: eta = (linear coefficient e, precision P > 0), t(s) = (s, -s^2 / 2), mean e / P, variance 1 / P.

    A = 1/2 sum_i (e_i^2 / P_i - log P_i + log 2 pi). Interpolating e and P is interpolating energies.
    """

    def log_normaliser(self, eta: Natural) -> Float[Tensor, "*n"]:
        e, precision = eta
        return 0.5 * (e.square() / precision + math.log(2 * math.pi) - precision.log()).sum(-1)

    def dot(self, eta: Natural, s: Float[Tensor, "n units"]) -> Float[Tensor, " n"]:
        e, precision = eta
        return (s * (e - 0.5 * precision * s)).sum(-1)

    def mean(self, eta: Natural) -> Float[Tensor, "n units"]:
        e, precision = eta
        return e / precision

    def draw(self, eta: Natural, random: Random) -> Float[Tensor, "n units"]:
        e, precision = eta
        return e / precision + random.normal(e) / precision.sqrt()

    def fitted(self, s: Float[Tensor, "m units"], smoothing: float) -> Natural:
        mean = s.mean(0)
        squares = (s - mean).square()
        usual = squares.mean().clamp(min=torch.finfo(s.dtype).tiny)  # imaginary observations as wide as all are
        variance = (squares.sum(0) + smoothing * usual) / (len(s) + smoothing)
        return mean / variance, 1 / variance


BINARY, GAUSSIAN = Binary(), Gaussian()


def between(base: Natural, target: Natural, beta: float | Tensor) -> Natural:
    """(1 - beta) base + beta target, natural parameters of the mixture of energies; beta a number or one a row."""
    beta = beta[:, None] if isinstance(beta, Tensor) and beta.ndim else beta
    return tuple(one + beta * (other - one) for one, other in zip(base, target, strict=True))
