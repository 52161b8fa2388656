"""Sigmoid, logarithm and cosine of float32 for compiled loops: no calls, so that the loops around them vectorise."""

from typing import no_type_check

import numpy as np
from numba import njit

# The import hook of the tests would wrap what numba has to compile: no type checks.


@njit(inline="always", error_model="numpy")
@no_type_check
def _exp_minus(x):
    """exp(-x), x cut to +-87: 2^n times a polynomial. Off by 3e-7 of itself where |x| < 3, by 4e-6 at the ends."""
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
def sigmoid(x):
    """1 / (1 + exp(-x)), as exact as exp(-x)."""
    return np.float32(1.0) / (np.float32(1.0) + _exp_minus(x))


@njit(inline="always", error_model="numpy")
@no_type_check
def log(x):
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
def cos_turn(u):
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
