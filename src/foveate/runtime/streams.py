"""Random numbers that are functions of (key, counter): nothing is stored, and no chain's numbers depend on another's.

A chain owns a 63-bit key (`foveate.runtime.random.key`). Its n-th number is the n-th output of SplitMix64 (Steele, Lea
& Flood 2014) started at that key, computed directly: mix(key + (n + 1) * golden). Torch (any device) and numba give the
same bits.
"""

import math
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numba import njit
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_U_GOLDEN, _U_FIRST, _U_SECOND = np.uint64(_GOLDEN), np.uint64(_FIRST), np.uint64(_SECOND)
_U12, _U27, _U30, _U31, _U1 = np.uint64(12), np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(1)
_TWO_PI = 2.0 * math.pi


def _signed(x: int) -> int:
    """The 64 bits of x read as a two's complement integer, as torch stores them."""
    return x - (1 << 64) if x >= 1 << 63 else x


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Logical shift (torch's own repeats the sign)."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def uniforms(keys: Int64[Tensor, "chains"], first: int | Int64[Tensor, ""], n: int) -> Float64[Tensor, "chains {n}"]:
    """Numbers `first` to `first + n` of each chain's stream, uniform in the open interval (0, 1), of 52 random bits."""
    counter = torch.arange(1, n + 1, dtype=torch.int64, device=keys.device) + first
    z = keys.unsqueeze(1) + counter * _signed(_GOLDEN)
    z = (z ^ _shift_right(z, 30)) * _signed(_FIRST)
    z = (z ^ _shift_right(z, 27)) * _signed(_SECOND)
    z = z ^ _shift_right(z, 31)
    return (_shift_right(z, 12).double() + 0.5) * 2.0**-52


def normals(keys: Int64[Tensor, "chains"], first: int | Int64[Tensor, ""], n: int) -> Float64[Tensor, "chains {n}"]:
    """n standard normal numbers a chain, from n (rounded up to even) numbers of its stream (Box & Muller 1958)."""
    radius, turn = uniforms(keys, first, n + n % 2).unflatten(1, (-1, 2)).unbind(-1)
    radius, turn = torch.sqrt(-2 * torch.log(radius)), _TWO_PI * turn
    return torch.stack((radius * torch.cos(turn), radius * torch.sin(turn)), dim=-1).flatten(1)[:, :n]


@no_type_check  # here and below: the tests' import hook would wrap what numba has to compile
@njit(cache=True, inline="always")
def uniform_at(key, counter):
    """One number of `uniforms`, for compiled loops."""
    z = np.uint64(key) + (np.uint64(counter) + _U1) * _U_GOLDEN
    z = (z ^ (z >> _U30)) * _U_FIRST
    z = (z ^ (z >> _U27)) * _U_SECOND
    z = z ^ (z >> _U31)
    return (np.float64(z >> _U12) + 0.5) * 2.0**-52


@no_type_check
@njit(cache=True, inline="always")
def normal_pair_at(key, counter):
    """Two numbers of `normals`, from stream numbers `counter` and `counter + 1`."""
    radius = math.sqrt(-2.0 * math.log(uniform_at(key, counter)))
    turn = _TWO_PI * uniform_at(key, counter + 1)
    return radius * math.cos(turn), radius * math.sin(turn)
