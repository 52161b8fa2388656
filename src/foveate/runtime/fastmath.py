"""The passes between the matrix products of contrastive learning, fused; each with a plain torch reference.

Random numbers are counted, not streamed: the uniform number of element n under a key is a hash of both, so that a draw
depends on (seed, step, which draw, element) alone, the same on every device and for any number of threads. Elements are
counted from chain 0, wherever the chains lie: `first` is the number of the first one at hand.
"""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

_MASK = 0xFFFFFFFF
_M1, _M2 = 0x7FEB352D, 0x846CA68B  # Wellons' lowbias32, a 32-bit bijection with a measured bias of 0.17


def draw_key(seed: int, step: int, draw: int) -> tuple[int, int]:
    """Two 32-bit words for one array of random numbers: splitmix64's finaliser over (seed, step, draw)."""
    x = (seed * 0x9E3779B97F4A7C15 + step * 0xD1B54A32D192ED03 + draw * 0x8CB92BA72F3D8DD7) & (2**64 - 1)
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = ((x ^ (x >> shift)) * multiplier) & (2**64 - 1)
    x ^= x >> 31
    return x & _MASK, x >> 32


def uniform_reference(
    shape: tuple[int, ...], key: tuple[int, int], device: torch.device | str = "cpu", first: int = 0
) -> Tensor:
    """Uniform numbers in [0, 1), multiples of 2^-24: lowbias32(lowbias32(n xor low) + high) / 2^32 for element n.

    Rows count from `first`.
    """
    n = torch.arange(int(np.prod(shape)), dtype=torch.int64, device=device) + first * int(np.prod(shape[1:]))
    x = (_scramble((n & _MASK) ^ key[0]) + key[1]) & _MASK
    return ((_scramble(x) >> 8).to(torch.float32) * 2.0**-24).reshape(shape)


def normal_reference(
    shape: tuple[int, ...], key: tuple[int, int], device: torch.device | str = "cpu", first: int = 0
) -> Tensor:
    """Normal numbers: sqrt(-2 log u1) cos(2 pi u2), u1 of the key (in steps' middles), u2 of its swapped words.

    None lies beyond 5.9, where a normal number comes once in 10^8.
    """
    u1, u2 = (uniform_reference(shape, words, device, first) for words in (key, (key[1], key[0])))
    return torch.sqrt(-2 * torch.log(u1 + 2.0**-25)) * torch.cos(2 * torch.pi * u2)


def _scramble(x: Tensor) -> Tensor:
    """lowbias32 on int64 that hold 32 bits."""
    x = ((x ^ (x >> 16)) * _M1) & _MASK
    x = ((x ^ (x >> 15)) * _M2) & _MASK
    return x ^ (x >> 16)


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
        uniform = uniform_reference(tuple(logits.shape), key, logits.device, first)
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


def _words(key: tuple[int, int], first: int, units: Tensor) -> tuple[np.uint32, np.uint32, np.uint32]:
    """A key, and the number of the first element, as the compiled loops take them."""
    return np.uint32(key[0]), np.uint32(key[1]), np.uint32((first * units.shape[1]) & _MASK)


def mean_units(logits: Float[Tensor, "batch units"], bias: Float[Tensor, " units"]) -> Float[Tensor, "batch units"]:
    """sigmoid(logits + bias), in place."""
    if logits.device.type != "cpu":
        return logits.add_(bias).sigmoid_()
    _mean(logits.numpy(), bias.numpy())
    return logits


# Numba widens 32-bit integers to 64 bits in every operation; each is narrowed at once, or nothing here vectorises.
_U = np.uint32


@njit(inline="always", error_model="numpy")
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def _hash(n, low, high):
    x = _U(n ^ low)
    x = _U(_U(x ^ (x >> _U(16))) * _U(_M1))
    x = _U(_U(x ^ (x >> _U(15))) * _U(_M2))
    x = _U(_U(x ^ (x >> _U(16))) + high)
    x = _U(_U(x ^ (x >> _U(16))) * _U(_M1))
    x = _U(_U(x ^ (x >> _U(15))) * _U(_M2))
    return _U(x ^ (x >> _U(16)))


@njit(inline="always", error_model="numpy")
@no_type_check
def _uniform(n, low, high):
    return np.float32(np.int32(_U(_hash(n, low, high) >> _U(8)))) * np.float32(2.0**-24)


@njit(inline="always", error_model="numpy")
@no_type_check
def _exp_minus(x):
    """exp(-x) to 3e-7 relative, x cut to +-87: 2^n times a polynomial, without a call so that it vectorises."""
    x = x if x > np.float32(-87.0) else np.float32(-87.0)
    x = x if x < np.float32(87.0) else np.float32(87.0)
    y = x * np.float32(-1.4426950408889634)
    n = np.floor(y + np.float32(0.5))
    f = (y - n) * np.float32(0.6931471805599453)
    p = np.float32(1.0 / 720.0)
    p = p * f + np.float32(1.0 / 120.0)
    p = p * f + np.float32(1.0 / 24.0)
    p = p * f + np.float32(1.0 / 6.0)
    p = p * f + np.float32(0.5)
    p = p * f + np.float32(1.0)
    p = p * f + np.float32(1.0)
    bits = np.int32(np.int32(np.int32(n) + np.int32(127)) << np.int32(23))
    return p * bits.view(np.float32)


@njit(inline="always", error_model="numpy")
@no_type_check
def _sigmoid(x):
    return np.float32(1.0) / (np.float32(1.0) + _exp_minus(x))


@njit(inline="always", error_model="numpy")
@no_type_check
def _log(x):
    """log x of a normal number to 1e-7: its exponent, and a polynomial in its mantissa around 1 (that of Cephes)."""
    bits = np.int32(np.float32(x).view(np.int32) - np.int32(0x3F3504F3))  # mantissas from sqrt(1/2) to sqrt(2)
    exponent = np.float32(np.int32(bits >> np.int32(23)))
    mantissa = np.int32(np.int32(bits & np.int32(0x7FFFFF)) + np.int32(0x3F3504F3))
    f = mantissa.view(np.float32) - np.float32(1.0)
    p = np.float32(7.0376836292e-2)
    p = p * f + np.float32(-1.1514610310e-1)
    p = p * f + np.float32(1.1676998740e-1)
    p = p * f + np.float32(-1.2420140846e-1)
    p = p * f + np.float32(1.4249322787e-1)
    p = p * f + np.float32(-1.6668057665e-1)
    p = p * f + np.float32(2.0000714765e-1)
    p = p * f + np.float32(-2.4999993993e-1)
    p = p * f + np.float32(3.3333331174e-1)
    return f + (p * f - np.float32(0.5)) * f * f + exponent * np.float32(0.6931471805599453)


@njit(inline="always", error_model="numpy")
@no_type_check
def _cos_turn(u):
    """cos(2 pi u) for u in [0, 1) to 1e-7: minus the sine of at most a quarter turn, by its series."""
    x = np.float32(6.283185307179586) * (np.float32(0.25) - abs(u - np.float32(0.5)))
    square = x * x
    p = np.float32(-1.0 / 39916800.0)
    p = p * square + np.float32(1.0 / 362880.0)
    p = p * square + np.float32(-1.0 / 5040.0)
    p = p * square + np.float32(1.0 / 120.0)
    p = p * square + np.float32(-1.0 / 6.0)
    p = p * square + np.float32(1.0)
    return -x * p


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _draw_normal(products, bias, sigma, low, high, origin):
    units = products.shape[1]
    for i in range(products.shape[0]):
        first = _U(origin + _U(i * units))
        for j in range(units):
            n = _U(first + _U(j))
            u1 = _uniform(n, low, high) + np.float32(2.0**-25)
            radius = np.sqrt(np.float32(-2.0) * _log(u1))
            products[i, j] += bias[j] + sigma[j] * radius * _cos_turn(_uniform(n, high, low))


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _mean(logits, bias):
    for i in range(logits.shape[0]):
        for j in range(logits.shape[1]):
            logits[i, j] = _sigmoid(logits[i, j] + bias[j])


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _draw(logits, bias, low, high, origin):
    units = logits.shape[1]
    for i in range(logits.shape[0]):
        first = _U(origin + _U(i * units))
        for j in range(units):
            p = _sigmoid(logits[i, j] + bias[j])
            u = _uniform(_U(first + _U(j)), low, high)
            logits[i, j] = np.float32(1.0) if u < p else np.float32(0.0)


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _draw_and_mean(logits, bias, low, high, origin, mean):
    units = logits.shape[1]
    for i in range(logits.shape[0]):
        first = _U(origin + _U(i * units))
        for j in range(units):
            p = _sigmoid(logits[i, j] + bias[j])
            u = _uniform(_U(first + _U(j)), low, high)
            mean[i, j] = p
            logits[i, j] = np.float32(1.0) if u < p else np.float32(0.0)
