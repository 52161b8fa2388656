"""The path of a machine of binary hidden units and binary or Gaussian visible ones, compiled for a CPU.

Each layer takes one of torch's matrix products and one pass of `fused.py` over the rows.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.draws import Counted
from foveate.boltzmann.log_z.fused import (
    WIDTH,
    binary_visible_pass,
    gaussian_visible_pass,
    hidden_pass,
    tempered_hidden_pass,
)
from foveate.boltzmann.log_z.path import Beta, Path, strongest
from foveate.boltzmann.units import Natural


class Room:
    """Memory for so many rows, as torch's products and as numba's passes take it."""

    def __init__(self, rows: int, shape: tuple[int, int]):
        self.product, self.h, self.v = (torch.zeros(rows, units) for units in (shape[1], shape[1], shape[0]))
        self.slope, self.gained = torch.zeros(2, rows, dtype=torch.float64)
        self.beta = torch.zeros(rows)
        self.product_rows, self.h_rows, self.v_rows = self.product.numpy(), self.h.numpy(), self.v.numpy()
        self.slope_rows, self.gained_rows, self.beta_rows = self.slope.numpy(), self.gained.numpy(), self.beta.numpy()


@dataclass(frozen=True, kw_only=True)
class FusedPath(Path):
    """Float32 parameters at beta = 0 and their change until beta = 1, padded with units that do nothing."""

    W: Float[Tensor, "V H"]  # couplings at beta = 1, between the linear sufficient statistics
    b_base: Float[Tensor, " V"]  # visible biases at beta = 0 (for Gaussian units: mean times precision)
    b_change: Float[Tensor, " V"]  # what they gain until beta = 1
    c_base: Float[Tensor, " H"]  # hidden biases at beta = 0
    c_change: Float[Tensor, " H"]  # what they gain
    # [V] of Gaussian visible units at beta = 0, and what they gain; none for binary ones
    precisions: tuple[Tensor, ...]
    transposed: Float[Tensor, "H V"]  # W, in memory of its own
    room: Room | None = None  # memory of a block's own, in which what is returned lies

    @classmethod
    def of(cls, path: Path, W: Tensor, b: Tensor, c: Tensor, precision: Tensor | None = None) -> "FusedPath":
        """A plain path, compiled: the machine has the natural parameters `b` (and `precision`) and `c`, and `W`."""
        # Rounded, so that log Z of the base belongs to the very float32 numbers that the chains move with.
        (c_base,) = (value.float().double() for value in path.base_hidden)
        b_base, *precision_base = (value.float().double() for value in path.base_visible)
        precisions: tuple[Tensor, ...] = ()
        if precision is not None:
            precisions = _padded(precision_base[0], 0, 1.0), _padded(precision.double() - precision_base[0], 0)
        couplings = _padded(_padded(W, 1), 0)
        parts = {field.name: getattr(path, field.name) for field in fields(Path)}
        return cls(
            **parts | {"base_visible": (b_base, *precision_base), "base_hidden": (c_base,)},
            W=couplings,
            b_base=_padded(b_base, 0),
            b_change=_padded(b.double() - b_base, 0),
            c_base=_padded(c_base, 0),
            c_change=_padded(c.double() - c_base, 0),
            precisions=precisions,
            transposed=couplings.T.contiguous(),
        )

    @property
    def shape(self) -> tuple[int, int]:
        return self.W.shape[0], self.W.shape[1]

    def to(self, device: torch.device | str) -> Path:
        """The same path on `device`: itself on a CPU, else in plain torch."""
        if torch.device(device).type == "cpu":
            return self
        return Path(**{field.name: getattr(self, field.name) for field in fields(Path)}).to(device)

    def block(self, rows: int) -> "FusedPath":
        return replace(self, room=Room(rows, self.shape))

    def enter(self, v: Float[Tensor, "n visible"]) -> Float[Tensor, "n V"]:
        return _padded(super().enter(v), 1)

    def leave(self, z: Float[Tensor, "n V"]) -> Float[Tensor, "n visible"]:
        return super().leave(z[:, : self.machine.n_visible])

    def base(self) -> Natural:
        return (self.b_base, *self.precisions[:1])

    def slope(self, v: Float[Tensor, "n V"]) -> Float[Tensor, " n"]:
        v = v.double()
        slope = v @ self.b_change.double()
        for change in self.precisions[1:]:
            slope = slope - 0.5 * v.square() @ change.double()
        return slope

    def hidden(
        self, v: Float[Tensor, "n V"], old: Beta, new: Beta, random: Counted
    ) -> tuple[Float[Tensor, "n H"], Float[Tensor, " n"]]:
        room = self.room or Room(len(v), self.shape)
        torch.mm(v, self.W, out=room.product)
        hidden_pass(
            room.product_rows, *self._c, old, new, random.counter, random.keys.numpy(), room.h_rows, room.gained_rows
        )
        return room.h, room.gained

    def tempered(
        self, v: Float[Tensor, "n V"], beta: Float[Tensor, " n"], random: Counted
    ) -> tuple[Float[Tensor, "n H"], Float[Tensor, " n"]]:
        room = self.room or Room(len(v), self.shape)
        torch.mm(v, self.W, out=room.product)
        tempered_hidden_pass(
            room.product_rows, *self._c, beta.numpy(), random.counter, random.keys.numpy(), room.h_rows,
            room.gained_rows,
        )  # fmt: skip
        return room.h, room.gained

    def visible(
        self, h: Float[Tensor, "n H"], beta: Beta, random: Counted
    ) -> tuple[Float[Tensor, "n V"], Float[Tensor, " n"]]:
        room = self.room or Room(len(h), self.shape)
        torch.mm(h, self.transposed, out=room.v)
        if isinstance(beta, Tensor):
            room.beta.copy_(beta)
        else:
            room.beta.fill_(beta)
        one_pass: Any = gaussian_visible_pass if self.precisions else binary_visible_pass
        one_pass(room.v_rows, *self._b, room.beta_rows, random.counter, random.keys.numpy(), room.slope_rows)
        return room.v, room.slope

    def directions(self, count: int) -> Float[Tensor, "V count"]:
        return strongest(self.W, count)

    @cached_property
    def _c(self) -> tuple[Any, Any]:
        """The hidden units' parameters, as the passes take them."""
        return self.c_base.numpy(), self.c_change.numpy()

    @cached_property
    def _b(self) -> Any:
        """The same of the visible ones."""
        return tuple(value.numpy() for value in (self.b_base, self.b_change, *self.precisions))


def _padded(value: Tensor, dimension: int, fill: float = 0.0) -> Tensor:
    """Grown to a multiple of WIDTH along one dimension, in float32, in memory of its own (torch aligns it to 64
    bytes)."""
    missing = -value.shape[dimension] % WIDTH
    shape = list(value.shape)
    shape[dimension] = missing
    return torch.cat([value.float(), torch.full(shape, fill)], dimension).contiguous().clone()
