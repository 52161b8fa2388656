"""Random numbers keyed on what they are for, never on who draws them or when.

`key` hashes (seed, names): the same words give the same numbers however the work is split over batches, workers or
restarts. What is drawn under it comes

- from `generator` or `numpy_generator`, for what is drawn in one place, in one order;
- or is counted, for chains: each number is a function of (key, counter), nothing is stored, and no chain's numbers
  depend on another's. `words` are the one hash of both, of 64 bits: number `counter` of SplitMix64 (Steele, Lea & Flood
  2014) started at the key, mix(key + (counter + 1) golden). `uniforms` and `normals` are made of them. A row of many
  units takes one word and hashes its halves with each unit's number (`units`): 24 bits, by operations on 32 bits, which
  vectorise where products of 64 bits don't.

What ends in `_at` is the same for compiled loops, a number at a time. Torch, on any device, and numba give the same
bits.
"""

import hashlib
import math
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from numba import njit
from torch import Tensor

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # of SplitMix64
_M1, _M2 = 0x7FEB352D, 0x846CA68B  # of lowbias32 (Wellons), a bijection of 32 bits with a measured bias of 0.17
_LOW, _ALL = 2**32 - 1, 2**64 - 1
_TWO_PI = 2.0 * math.pi


def key(seed: int, *names: str | int) -> int:
    """A 63-bit integer that depends on the seed and on every name, in order.

    Names are length-prefixed before hashing, so ("ab", "c") and ("a", "bc") differ, as do 1 and "1".
    """
    digest = hashlib.blake2b(digest_size=8)
    for word in (seed, *names):
        text = f"{type(word).__name__}:{word}".encode()
        digest.update(len(text).to_bytes(4, "little") + text)
    return int.from_bytes(digest.digest(), "little") >> 1


def generator(seed: int, *names: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator seeded with `key(seed, *names)`."""
    return torch.Generator(device=device).manual_seed(key(seed, *names))


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator (PCG64) seeded with `key(seed, *names)`."""
    return np.random.Generator(np.random.PCG64(key(seed, *names)))


# Counted numbers in torch. Its integers are signed: 64 bits are kept in two's complement.


def words(keys: Int64[Tensor, "*#n"], counter: int | Int64[Tensor, "*#n"]) -> Int64[Tensor, "*n"]:
    """The hash of each key and counter, 64 bits."""
    if isinstance(counter, int):  # torch takes no number of more than 64 bits
        z = keys + _signed((counter + 1) * _GOLDEN & _ALL)
    else:
        z = keys + (counter + 1) * _signed(_GOLDEN)
    z = (z ^ _shifted(z, 30)) * _signed(_FIRST)
    z = (z ^ _shifted(z, 27)) * _signed(_SECOND)
    return z ^ _shifted(z, 31)


def uniforms(keys: Int64[Tensor, "chains"], first: int | Int64[Tensor, ""], n: int) -> Float64[Tensor, "chains {n}"]:
    """Numbers `first` to `first + n` of each key, uniform in the open interval (0, 1), of 52 random bits."""
    counter = torch.arange(n, dtype=torch.int64, device=keys.device) + first
    return (_shifted(words(keys.unsqueeze(1), counter), 12).double() + 0.5) * 2.0**-52


def normals(keys: Int64[Tensor, "chains"], first: int | Int64[Tensor, ""], n: int) -> Float64[Tensor, "chains {n}"]:
    """n standard normal numbers a key, from n (rounded up to even) of its uniform ones (Box & Muller 1958)."""
    radius, turn = uniforms(keys, first, n + n % 2).unflatten(1, (-1, 2)).unbind(-1)
    radius, turn = torch.sqrt(-2 * torch.log(radius)), _TWO_PI * turn
    return torch.stack((radius * torch.cos(turn), radius * torch.sin(turn)), dim=-1).flatten(1)[:, :n]


def halves(word: Int64[Tensor, "*n"]) -> tuple[Int64[Tensor, "*n"], Int64[Tensor, "*n"]]:
    """The lower and the upper 32 bits of words."""
    return word & _LOW, _shifted(word, 32)


def units(
    number: Int64[Tensor, "*#n"], low: int | Int64[Tensor, "*#n"], high: int | Int64[Tensor, "*#n"]
) -> Float[Tensor, "*n"]:
    """Uniform float32 numbers of a row's units, in [0, 1), multiples of 2^-24, from the halves of the row's word."""
    return (_scrambled((_scrambled((number & _LOW) ^ low) + high) & _LOW) >> 8).float() * 2.0**-24


def _scrambled(x: Tensor) -> Tensor:
    """lowbias32 of int64 that hold 32 bits."""
    x = ((x ^ (x >> 16)) * _M1) & _LOW
    x = ((x ^ (x >> 15)) * _M2) & _LOW
    return x ^ (x >> 16)


def _signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Logical shift to the right (torch's own repeats the sign)."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


# Words of single arrays: the arrays of one training step are keyed by three numbers.


def draw_key(seed: int, step: int, draw: int) -> tuple[int, int]:
    """The halves of one word for a whole array of random numbers: SplitMix64's mix of (seed, step, draw)."""
    z = (seed * _GOLDEN + step * 0xD1B54A32D192ED03 + draw * 0x8CB92BA72F3D8DD7) & _ALL
    z = ((z ^ (z >> 30)) * _FIRST) & _ALL
    z = ((z ^ (z >> 27)) * _SECOND) & _ALL
    z ^= z >> 31
    return z & _LOW, z >> 32


def uniform_array(
    shape: tuple[int, ...], halves: tuple[int, int], device: torch.device | str = "cpu", first: int = 0
) -> Tensor:
    """`units` of a whole array, its elements numbered row by row, the rows from `first`."""
    n = torch.arange(math.prod(shape), dtype=torch.int64, device=device) + first * math.prod(shape[1:])
    return units(n, *halves).reshape(shape)


# Counted numbers for compiled loops. The tests' import hook would wrap what numba has to compile: no type checks.

_W, _U = np.uint64, np.uint32  # numba widens 32-bit integers in every operation: each is narrowed at once, to vectorise


@no_type_check
@njit(cache=True, inline="always", error_model="numpy")
def word_at(key, counter):
    """One of `words`."""
    z = _W(_W(key) + (_W(counter) + _W(1)) * _W(_GOLDEN))
    z = _W(_W(z ^ (z >> _W(30))) * _W(_FIRST))
    z = _W(_W(z ^ (z >> _W(27))) * _W(_SECOND))
    return _W(z ^ (z >> _W(31)))


@no_type_check
@njit(cache=True, inline="always", error_model="numpy")
def halves_at(key, counter):
    """The lower and the upper 32 bits of one word."""
    word = word_at(key, counter)
    return _U(word), _U(word >> _W(32))


@no_type_check
@njit(cache=True, inline="always", error_model="numpy")
def unit_at(number, low, high):
    """One of `units`."""
    x = _U(_scrambled_at(_U(number ^ low)) + high)
    return np.float32(np.int32(_U(_scrambled_at(x) >> _U(8)))) * np.float32(2.0**-24)


@no_type_check
@njit(cache=True, inline="always", error_model="numpy")
def _scrambled_at(x):
    x = _U(_U(x ^ (x >> _U(16))) * _U(_M1))
    x = _U(_U(x ^ (x >> _U(15))) * _U(_M2))
    return _U(x ^ (x >> _U(16)))
