"""Matrix products and draws whose rows don't depend on their company.

A row of a batched matrix product is not the same number, bit for bit, in a batch of 1 and one of 8: libraries choose
other summation orders. A hidden unit within rounding of its threshold then falls the other way, and a chain goes
elsewhere because another image was in the batch. Here every row is added up in one order, whatever else there is.
"""

import math
from typing import no_type_check

import numpy as np
from numba import njit, prange

from foveate.runtime.random import normal_pair_at, uniform_at

_ROWS, _BLOCK = 16, 64  # rows a task, and how much of the matrix stays in the cache while they use it


@no_type_check  # here and below: the tests' import hook would wrap what numba has to compile
@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def _product(rows, matrix, bias, out):
    for task in prange((len(rows) + _ROWS - 1) // _ROWS):
        first = np.int64(task) * _ROWS
        _some_rows(rows, matrix, bias, out, first, min(first + _ROWS, len(rows)))


@no_type_check
@njit(cache=True, error_model="numpy")
def _some_rows(rows, matrix, bias, out, first, last):
    inner = rows.shape[1]
    which, factor = np.zeros(_BLOCK + 4, np.int64), np.zeros(_BLOCK + 4, np.float32)
    for i in range(first, last):
        for j in range(len(bias)):
            out[i, j] = bias[j]
    for begin in range(0, inner, _BLOCK):
        for i in range(first, last):
            count = 0
            for k in range(begin, min(begin + _BLOCK, inner)):
                if rows[i, k] != 0.0:
                    which[count], factor[count] = k, rows[i, k]
                    count += 1
            for k in range(count, count + 4):
                factor[k] = 0.0
            for k in range(0, count, 4):
                _add_four(
                    out[i], matrix[which[k]], matrix[which[k + 1]], matrix[which[k + 2]], matrix[which[k + 3]],
                    factor[k], factor[k + 1], factor[k + 2], factor[k + 3],
                )  # fmt: skip


@no_type_check
@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def _add_four(out, m0, m1, m2, m3, f0, f1, f2, f3):
    for j in range(len(out)):
        out[j] = out[j] + f0 * m0[j] + f1 * m1[j] + f2 * m2[j] + f3 * m3[j]


def product(rows: np.ndarray, matrix: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """rows [n, k] @ matrix [k, m] + bias [m], float32; zeros in `rows` cost nothing."""
    out = np.empty((len(rows), matrix.shape[1]), np.float32)
    _product(rows, matrix, bias, out)
    return out


@no_type_check
@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def sample_normal(keys, first, mean, deviation, out):
    """out[n, i] ~ N(mean[n, i], deviation[i]^2), from numbers `first` onwards of each row's stream."""
    width = mean.shape[1]
    for row in prange(len(mean)):
        n = np.int64(row)
        for i in range(0, width, 2):
            z0, z1 = normal_pair_at(keys[n], first + i)
            out[n, i] = mean[n, i] + deviation[i] * z0
            if i + 1 < width:
                out[n, i + 1] = mean[n, i + 1] + deviation[i + 1] * z1


@no_type_check
@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def sample_bernoulli(keys, first, log_odds, out):
    """out[n, j] = 1 with probability sigmoid(log_odds[n, j]), else 0, from numbers `first` onwards of each stream."""
    for row in prange(len(log_odds)):
        n = np.int64(row)
        for j in range(log_odds.shape[1]):
            on = uniform_at(keys[n], first + j) * (1.0 + math.exp(-float(log_odds[n, j]))) < 1.0
            out[n, j] = 1.0 if on else 0.0
