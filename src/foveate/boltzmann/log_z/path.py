"""Families of distributions between independent units, whose log Z is a closed form, and a machine.

At inverse temperature beta the joint is

    log p*_beta(v, h) = (1 - beta) log p*_base(v, h) + beta log p*(v, h),

which interpolates energies, hence natural parameters, and not means and standard deviations. The base has natural
parameters of its own for every unit on both sides (in Salakhutdinov and Murray 2008 its hidden biases are zero).
"""

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.draws import Random
from foveate.boltzmann.units import Natural, between

Beta = float | Tensor  # An inverse temperature: a number, or one a row

Drawn = tuple[Float[Tensor, "n units"], Float[Tensor, " n"]]
"""A layer's states, and what the density gains or its slope."""


@dataclass(frozen=True)
class Affine:
    """Coordinates z in which a path runs, of vectors v: z = (v - origin) A, v = rest + z B."""

    origin: Float[Tensor, " D"]
    into: Float[Tensor, "D r"]  # A
    rest: Float[Tensor, " D"]
    out: Float[Tensor, "r D"]  # B


@dataclass(frozen=True)
class Path:
    """A machine and a base of independent units, in plain torch: what is compiled elsewhere is held to this."""

    machine: Any  # at beta = 1
    base_visible: Natural  # [V] natural parameters of the visible units at beta = 0, float64
    base_hidden: Natural  # [H] the same of the hidden ones
    log_z_outside: float = 0.0  # added to every log Z: what was integrated out in closed form
    coordinates: Affine | None = None  # in which the machine's visible units are; None where they are those of the data

    @property
    def device(self) -> torch.device:
        """Where chains move."""
        return self.base_hidden[0].device

    @property
    def shape(self) -> tuple[int, int]:
        """Visible and hidden units that chains have here."""
        return self.machine.n_visible, self.machine.n_hidden

    @property
    def log_z_base(self) -> float:
        """log Z at beta = 0, nats, and what is the same at all: the machine's constant, and what was integrated out."""
        visible, hidden = self.machine.visible, self.machine.hidden
        sums = visible.log_normaliser(self.base_visible) + hidden.log_normaliser(self.base_hidden)
        return float(sums) + float(self._constant()) + self.log_z_outside

    def to(self, device: torch.device | str) -> "Path":
        """The same path on `device`, the machine in float32."""
        machine = copy.deepcopy(self.machine).to(device, torch.float32)
        base = [tuple(value.to(device) for value in side) for side in (self.base_visible, self.base_hidden)]
        return replace(self, machine=machine, base_visible=base[0], base_hidden=base[1])

    def block(self, rows: int) -> "Path":
        """The same for a block of chains that moves on a thread of its own."""
        return self

    def enter(self, v: Float[Tensor, "n visible"]) -> Float[Tensor, "n V"]:
        """Data as chains have it, float32."""
        if self.coordinates is None:
            return v.float()
        at = self.coordinates
        return ((v.to(at.origin) - at.origin) @ at.into).float()

    def leave(self, z: Float[Tensor, "n V"]) -> Float[Tensor, "n visible"]:
        """Chains as data; what has nothing to do with the hidden units is at its mean."""
        if self.coordinates is None:
            return z
        at = self.coordinates
        return (at.rest + z.to(at.rest) @ at.out).float()

    def base(self) -> Natural:
        """The visible units' natural parameters at beta = 0, of as many units as chains have."""
        return self.base_visible

    def slope(self, v: Float[Tensor, "n V"]) -> Float[Tensor, " n"]:
        """The visible units' own part of d log p*_beta(v) / d beta, in float64."""
        own = self.machine.visible_own(v.to(self._type)) - self._constant()
        return own.double() - self.machine.visible.dot(self.base_visible, v.double())

    def hidden(self, v: Float[Tensor, "n V"], old: Beta, new: Beta, random: Random) -> Drawn:
        """h given v at beta `new`, and what log p*_beta(v) gains from `old` to `new` beside the slope's part."""
        units, given = self.machine.hidden, self._given(v)
        before, after = (between(self.base_hidden, given, beta) for beta in (old, new))
        return units.draw(after, random).float(), units.log_normaliser(after) - units.log_normaliser(before)

    def tempered(self, v: Float[Tensor, "n V"], beta: Float[Tensor, " n"], random: Random) -> Drawn:
        """h given v, each row at its own beta, and the rest of d log p*_beta(v, h) / d beta, which is linear in it."""
        units, given = self.machine.hidden, self._given(v)
        h = units.draw(between(self.base_hidden, given, beta), random)
        return h.float(), units.dot(given, h) - units.dot(self.base_hidden, h)

    def visible(self, h: Float[Tensor, "n H"], beta: Beta, random: Random) -> Drawn:
        """v given h, and its slope."""
        given = tuple(value.double() for value in self.machine.visible_natural(h.to(self._type)))
        v = self.machine.visible.draw(between(self.base_visible, given, beta), random).float()
        return v, self.slope(v)

    def directions(self, count: int) -> Float[Tensor, "V count"]:
        """Along what v and h move together most: singular vectors of how the hidden units' inputs change with v."""
        origin = torch.zeros(self.shape[0], dtype=self._type, device=self.device)
        jacobian = torch.func.jacrev(lambda v: self.machine.hidden_natural(v[None])[0][0])(origin)
        return strongest(jacobian.T, count)

    def _constant(self) -> Float[Tensor, "1"]:
        """-E at v = 0, h = 0, which needs no weighing."""
        nothing = torch.zeros(1, self.machine.n_visible, dtype=self._type, device=self.device)
        return self.machine.visible_own(nothing)

    def _given(self, v: Tensor) -> Natural:
        """The hidden units' natural parameters at beta = 1, in float64: products in the machine's type, sums not."""
        return tuple(value.double() for value in self.machine.hidden_natural(v.to(self._type)))

    @property
    def _type(self) -> torch.dtype:
        return next(self.machine.parameters()).dtype


def strongest(couplings: Float[Tensor, "V H"], count: int) -> Float[Tensor, "V {count}"]:
    """Left singular vectors with the largest singular values; zeros where there are none to speak of."""
    left, singular, _ = torch.linalg.svd(couplings.double(), full_matrices=False)
    real = singular[:count] > 1e-4 * singular[0]
    directions = torch.zeros(len(couplings), count)
    directions[:, : len(real)] = (left[:, :count] * real).float()
    return directions
