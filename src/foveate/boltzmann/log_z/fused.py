"""The passes between the two matrix products of an annealing step, fused.

A step of annealed importance sampling of an RBM is two products and, between them, sigmoids, random numbers, Bernoulli
draws and the increment of the log weight. Each pass here does all of that in one sweep over a row (a row is a chain),
and numba's code for it takes a fifth of the time of the products. `path.py` is the plain form.

Random numbers are counted (`Counted`): a chain's key and a counter give a row's word, that the numbers of its units. So
a chain is the same chain in whatever company it runs, on whatever device, and from wherever it is resumed.
"""

from typing import no_type_check

import numpy as np
from numba import njit

from foveate.runtime.fastmath import cos_turn, log, sigmoid
from foveate.runtime.random import halves_at, unit_at

# Reassociating sums lets the loops vectorise; infinities and NaN keep their meaning.
_FAST = {"reassoc", "contract", "arcp", "nsz"}
_F, _U = np.float32, np.uint32

WIDTH = 16
"""Rows are padded to whole multiples of this many units: no remainder loops, and every row aligned to 64 bytes."""

COARSE = 0.1
"""4-norm of the change of a row's hidden inputs in one step up to which the series of the weight's increment is used.

(A maximum would say the same, but LLVM doesn't vectorise a loop with one.)
"""


@njit(cache=True, error_model="numpy", fastmath=_FAST, nogil=True)
@no_type_check
def hidden_pass(product, c_base, c_change, old, new, counter, keys, hidden, gained):
    """What the log weight gains from beta `old` to `new` at the present v beside the slope's part; h given v at `new`.

    A hidden unit's input is x = c_base + beta s with s = c_change + (v W)_j, and the log of the annealed marginal holds
    softplus(x) for it. With p = sigmoid(x) at the new beta and d = (beta_new - beta_old) s, Taylor's series backwards
    gives softplus(x) - softplus(x - d) = d p - d^2/2 q + d^3/6 q (1 - 2p) - d^4/24 q (1 - 6q) + O(d^5 / 240), q = p
    (1 - p): no logarithm, and no difference of large float32 numbers. Rows with larger d (coarse schedules) are done
    over in float64 without the series.

    Args:
        product: [rows, H] v W.
        c_base, c_change: [H] hidden biases at beta = 0, and what they gain until beta = 1.
        old, new: Inverse temperatures.
        counter: Of the random numbers.
        keys: [rows] int64, one a chain.
        hidden: [rows, H] filled with the draw.
        gained: [rows] float64, filled.
    """
    beta, change = _F(new), _F(new - old)
    for r in range(product.shape[0]):
        row, out = product[r], hidden[r]
        low, high = halves_at(keys[r], counter)
        total, fourths = _F(0), _F(0)
        for j in range(row.shape[0]):
            s = row[j] + c_change[j]
            d = change * s
            p = sigmoid(c_base[j] + beta * s)
            q = p * (_F(1) - p)
            fourth = (_F(1) - _F(6) * q) * _F(1 / 24)
            third = (_F(1) - p - p) * _F(1 / 6)
            total += d * (p - d * q * (_F(0.5) - d * (third - d * fourth)))
            squared = d * d
            fourths += squared * squared
            out[j] = _F(1) if unit_at(_U(j), low, high) < p else _F(0)
        if fourths > _F(COARSE**4):
            gained[r] = _coarse_gain(row, c_base, c_change, old, new)
        else:
            gained[r] = total


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
def tempered_hidden_pass(product, c_base, c_change, beta, counter, keys, hidden, coupling):
    """Draw h given v, each row at a beta of its own, and say how the joint's log density changes with beta.

    Args:
        product, c_base, c_change, counter, keys, hidden: As in `hidden_pass`.
        beta: [rows] float32.
        coupling: [rows] float64, filled with sum_j h_j s_j, the hidden part of d log p*_beta(v, h) / d beta.
    """
    for r in range(product.shape[0]):
        row, out, own = product[r], hidden[r], beta[r]
        low, high = halves_at(keys[r], counter)
        total = _F(0)
        for j in range(row.shape[0]):
            s = row[j] + c_change[j]
            p = sigmoid(c_base[j] + own * s)
            h = _F(1) if unit_at(_U(j), low, high) < p else _F(0)
            total += h * s
            out[j] = h
        coupling[r] = total


@njit(cache=True, error_model="numpy", fastmath=_FAST, nogil=True)
@no_type_check
def binary_visible_pass(product, b_base, b_change, beta, counter, keys, slope):
    """Draw binary v given h, in place of the product h W^T.

    Args:
        product: [rows, V] h W^T, overwritten with the draw.
        b_base, b_change: [V] visible biases at beta = 0, and what they gain until beta = 1.
        beta: [rows] float32.
        counter: Of the random numbers.
        keys: [rows] int64.
        slope: [rows] float64, filled with sum_i b_change_i v_i, the visible part of d log p*_beta(v) / d beta.
    """
    for r in range(product.shape[0]):
        row, own = product[r], beta[r]
        low, high = halves_at(keys[r], counter)
        total = _F(0)
        for i in range(row.shape[0]):
            p = sigmoid(b_base[i] + own * (row[i] + b_change[i]))
            v = _F(1) if unit_at(_U(i), low, high) < p else _F(0)
            total += v * b_change[i]
            row[i] = v
        slope[r] = total


@njit(cache=True, error_model="numpy", fastmath=_FAST, nogil=True)
@no_type_check
def gaussian_visible_pass(product, e_base, e_change, precision_base, precision_change, beta, counter, keys, slope):
    """Draw Gaussian v given h, in place of the product h W^T.

    With natural parameters at beta: precision = precision_base + beta precision_change, and the linear coefficient
    e_base + beta (e_change + (h W^T)_i); v_i has mean their ratio and variance 1 / precision (Box and Muller 1958).

    Args:
        product, beta, counter, keys: As in `binary_visible_pass`.
        e_base, e_change: [V] linear coefficients at beta = 0, and what they gain until beta = 1.
        precision_base, precision_change: [V] the same of the precisions.
        slope: [rows] float64, filled with sum_i e_change_i v_i - precision_change_i v_i^2 / 2.
    """
    for r in range(product.shape[0]):
        row, own = product[r], beta[r]
        low, high = halves_at(keys[r], counter)
        other = _U(high ^ _U(0x9E3779B9))
        total = _F(0)
        for i in range(row.shape[0]):
            precision = precision_base[i] + own * precision_change[i]
            mean = (e_base[i] + own * (row[i] + e_change[i])) / precision
            radius = _F(-2) * log(unit_at(_U(i), low, high) + _F(2.0**-25))
            v = mean + np.sqrt(radius / precision) * cos_turn(unit_at(_U(i), low, other))
            total += v * (e_change[i] - _F(0.5) * precision_change[i] * v)
            row[i] = v
        slope[r] = total


@njit(cache=True, error_model="numpy", nogil=True)
@no_type_check
def swap_pass(rows_by_level, ladder, slope, step, key, was_at_bottom):
    """Offer neighbouring levels of each ensemble to exchange their states (Geyer 1991; Swendsen and Wang 1986).

    log p*_beta(v, h) is linear in beta with slope d, so an exchange between levels a and b is accepted with probability
    min(1, exp((beta_a - beta_b) (d_b - d_a))). Even and odd pairs take turns.

    Args:
        rows_by_level: [ensembles, levels] int64, which row is at which level; changed in place.
        ladder: [levels] float64 inverse temperatures, ascending.
        slope: [rows] float64, d log p*_beta(v, h) / d beta.
        step: Counter.
        key: uint64 of the random numbers.
        was_at_bottom: [rows] uint8, whether a row has been at level 0 since it was last at the top; changed in place.

    Returns:
        How many rows arrived at the top from the bottom.
    """
    ensembles, levels = rows_by_level.shape
    low, high = halves_at(key, 2 * step)
    arrived = 0
    for e in range(ensembles):
        for level in range(step % 2, levels - 1, 2):
            below, above = rows_by_level[e, level], rows_by_level[e, level + 1]
            log_ratio = (ladder[level] - ladder[level + 1]) * (slope[above] - slope[below])
            uniform = np.float64(unit_at(_U(e * levels + level), low, high)) + 2.0**-25
            if np.log(uniform) < log_ratio:
                rows_by_level[e, level], rows_by_level[e, level + 1] = above, below
        was_at_bottom[rows_by_level[e, 0]] = 1
        top = rows_by_level[e, levels - 1]
        arrived += was_at_bottom[top]
        was_at_bottom[top] = 0
    return arrived
