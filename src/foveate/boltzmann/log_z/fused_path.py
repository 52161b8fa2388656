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
from foveate.boltzmann.log_z.fused import WIDTH, binary_pass, gaussian_pass, hidden_pass
from foveate.boltzmann.log_z.path import Beta, Drawn, Path, strongest
from foveate.boltzmann.units import Natural


class Room:
    """Memory for so many rows."""

    def __init__(self, rows: int, shape: tuple[int, int]):
        self.product, self.h, self.v = (torch.zeros(rows, units) for units in (shape[1], shape[1], shape[0]))
        self.slope, self.gained = torch.zeros(2, rows, dtype=torch.float64)
        self.beta = torch.zeros(rows)


@dataclass(frozen=True, kw_only=True)
class FusedPath(Path):
    """Float32 parameters at beta = 0 and their change until beta = 1, padded with units that do nothing."""

    W: Float[Tensor, "V H"]  # couplings at beta = 1, between the linear sufficient statistics
    transposed: Float[Tensor, "H V"]  # W, in memory of its own
    # [V] the visible units' biases at beta = 0 (of Gaussian ones: mean times precision) and what they gain, then the
    # precisions of Gaussian ones and what they gain; [H] the same of the hidden units
    b: tuple[Tensor, ...]
    c: tuple[Tensor, ...]
    room: Room | None = None  # memory of a block's own, in which what is returned lies

    @classmethod
    def of(cls, path: Path, W: Tensor, b: Tensor, c: Tensor, precision: Tensor | None = None) -> "FusedPath":
        """A plain path, compiled: the machine has the natural parameters `b` (and `precision`) and `c`, and `W`."""
        # Rounded, so that log Z of the base belongs to the very float32 numbers that the chains move with.
        visible, hidden = (tuple(x.float().double() for x in side) for side in (path.base_visible, path.base_hidden))
        couplings = _padded(_padded(W, 1), 0)
        biases = (_padded(visible[0], 0), _padded(b.double() - visible[0], 0))
        if precision is not None:
            biases += (_padded(visible[1], 0, 1.0), _padded(precision.double() - visible[1], 0))
        parts: dict[str, Any] = _plain(path) | {"base_visible": visible, "base_hidden": hidden}
        return cls(
            **parts,
            W=couplings,
            transposed=couplings.T.contiguous(),
            b=biases,
            c=(_padded(hidden[0], 0), _padded(c.double() - hidden[0], 0)),
        )

    @property
    def shape(self) -> tuple[int, int]:
        return self.W.shape[0], self.W.shape[1]

    def to(self, device: torch.device | str) -> Path:
        """The same path on `device`: itself on a CPU, else in plain torch."""
        return self if torch.device(device).type == "cpu" else Path(**_plain(self)).to(device)

    def block(self, rows: int) -> "FusedPath":
        return replace(self, room=Room(rows, self.shape))

    def enter(self, v: Float[Tensor, "n visible"]) -> Float[Tensor, "n V"]:
        return _padded(super().enter(v), 1)

    def leave(self, z: Float[Tensor, "n V"]) -> Float[Tensor, "n visible"]:
        return super().leave(z[:, : self.machine.n_visible])

    def base(self) -> Natural:
        return self.b[::2]

    def slope(self, v: Float[Tensor, "n V"]) -> Float[Tensor, " n"]:
        changes, v = [change.double() for change in self.b[1::2]], v.double()
        return self.machine.visible.dot((changes[0], *changes[1:]), v)

    def hidden(self, v: Float[Tensor, "n V"], old: Beta, new: Beta, random: Counted) -> Drawn:
        room = self.room or Room(len(v), self.shape)
        torch.mm(v, self.W, out=room.product)
        rows = room.h.numpy(), room.gained.numpy()
        hidden_pass(room.product.numpy(), *self._arrays[1], old, new, random.counter, random.keys.numpy(), *rows)
        return room.h, room.gained

    def tempered(self, v: Float[Tensor, "n V"], beta: Float[Tensor, " n"], random: Counted) -> Drawn:
        room = self.room or Room(len(v), self.shape)
        torch.mm(v, self.W, out=room.product)
        _draw(room.h.copy_(room.product), self._arrays[1], beta, random, room.gained)
        return room.h, room.gained + (room.h * room.product).sum(1)

    def visible(self, h: Float[Tensor, "n H"], beta: Beta, random: Counted) -> Drawn:
        room = self.room or Room(len(h), self.shape)
        torch.mm(h, self.transposed, out=room.v)
        betas = beta if isinstance(beta, Tensor) else room.beta.fill_(beta)
        _draw(room.v, self._arrays[0], betas, random, room.slope)
        return room.v, room.slope

    def directions(self, count: int) -> Float[Tensor, "V count"]:
        return strongest(self.W, count)

    @cached_property
    def _arrays(self) -> tuple[Any, tuple[Any, Any]]:
        """The parameters of the visible and of the hidden units, as the passes take them."""
        return [value.numpy() for value in self.b], (self.c[0].numpy(), self.c[1].numpy())


def _draw(product: Tensor, given: Any, beta: Tensor, random: Counted, slope: Tensor) -> None:
    """Draw units in place of the product that reaches them."""
    one_pass: Any = gaussian_pass if len(given) > 2 else binary_pass
    one_pass(product.numpy(), *given, beta.numpy(), random.counter, random.keys.numpy(), slope.numpy())


def _plain(path: Path) -> dict[str, Any]:
    return {field.name: getattr(path, field.name) for field in fields(Path)}


def _padded(value: Tensor, dimension: int, fill: float = 0.0) -> Tensor:
    """Grown to a multiple of WIDTH along one dimension, in float32, in memory of its own, which torch aligns."""
    missing = -value.shape[dimension] % WIDTH
    shape = list(value.shape)
    shape[dimension] = missing
    return torch.cat([value.float(), torch.full(shape, fill)], dimension).contiguous().clone()
