"""The passes between the matrix products of contrastive learning, fused; each with a plain torch reference.

Random numbers are counted, not streamed: the uniform number of element n under a key is a hash of both, so that a draw
depends on (seed, step, which draw, element) alone, the same on every device and for any number of threads.
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


def uniform_reference(shape: tuple[int, ...], key: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """Uniform numbers in [0, 1), multiples of 2^-24: lowbias32(lowbias32(n xor low) + high) / 2^32 for element n."""
    x = torch.arange(int(np.prod(shape)), dtype=torch.int64, device=device) ^ key[0]
    x = (_scramble(x) + key[1]) & _MASK
    return ((_scramble(x) >> 8).to(torch.float32) * 2.0**-24).reshape(shape)


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
) -> Float[Tensor, "batch units"]:
    """Binary units from the products that reach them, in place: a draw with P(1) = sigmoid(logits + bias).

    Args:
        logits: v W or h W^T, overwritten with the draw.
        bias: Added to every row.
        key: From `draw_key`.
        mean: If given, filled with the probabilities.
    """
    if logits.device.type != "cpu":
        probability = torch.sigmoid(logits + bias)
        if mean is not None:
            mean.copy_(probability)
        return logits.copy_((uniform_reference(tuple(logits.shape), key, logits.device) < probability).to(logits.dtype))
    low, high = np.uint32(key[0]), np.uint32(key[1])
    if mean is None:
        _draw(logits.numpy(), bias.numpy(), low, high)
    else:
        _draw_and_mean(logits.numpy(), bias.numpy(), low, high, mean.numpy())
    return logits


def mean_units(
    logits: Float[Tensor, "batch units"], bias: Float[Tensor, " units"]
) -> Float[Tensor, "batch units"]:
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


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _mean(logits, bias):
    for i in range(logits.shape[0]):
        for j in range(logits.shape[1]):
            logits[i, j] = _sigmoid(logits[i, j] + bias[j])


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _draw(logits, bias, low, high):
    units = logits.shape[1]
    for i in range(logits.shape[0]):
        first = _U(i * units)
        for j in range(units):
            p = _sigmoid(logits[i, j] + bias[j])
            u = _uniform(_U(first + _U(j)), low, high)
            logits[i, j] = np.float32(1.0) if u < p else np.float32(0.0)


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"}, nogil=True)
@no_type_check
def _draw_and_mean(logits, bias, low, high, mean):
    units = logits.shape[1]
    for i in range(logits.shape[0]):
        first = _U(i * units)
        for j in range(units):
            p = _sigmoid(logits[i, j] + bias[j])
            u = _uniform(_U(first + _U(j)), low, high)
            mean[i, j] = p
            logits[i, j] = np.float32(1.0) if u < p else np.float32(0.0)
