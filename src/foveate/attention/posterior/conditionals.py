"""What v and h1 are, given where the gaze is: the conditionals that alternate with the moves of u.

With x(u) the standardised glimpse, mu(h1) = E[v | h1] and Lambda(h1) the precision of v given h1, the pixels under the
gaze are x ~ N(v, Lambda^-1), and

    p(v | h1, u, I) = N((mu(h1) + x(u)) / 2, Lambda^-1 / 2),      p(h1 | v): the first layer's,

and, with v integrated out, x | h1 ~ N(mu(h1), 2 Lambda^-1). Of the Gaussian-Bernoulli RBM mu = b + W h1 and Lambda =
diag(1 / sigma^2) (Tang, Srivastava & Salakhutdinov 2014, section 3); of a machine with precision units, which are part
of h1, Lambda = A^T diag(P(s)) A.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from foveate.boltzmann.dbn import GaussianDBN, PatchScale
from foveate.boltzmann.draws import Random
from foveate.boltzmann.machine import Machine
from foveate.runtime.random import normals, uniforms


@dataclass(frozen=True)
class _Keyed(Random):
    """Numbers of each chain's stream, a chain a row, from number `first` on."""

    keys: Int64[Tensor, " n"]
    first: int

    def uniform(self, like: Tensor) -> Tensor:
        return uniforms(self.keys, self.first, like.shape[1]).to(like)

    def normal(self, like: Tensor) -> Tensor:
        return normals(self.keys, self.first, like.shape[1]).to(like)


@dataclass(frozen=True)
class PatchConditionals:
    """A first layer and the standardisation of its patches."""

    machine: Machine  # the first layer, on the CPU
    scale: PatchScale  # there too

    @classmethod
    def of(cls, dbn: GaussianDBN) -> "PatchConditionals":
        """The first layer of a Gaussian DBN."""
        return cls(dbn.grbm.like().cpu(), copy.deepcopy(dbn.patch).cpu())

    @property
    def size(self) -> int:
        """Side of the patch."""
        return round((self.machine.n_visible / 3) ** 0.5)

    @property
    def diagonal(self) -> bool:
        """Whether Lambda is diagonal in v itself."""
        return type(self.machine).coordinates is Machine.coordinates

    def sample_visible(
        self, keys: Int64[Tensor, " n"], sweep: int, h: Float[Tensor, "n H"], x: Float[Tensor, "n D"]
    ) -> Float[Tensor, "n D"]:
        """A draw of v given h1 and the glimpse."""
        mu = self.machine.visible_mean(h)
        drawn = self.machine.draw_visible(h, _Keyed(keys, sweep * self._numbers))
        return (mu + x) / 2 + (drawn - mu) / 2**0.5

    def sample_hidden(self, keys: Int64[Tensor, " n"], sweep: int, v: Float[Tensor, "n D"]) -> Float[Tensor, "n H"]:
        """A draw of h1 given v."""
        return self.machine.draw_hidden(v, _Keyed(keys, (sweep + 1) * self._numbers - self.machine.n_hidden))

    @property
    def _numbers(self) -> int:
        """How many numbers of its stream a chain uses for one draw of v, whose normal numbers come in pairs, and h1."""
        visible = self.machine.n_visible
        return visible + visible % 2 + self.machine.n_hidden

    def precision(self, h: Float[Tensor, "n H"]) -> Float[Tensor, "n D"]:
        """Lambda(h1), of the machine's own coordinates, in which it is diagonal."""
        return self.machine.visible_natural(h)[1]

    def misfit(
        self, x: Float[Tensor, "n D"], centre: Float[Tensor, "#n D"], precision: Float[Tensor, "#n D"]
    ) -> Float[Tensor, " n"]:
        """(x - centre)^T Lambda (x - centre)."""
        away = self.machine.coordinates(x) - self.machine.coordinates(centre)
        return (precision * away.square()).sum(1, dtype=torch.float64)
