"""The passes between the two matrix products of an annealing step, fused.

Each does sigmoids, random numbers, draws and the increment of the log weight in one sweep over a row, which is a chain,
in a fifth of the time of the products; `path.py` is the plain form. Of a pass of n rows and U units: `product` [n, U]
is what reaches the units from the other layer; `base` and `change` [U] are their natural parameters at beta = 0 and
what these gain until beta = 1; `beta` [n]; `counter` and `keys` [n] give the random numbers (`Counted`), so that a
chain is the same in whatever company, on whatever device, and from wherever it is resumed.
"""

from typing import no_type_check

import numpy as np
from numba import njit

from foveate.runtime.fastmath import cos_turn, log, sigmoid
from foveate.runtime.random import halves_at, unit_at

# Reassociating sums lets the loops vectorise; infinities and NaN keep their meaning.
_compiled = njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"}, nogil=True)
_F, _U = np.float32, np.uint32

WIDTH = 16  # Rows are padded to whole multiples of this many units: no remainder loops, every row aligned to 64 bytes
COARSE = 0.1
"""4-norm (a maximum doesn't vectorise) of the change of a row's hidden inputs up to which the series is used."""


@_compiled
@no_type_check
def hidden_pass(product, c_base, c_change, old, new, counter, keys, hidden, gained):
    """Fill `hidden` with h given v at beta `new`, and `gained` [n] with what the log weight gains from `old` to `new`
    beside the slope's part.

    A hidden unit's input is x = c_base + beta s with s = c_change + (v W)_j, and the log of the annealed marginal holds
    softplus(x) for it. With p = sigmoid(x) at the new beta and d = (beta_new - beta_old) s, Taylor's series backwards
    gives softplus(x) - softplus(x - d) = d p - d^2/2 q + d^3/6 q (1 - 2p) - d^4/24 q (1 - 6q) + O(d^5 / 240), q = p
    (1 - p): no logarithm, and no difference of large float32 numbers. Rows with larger d (coarse schedules) are done
    over in float64 without the series.
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


@_compiled
@no_type_check
def binary_pass(product, base, change, beta, counter, keys, slope):
    """Draw binary units in place of `product`; `slope` [n] gets sum_i change_i s_i, of d log p*_beta / d beta."""
    for r in range(product.shape[0]):
        row, own = product[r], beta[r]
        low, high = halves_at(keys[r], counter)
        total = _F(0)
        for i in range(row.shape[0]):
            p = sigmoid(base[i] + own * (row[i] + change[i]))
            s = _F(1) if unit_at(_U(i), low, high) < p else _F(0)
            total += s * change[i]
            row[i] = s
        slope[r] = total


@_compiled
@no_type_check
def gaussian_pass(product, e_base, e_change, precision_base, precision_change, beta, counter, keys, slope):
    """Draw Gaussian units in place of `product`; `slope` gets sum_i e_change_i v_i - precision_change_i v_i^2 / 2.

    v_i has the precision P = precision_base + beta precision_change, the mean (e_base + beta (e_change + product)) / P.
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
