"""The passes between the two matrix products of an annealing step, fused.

A step of annealed importance sampling of an RBM is two products and, between them, sigmoids, random numbers, Bernoulli
draws and the increment of the log weight. Each pass here does all of that in one sweep over a row (a row is a chain),
and numba's code for it takes a fifth of the time of the products. `reference.py` is the plain form.

Random numbers are counted, not streamed: the uniform number of (chain, step, layer, unit) is a hash of those four and
the seed, so that a chain is the same chain in whatever company it runs, on whatever device, and from wherever it is
resumed.
"""

from typing import no_type_check

import numba as nb
import numpy as np
from llvmlite import ir
from numba import njit
from numba.extending import intrinsic

# Reassociating sums lets the loops vectorise; infinities and NaN keep their meaning.
_FAST = {"reassoc", "contract", "arcp", "nsz"}
_F, _I, _U, _L = np.float32, np.int32, np.uint32, np.uint64

WIDTH = 16
"""Rows are padded to whole multiples of this many units: no remainder loops, and every row aligned to 64 bytes."""

COARSE = 0.1
"""4-norm of the change of a row's hidden inputs in one step up to which the series of the weight's increment is used.

(A maximum would say the same, but LLVM doesn't vectorise a loop with one.)
"""


@intrinsic
@no_type_check  # here and below: the tests' import hook would wrap what numba has to compile
def _as_float(typing_context, bits):
    """The float32 with these 32 bits; `.view` on a scalar goes through memory and keeps loops from vectorising."""
    return nb.float32(nb.int32), lambda context, builder, signature, args: builder.bitcast(args[0], ir.FloatType())


@intrinsic
@no_type_check
def _as_bits(typing_context, value):
    """The 32 bits of a float32."""
    return nb.int32(nb.float32), lambda context, builder, signature, args: builder.bitcast(args[0], ir.IntType(32))


@njit(inline="always", error_model="numpy")
@no_type_check
def row_words(key, step, layer):
    """Two 32-bit words for one row of random numbers: splitmix64's finaliser (Steele et al. 2014) over key and
    counter."""
    x = _L(key + _L(_L(2) * _L(step) + _L(layer) + _L(1)) * _L(0x9E3779B97F4A7C15))
    x = _L(_L(x ^ (x >> _L(30))) * _L(0xBF58476D1CE4E5B9))
    x = _L(_L(x ^ (x >> _L(27))) * _L(0x94D049BB133111EB))
    x = _L(x ^ (x >> _L(31)))
    return _U(x), _U(x >> _L(32))


@njit(inline="always", error_model="numpy")
@no_type_check
def _scramble(x):
    """Wellons' lowbias32, a bijection of 32 bits. Numba widens 32-bit results; each is narrowed at once, to
    vectorise."""
    x = _U(_U(x ^ (x >> _U(16))) * _U(0x7FEB352D))
    x = _U(_U(x ^ (x >> _U(15))) * _U(0x846CA68B))
    return _U(x ^ (x >> _U(16)))


@njit(inline="always", error_model="numpy")
@no_type_check
def _uniform(unit, low, high):
    """In [0, 1), a multiple of 2^-24."""
    x = _scramble(_U(_scramble(_U(unit ^ low)) + high))
    return _F(_I(_U(x >> _U(8)))) * _F(2.0**-24)


@njit(inline="always", error_model="numpy")
@no_type_check
def _sigmoid(x):
    """1 / (1 + exp(-x)) to 2e-7 relative: exp is 2^n times a polynomial on [-log(2)/2, log(2)/2] (Cephes' expf)."""
    y = -x
    y = _F(80) if y > _F(80) else y
    y = _F(-80) if y < _F(-80) else y
    biased = _I(y * _F(1.4426950408889634) + _F(127.5))  # n + 127, positive, so that truncation is rounding
    n = _F(_I(biased - _I(127)))
    r = y - n * _F(0.693359375)
    r = r + n * _F(2.12194440e-4)
    e = _F(1.9875691500e-4)
    e = e * r + _F(1.3981999507e-3)
    e = e * r + _F(8.3334519073e-3)
    e = e * r + _F(4.1665795894e-2)
    e = e * r + _F(1.6666665459e-1)
    e = e * r + _F(5.0000001201e-1)
    e = e * r * r + r + _F(1)
    return _F(1) / (_F(1) + e * _as_float(_I(biased << _I(23))))


@njit(inline="always", error_model="numpy")
@no_type_check
def _log(x):
    """log x of a positive, normal float32 to 1e-7 absolute or relative (Cephes' logf)."""
    bits = _as_bits(x)
    n = _I((bits >> _I(23)) - _I(126))
    m = _as_float(_I((bits & _I(0x007FFFFF)) | _I(0x3F000000)))  # in [1/2, 1)
    small = m < _F(0.70710678)
    e = _F(n) - (_F(1) if small else _F(0))
    r = (m + m if small else m) - _F(1)
    z = r * r
    p = _F(7.0376836292e-2)
    p = p * r - _F(1.1514610310e-1)
    p = p * r + _F(1.1676998740e-1)
    p = p * r - _F(1.2420140846e-1)
    p = p * r + _F(1.4249322787e-1)
    p = p * r - _F(1.6668057665e-1)
    p = p * r + _F(2.0000714765e-1)
    p = p * r - _F(2.4999993993e-1)
    p = p * r + _F(3.3333331174e-1)
    return r + (p * r * z - e * _F(2.12194440e-4) - _F(0.5) * z) + e * _F(0.693359375)


@njit(inline="always", error_model="numpy")
@no_type_check
def _cos_turn(u):
    """cos(2 pi u) for u in [0, 1): minus the sine of a quarter turn's distance, by an odd polynomial (error 6e-7)."""
    y = u - _F(0.5)  # cos(2 pi u) = -cos(2 pi y), y in [-1/2, 1/2)
    y = (y if y > _F(0) else -y) - _F(0.25)  # -cos(2 pi |y|) = sin(2 pi (|y| - 1/4)), |argument| <= pi / 2
    x = y * _F(6.283185307179586)
    z = x * x
    p = _F(-2.5052108e-8)
    p = p * z + _F(2.7557319e-6)
    p = p * z - _F(1.9841270e-4)
    p = p * z + _F(8.3333333e-3)
    p = p * z - _F(1.6666667e-1)
    return x + x * z * p


@njit(cache=True, error_model="numpy", fastmath=_FAST, nogil=True)
@no_type_check
def hidden_pass(product, c_base, c_change, betas, step, keys, hidden, log_weight):
    """Move the weight from beta[step - 1] to beta[step] at the present v, then draw h given v at beta[step].

    A hidden unit's input is x = c_base + beta s with s = c_change + (v W)_j, and the log of the annealed marginal holds
    softplus(x) for it. With p = sigmoid(x) at the new beta and d = (beta_new - beta_old) s, Taylor's series backwards
    gives softplus(x) - softplus(x - d) = d p - d^2/2 q + d^3/6 q (1 - 2p) - d^4/24 q (1 - 6q) + O(d^5 / 240), q = p
    (1 - p): no logarithm, and no difference of large float32 numbers. Rows with larger d (coarse schedules) are done
    over in float64 without the series.

    Args:
        product: [rows, H] v W.
        c_base, c_change: [H] hidden biases at beta = 0, and what they gain until beta = 1.
        betas: [K + 1] float64 inverse temperatures.
        step: Index into betas, at least 1.
        keys: [rows] uint64, one a chain.
        hidden: [rows, H] filled with the draw.
        log_weight: [rows] float64, added to.
    """
    beta, change = _F(betas[step]), _F(betas[step] - betas[step - 1])
    for r in range(product.shape[0]):
        row, out = product[r], hidden[r]
        low, high = row_words(keys[r], step, 0)
        gained, fourths = _F(0), _F(0)
        for j in range(row.shape[0]):
            s = row[j] + c_change[j]
            d = change * s
            p = _sigmoid(c_base[j] + beta * s)
            q = p * (_F(1) - p)
            fourth = (_F(1) - _F(6) * q) * _F(1 / 24)
            third = (_F(1) - p - p) * _F(1 / 6)
            gained += d * (p - d * q * (_F(0.5) - d * (third - d * fourth)))
            squared = d * d
            fourths += squared * squared
            out[j] = _F(1) if _uniform(_U(j), low, high) < p else _F(0)
        if fourths > _F(COARSE**4):
            log_weight[r] += _coarse_gain(row, c_base, c_change, betas[step - 1], betas[step])
        else:
            log_weight[r] += gained


@njit(cache=True, error_model="numpy", nogil=True)
@no_type_check
def _coarse_gain(row, c_base, c_change, old, new):
    """sum_j softplus at the new beta minus softplus at the old, in float64."""
    total = 0.0
    for j in range(row.shape[0]):
        s = np.float64(row[j]) + np.float64(c_change[j])
        x, y = c_base[j] + new * s, c_base[j] + old * s
        total += max(x, 0.0) - max(y, 0.0) + np.log1p(np.exp(-abs(x))) - np.log1p(np.exp(-abs(y)))
    return total


@njit(cache=True, error_model="numpy", fastmath=_FAST, nogil=True)
@no_type_check
def tempered_hidden_pass(product, c_base, c_change, beta, step, keys, hidden, coupling):
    """Draw h given v, each row at a beta of its own, and say how the joint's log density changes with beta.

    Args:
        product, c_base, c_change, step, keys, hidden: As in `hidden_pass`.
        beta: [rows] float32.
        coupling: [rows] float64, filled with sum_j h_j s_j, the hidden part of d log p*_beta(v, h) / d beta.
    """
    for r in range(product.shape[0]):
        row, out, own = product[r], hidden[r], beta[r]
        low, high = row_words(keys[r], step, 0)
        total = _F(0)
        for j in range(row.shape[0]):
            s = row[j] + c_change[j]
            p = _sigmoid(c_base[j] + own * s)
            h = _F(1) if _uniform(_U(j), low, high) < p else _F(0)
            total += h * s
            out[j] = h
        coupling[r] = total


@njit(cache=True, error_model="numpy", fastmath=_FAST, nogil=True)
@no_type_check
def binary_visible_pass(product, b_base, b_change, beta, step, keys, slope):
    """Draw binary v given h, in place of the product h W^T.

    Args:
        product: [rows, V] h W^T, overwritten with the draw.
        b_base, b_change: [V] visible biases at beta = 0, and what they gain until beta = 1.
        beta: [rows] float32.
        step: Counter of the random numbers.
        keys: [rows] uint64.
        slope: [rows] float64, filled with sum_i b_change_i v_i, the visible part of d log p*_beta(v) / d beta.
    """
    for r in range(product.shape[0]):
        row, own = product[r], beta[r]
        low, high = row_words(keys[r], step, 1)
        total = _F(0)
        for i in range(row.shape[0]):
            p = _sigmoid(b_base[i] + own * (row[i] + b_change[i]))
            v = _F(1) if _uniform(_U(i), low, high) < p else _F(0)
            total += v * b_change[i]
            row[i] = v
        slope[r] = total


@njit(cache=True, error_model="numpy", fastmath=_FAST, nogil=True)
@no_type_check
def gaussian_visible_pass(product, e_base, e_change, precision_base, precision_change, beta, step, keys, slope):
    """Draw Gaussian v given h, in place of the product h W^T.

    With natural parameters at beta: precision = precision_base + beta precision_change, and the linear coefficient
    e_base + beta (e_change + (h W^T)_i); v_i has mean their ratio and variance 1 / precision (Box and Muller 1958).

    Args:
        product, beta, step, keys: As in `binary_visible_pass`.
        e_base, e_change: [V] linear coefficients at beta = 0, and what they gain until beta = 1.
        precision_base, precision_change: [V] the same of the precisions.
        slope: [rows] float64, filled with sum_i e_change_i v_i - precision_change_i v_i^2 / 2.
    """
    for r in range(product.shape[0]):
        row, own = product[r], beta[r]
        low, high = row_words(keys[r], step, 1)
        other = _U(high ^ _U(0x9E3779B9))
        total = _F(0)
        for i in range(row.shape[0]):
            precision = precision_base[i] + own * precision_change[i]
            mean = (e_base[i] + own * (row[i] + e_change[i])) / precision
            radius = _F(-2) * _log(_uniform(_U(i), low, high) + _F(2.0**-25))
            v = mean + np.sqrt(radius / precision) * _cos_turn(_uniform(_U(i), low, other))
            total += v * (e_change[i] - _F(0.5) * precision_change[i] * v)
            row[i] = v
        slope[r] = total


@njit(cache=True, error_model="numpy", nogil=True)
@no_type_check
def swap_pass(rows_by_level, ladder, slope, step, key, swapped, was_at_bottom):
    """Offer neighbouring levels of each ensemble to exchange their states (Geyer 1991; Swendsen and Wang 1986).

    log p*_beta(v, h) is linear in beta with slope d, so an exchange between levels a and b is accepted with probability
    min(1, exp((beta_a - beta_b) (d_b - d_a))). Even and odd pairs take turns.

    Args:
        rows_by_level: [ensembles, levels] int64, which row is at which level; changed in place.
        ladder: [levels] float64 inverse temperatures, ascending.
        slope: [rows] float64, d log p*_beta(v, h) / d beta.
        step: Counter.
        key: uint64 of the random numbers.
        swapped: [levels - 1] int64, counts of accepted exchanges, added to.
        was_at_bottom: [rows] uint8, whether a row has been at level 0 since it was last at the top; changed in place.

    Returns:
        How many rows arrived at the top from the bottom.
    """
    ensembles, levels = rows_by_level.shape
    low, high = row_words(key, step, 0)
    arrived = 0
    for e in range(ensembles):
        for level in range(step % 2, levels - 1, 2):
            below, above = rows_by_level[e, level], rows_by_level[e, level + 1]
            log_ratio = (ladder[level] - ladder[level + 1]) * (slope[above] - slope[below])
            uniform = np.float64(_uniform(_U(e * levels + level), low, high)) + 2.0**-25
            if np.log(uniform) < log_ratio:
                rows_by_level[e, level], rows_by_level[e, level + 1] = above, below
                swapped[level] += 1
        was_at_bottom[rows_by_level[e, 0]] = 1
        top = rows_by_level[e, levels - 1]
        arrived += was_at_bottom[top]
        was_at_bottom[top] = 0
    return arrived
