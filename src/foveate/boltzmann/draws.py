"""Where a layer's random numbers come from, and draws fused with what reaches the layer.

`Random` is what units are drawn with: numbers in order from a generator, or counted ones (`foveate.runtime.random`),
which depend on what they are for alone, the same on every device and for any number of threads: `Counted` by (chain,
step, unit), for annealing, `Numbered` by (seed, step, which draw, element), for learning. Elements are counted from
chain 0, wherever the chains lie: `first` is the number of the first one at hand.
"""

from abc import ABC, abstractmethod
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int64
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


class Counted(Random):
    """Row r's numbers by the word of keys[r] and a counter, units by their number."""

    def __init__(self, keys: Int64[Tensor, " n"], counter: int | Tensor):
        self.keys, self.counter = keys, counter

    def uniform(self, like: Tensor) -> Tensor:
        low, high = self._halves()
        return units(torch.arange(like.shape[1], device=like.device), low, high)

    def normal(self, like: Tensor) -> Tensor:
        low, high = self._halves()
        number = torch.arange(like.shape[1], device=like.device)
        turn = units(number, low, high ^ 0x9E3779B9)
        return torch.sqrt(-2 * torch.log(units(number, low, high) + 2.0**-25)) * torch.cos(2 * torch.pi * turn)

    def _halves(self) -> tuple[Tensor, ...]:
        return tuple(half.unsqueeze(1) for half in halves(words(self.keys, self.counter)))


class Numbered(Random):
    """A whole array's numbers by the halves of one word (`draw_key`), elements by their number.

    No normal number lies beyond 5.9, where one comes once in 10^8.
    """

    def __init__(self, key: tuple[int, int], first: int = 0):
        self.key, self.first = key, first

    def uniform(self, like: Tensor) -> Tensor:
        return uniform_array(tuple(like.shape), self.key, like.device, self.first)

    def normal(self, like: Tensor) -> Tensor:
        """sqrt(-2 log u1) cos(2 pi u2), u1 of the key (in steps' middles), u2 of its swapped halves."""
        low, high = self.key
        u1, u2 = (uniform_array(tuple(like.shape), k, like.device, self.first) for k in ((low, high), (high, low)))
        return torch.sqrt(-2 * torch.log(u1 + 2.0**-25)) * torch.cos(2 * torch.pi * u2)


def bernoulli_units(
    logits: Float[Tensor, "batch units"],
    bias: Float[Tensor, " units"],
    random: Numbered,
    mean: Float[Tensor, "batch units"] | None = None,
) -> Float[Tensor, "batch units"]:
    """Binary units from the products that reach them, in place: a draw with P(1) = sigmoid(logits + bias).

    Args:
        logits: v W or h W^T, overwritten with the draw.
        bias: Added to every row.
        random: The numbers.
        mean: If given, filled with the probabilities.
    """
    if logits.device.type != "cpu":
        probability = torch.sigmoid(logits + bias)
        if mean is not None:
            mean.copy_(probability)
        return logits.copy_((random.uniform(probability) < probability).to(logits.dtype))
    _draw(logits.numpy(), bias.numpy(), *_words(random, logits), None if mean is None else mean.numpy())
    return logits


def gaussian_units(
    products: Float[Tensor, "batch units"],
    bias: Float[Tensor, " units"],
    sigma: Float[Tensor, " units"],
    random: Numbered,
) -> Float[Tensor, "batch units"]:
    """Real units from the products that reach them, in place: a draw from N(products + bias, sigma^2).

    Args:
        products: h W^T, overwritten with the draw.
        bias: Added to every row.
        sigma: Standard deviations.
        random: The numbers.
    """
    if products.device.type != "cpu":
        return products.add_(bias).addcmul_(random.normal(products), sigma)
    _draw_normal(products.numpy(), bias.numpy(), sigma.numpy(), *_words(random, products))
    return products


def mean_units(logits: Float[Tensor, "batch units"], bias: Float[Tensor, " units"]) -> Float[Tensor, "batch units"]:
    """sigmoid(logits + bias), in place."""
    if logits.device.type != "cpu":
        return logits.add_(bias).sigmoid_()
    _mean(logits.numpy(), bias.numpy())
    return logits


def _words(random: Numbered, rows: Tensor) -> tuple[np.uint32, np.uint32, np.uint32]:
    """A key, and the number of the first element, as the compiled loops take them."""
    low, high = random.key
    return np.uint32(low), np.uint32(high), np.uint32((random.first * rows.shape[1]) & 0xFFFFFFFF)


_U = np.uint32  # numba widens 32-bit integers: each is narrowed at once, or nothing here vectorises


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _draw_normal(products, bias, sigma, low, high, origin):
    units = products.shape[1]
    for i in range(products.shape[0]):
        first = _U(origin + _U(i * units))
        for j in range(units):
            n = _U(first + _U(j))
            u1 = unit_at(n, low, high) + np.float32(2.0**-25)
            radius = np.sqrt(np.float32(-2.0) * log(u1))
            products[i, j] += bias[j] + sigma[j] * radius * cos_turn(unit_at(n, high, low))


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _mean(logits, bias):
    for i in range(logits.shape[0]):
        for j in range(logits.shape[1]):
            logits[i, j] = sigmoid(logits[i, j] + bias[j])


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _draw(logits, bias, low, high, origin, mean):
    units = logits.shape[1]
    for i in range(logits.shape[0]):
        first = _U(origin + _U(i * units))
        for j in range(units):
            p = sigmoid(logits[i, j] + bias[j])
            u = unit_at(_U(first + _U(j)), low, high)
            if mean is not None:
                mean[i, j] = p
            logits[i, j] = np.float32(1.0) if u < p else np.float32(0.0)
