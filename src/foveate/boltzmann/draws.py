"""Where a layer's random numbers come from.

`Random` is what units are drawn with: numbers in order from a generator, or counted ones (`foveate.runtime.random`),
which depend on what they are for alone, the same on every device and for any number of threads: `Counted` by (chain,
step, unit), for annealing, `Numbered` by (seed, step, which draw, element), for learning. Elements are counted from
chain 0, wherever the chains lie: `first` is the number of the first one at hand.
"""

from abc import ABC, abstractmethod
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Int64
from numba import njit
from torch import Tensor

from foveate.runtime.fastmath import cos_turn, log, sigmoid
from foveate.runtime.random import halves, uniform_array, unit_at, units, words


class Random(ABC):
    """A source of independent numbers."""

    @abstractmethod
    def uniform(self, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of a tensor's shape, on its device."""

    @abstractmethod
    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of a tensor's shape, on its device."""

    def binary(self, logits: Tensor) -> Tensor:
        """Zeros and ones with P(1) = sigmoid(logits), in the logits' type."""
        p = torch.sigmoid(logits)
        return (self.uniform(p) < p).to(p.dtype)


class Generated(Random):
    """Numbers in order, drawn where the generator is (torch's own without one) in the type asked for."""

    def __init__(self, generator: torch.Generator | None):
        self._generator = generator

    def uniform(self, like: Tensor) -> Tensor:
        return self._drawn(torch.rand, like)

    def normal(self, like: Tensor) -> Tensor:
        return self._drawn(torch.randn, like)

    def _drawn(self, kind, like: Tensor) -> Tensor:
        device = like.device if self._generator is None else self._generator.device
        return kind(like.shape, generator=self._generator, dtype=like.dtype, device=device).to(like.device)


class FromNumpy(Random):
    """Numbers in order, from numpy's generator."""

    def __init__(self, generator: np.random.Generator):
        self._generator = generator

    def uniform(self, like: Tensor) -> Tensor:
        return torch.from_numpy(self._generator.random(tuple(like.shape)))

    def normal(self, like: Tensor) -> Tensor:
        return torch.from_numpy(self._generator.standard_normal(tuple(like.shape)))


class _Hashed(Random):
    """Two families of uniform numbers, of which normal ones are made (Box and Muller 1958).

    No normal number lies beyond 5.9, where one comes once in 10^8.
    """

    @abstractmethod
    def numbers(self, like: Tensor, second: bool = False) -> Tensor:
        """Those of a family."""

    def uniform(self, like: Tensor) -> Tensor:
        return self.numbers(like)

    def normal(self, like: Tensor) -> Tensor:
        radius = torch.sqrt(-2 * torch.log(self.numbers(like) + 2.0**-25))  # in steps' middles
        return radius * torch.cos(2 * torch.pi * self.numbers(like, second=True))


class Counted(_Hashed):
    """Row r's numbers by the word of keys[r] and a counter, units by their number."""

    def __init__(self, keys: Int64[Tensor, " n"], counter: int | Tensor):
        self.keys, self.counter = keys, counter

    def numbers(self, like: Tensor, second: bool = False) -> Tensor:
        low, high = (half.unsqueeze(1) for half in halves(words(self.keys, self.counter)))
        return units(torch.arange(like.shape[1], device=like.device), low, high ^ 0x9E3779B9 if second else high)


class Numbered(_Hashed):
    """A whole array's numbers by the halves of one word (`draw_key`), elements by their number.

    What learning draws in every step is compiled on a CPU: one pass, not a dozen in integers.
    """

    def __init__(self, key: tuple[int, int], first: int = 0):
        self.key, self.first = key, first

    def numbers(self, like: Tensor, second: bool = False) -> Tensor:
        low, high = self.key
        return uniform_array(tuple(like.shape), (high, low) if second else (low, high), like.device, self.first)

    def normal(self, like: Tensor) -> Tensor:
        return super().normal(like) if like.device.type != "cpu" else self._compiled(_normal, torch.empty(like.shape))

    def binary(self, logits: Tensor) -> Tensor:
        if logits.device.type != "cpu" or logits.dtype != torch.float32:
            return super().binary(logits)
        return self._compiled(_binary, logits.clone(memory_format=torch.contiguous_format))

    def _compiled(self, loop: Any, values: Tensor) -> Tensor:
        words = (word & 0xFFFFFFFF for word in (*self.key, self.first * values.shape[1]))
        loop(values.view(-1).numpy(), *(_U(word) for word in words))
        return values


_U = np.uint32  # numba widens 32-bit integers: each is narrowed at once, or nothing here vectorises


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _binary(values, low, high, origin):
    """Draws in place of their logits."""
    for i in range(len(values)):
        values[i] = np.float32(unit_at(_U(origin + _U(i)), low, high) < sigmoid(values[i]))


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _normal(values, low, high, origin):
    for i in range(len(values)):
        n = _U(origin + _U(i))
        radius = np.sqrt(np.float32(-2.0) * log(unit_at(n, low, high) + np.float32(2.0**-25)))
        values[i] = radius * cos_turn(unit_at(n, high, low))
