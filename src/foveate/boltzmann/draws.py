"""Draws of a layer's units from the products that reach it, each fused into one pass; elsewhere than on a CPU in torch.

Random numbers are counted: element n's under a key is a hash of both (`foveate.runtime.random`), so that a draw depends
on (seed, step, which draw, element) alone, the same on every device and for any number of threads. Elements are counted
from chain 0, wherever the chains lie: `first` is the number of the first one at hand.
"""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from foveate.runtime.fastmath import cos_turn, log, sigmoid
from foveate.runtime.random import uniform_array, unit_at


def bernoulli_units(
    logits: Float[Tensor, "batch units"],
    bias: Float[Tensor, " units"],
    key: tuple[int, int],
    mean: Float[Tensor, "batch units"] | None = None,
    first: int = 0,
) -> Float[Tensor, "batch units"]:
    """Binary units from the products that reach them, in place: a draw with P(1) = sigmoid(logits + bias).

    Args:
        logits: v W or h W^T, overwritten with the draw.
        bias: Added to every row.
        key: From `draw_key`.
        mean: If given, filled with the probabilities.
        first: Number of the first row.
    """
    if logits.device.type != "cpu":
        probability = torch.sigmoid(logits + bias)
        if mean is not None:
            mean.copy_(probability)
        uniform = uniform_array(tuple(logits.shape), key, logits.device, first)
        return logits.copy_((uniform < probability).to(logits.dtype))
    words = _words(key, first, logits)
    if mean is None:
        _draw(logits.numpy(), bias.numpy(), *words)
    else:
        _draw_and_mean(logits.numpy(), bias.numpy(), *words, mean.numpy())
    return logits


def gaussian_units(
    products: Float[Tensor, "batch units"],
    bias: Float[Tensor, " units"],
    sigma: Float[Tensor, " units"],
    key: tuple[int, int],
    first: int = 0,
) -> Float[Tensor, "batch units"]:
    """Real units from the products that reach them, in place: a draw from N(products + bias, sigma^2).

    Args:
        products: h W^T, overwritten with the draw.
        bias: Added to every row.
        sigma: Standard deviations.
        key: From `draw_key`.
        first: Number of the first row.
    """
    if products.device.type != "cpu":
        return products.add_(bias).addcmul_(normal_reference(tuple(products.shape), key, products.device, first), sigma)
    _draw_normal(products.numpy(), bias.numpy(), sigma.numpy(), *_words(key, first, products))
    return products


def mean_units(logits: Float[Tensor, "batch units"], bias: Float[Tensor, " units"]) -> Float[Tensor, "batch units"]:
    """sigmoid(logits + bias), in place."""
    if logits.device.type != "cpu":
        return logits.add_(bias).sigmoid_()
    _mean(logits.numpy(), bias.numpy())
    return logits


def normal_reference(
    shape: tuple[int, ...], key: tuple[int, int], device: torch.device | str = "cpu", first: int = 0
) -> Tensor:
    """Normal numbers: sqrt(-2 log u1) cos(2 pi u2), u1 of the key (in steps' middles), u2 of its swapped words.

    None lies beyond 5.9, where a normal number comes once in 10^8.
    """
    u1, u2 = (uniform_array(shape, words, device, first) for words in (key, (key[1], key[0])))
    return torch.sqrt(-2 * torch.log(u1 + 2.0**-25)) * torch.cos(2 * torch.pi * u2)


def _words(key: tuple[int, int], first: int, units: Tensor) -> tuple[np.uint32, np.uint32, np.uint32]:
    """A key, and the number of the first element, as the compiled loops take them."""
    return np.uint32(key[0]), np.uint32(key[1]), np.uint32((first * units.shape[1]) & 0xFFFFFFFF)


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
def _draw(logits, bias, low, high, origin):
    units = logits.shape[1]
    for i in range(logits.shape[0]):
        first = _U(origin + _U(i * units))
        for j in range(units):
            p = sigmoid(logits[i, j] + bias[j])
            u = unit_at(_U(first + _U(j)), low, high)
            logits[i, j] = np.float32(1.0) if u < p else np.float32(0.0)


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _draw_and_mean(logits, bias, low, high, origin, mean):
    units = logits.shape[1]
    for i in range(logits.shape[0]):
        first = _U(origin + _U(i * units))
        for j in range(units):
            p = sigmoid(logits[i, j] + bias[j])
            u = unit_at(_U(first + _U(j)), low, high)
            mean[i, j] = p
            logits[i, j] = np.float32(1.0) if u < p else np.float32(0.0)
