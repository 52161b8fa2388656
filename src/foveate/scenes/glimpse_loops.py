"""The loops of `glimpse`, compiled: value, and value with its derivatives.

Most points lie inside the image with all four of the pixels around them, or outside with none; either is found by four
comparisons, and costs no check per pixel. Only along the border each pixel is asked for.
"""

import math
from typing import no_type_check

import numpy as np
from numba import njit, prange

from foveate.runtime.workers import share_threads

share_threads()


@njit(cache=True, nogil=True)
@no_type_check  # here and below: the tests' import hook would wrap what numba has to compile
def level_of(u, size, extent, top, pyramid):
    """(k, f, moving): the lower level, the share of the next one, and whether lambda depends on the scale here."""
    spacing = math.sqrt(u[0] * u[0] + u[1] * u[1]) * (2.0 * extent / size)
    if not pyramid or not spacing > 1.0:
        return 0, 0.0, False
    level = math.log2(spacing)
    if level >= top:
        return top, 0.0, False
    k = int(level)
    return k, level - k, True


@njit(cache=True, nogil=True)
@no_type_check
def cell_of(position, limit):
    """(first tap, weight of the second) of a position in a line of `limit` pixels; far outside, or NaN: (-2, 0)."""
    shifted = position - 0.5
    if not (-2.0 < shifted < limit + 1.0):
        return -2, 0.0
    first = math.floor(shifted)
    return first, shifted - first


@njit(cache=True, nogil=True)
@no_type_check
def tap(buffer, begin, h, w, i, j, c, fill):
    """One channel of one pixel in 16-bit units, the fill outside."""
    if 0 <= i < h and 0 <= j < w:
        return float(buffer[begin + 3 * (i * w + j) + c])
    return fill * 65535.0


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def between(buffer, p, q, r, s, w00, w01, w10, w11):
    """One channel inside the image: the weighted sum of four values. Unsigned places are not wrapped around."""
    return (
        w00 * np.float32(buffer[p])
        + w01 * np.float32(buffer[q])
        + w10 * np.float32(buffer[r])
        + w11 * np.float32(buffer[s])
    )


@njit(cache=True, nogil=True)
@no_type_check
def along_border(buffer, begin, h, w, x, y, c, fill, weight):
    """One channel where the image ends."""
    j, i = math.floor(x), math.floor(y)
    fx, fy = x - j, y - i
    upper = tap(buffer, begin, h, w, i, j, c, fill) * (1.0 - fx) + tap(buffer, begin, h, w, i, j + 1, c, fill) * fx
    i += 1
    lower = tap(buffer, begin, h, w, i, j, c, fill) * (1.0 - fx) + tap(buffer, begin, h, w, i, j + 1, c, fill) * fx
    return np.float32((upper * (1.0 - fy) + lower * fy) * weight)


@njit(cache=True, parallel=True, nogil=True, fastmath={"contract"}, error_model="numpy")
@no_type_check
def glimpse_loop(buffer, offset, height, width, levels, fill, index, gazes, size, extent, pyramid, where, out):
    """Writes each gaze's glimpse into `out` [n, 3, size, size], at the cells of `where`, or at all if it is empty."""
    step = 2.0 * extent / size
    everywhere = where.size == 0
    one = np.uint64(1)
    for row in prange(len(gazes)):
        n = np.int64(row)
        m, u = index[n], gazes[n]
        low, share, moving = level_of(u, size, extent, levels[m] - 1, pyramid)
        for rank in range(2 if moving else 1):
            k = low + rank
            weight = np.float32((share if rank == 1 else 1.0 - share) / 65535.0)
            shrink = 1.0 / (1 << k)
            begin, h, w = offset[m, k], height[m, k], width[m, k]
            a, b = u[0] * shrink, u[1] * shrink
            beyond = weight * np.float32(65535.0)
            red, green, blue = beyond * fill[m, 0], beyond * fill[m, 1], beyond * fill[m, 2]
            for r in range(size):
                py = (r + 0.5) * step - extent
                x0, y0 = u[2] * shrink - b * py - 0.5, u[3] * shrink + a * py - 0.5
                for q in range(size):
                    if not (everywhere or where[n, r, q]):
                        continue
                    px = (q + 0.5) * step - extent
                    x, y = a * px + x0, b * px + y0
                    if x >= 0.0 and y >= 0.0 and x < w - 1.0 and y < h - 1.0:
                        j, i = np.int64(x), np.int64(y)
                        fx, fy = np.float32(x - j), np.float32(y - i)
                        w11 = fx * fy * weight
                        w01, w10 = fx * weight - w11, fy * weight - w11
                        w00 = weight - fx * weight - w10
                        p = np.uint64(begin + 3 * (i * w + j))
                        s = p + np.uint64(3 * w)
                        p1, s1 = p + np.uint64(3), s + np.uint64(3)
                        v0 = between(buffer, p, p1, s, s1, w00, w01, w10, w11)
                        p, p1, s, s1 = p + one, p1 + one, s + one, s1 + one
                        v1 = between(buffer, p, p1, s, s1, w00, w01, w10, w11)
                        v2 = between(buffer, p + one, p1 + one, s + one, s1 + one, w00, w01, w10, w11)
                    elif x > -1.0 and y > -1.0 and x < w and y < h:
                        v0 = along_border(buffer, begin, h, w, x, y, 0, fill[m, 0], weight)
                        v1 = along_border(buffer, begin, h, w, x, y, 1, fill[m, 1], weight)
                        v2 = along_border(buffer, begin, h, w, x, y, 2, fill[m, 2], weight)
                    else:  # NaN too
                        v0, v1, v2 = red, green, blue
                    if rank == 0:
                        out[n, 0, r, q], out[n, 1, r, q], out[n, 2, r, q] = v0, v1, v2
                    else:
                        out[n, 0, r, q] += v0
                        out[n, 1, r, q] += v1
                        out[n, 2, r, q] += v2


@njit(cache=True, parallel=True, nogil=True, fastmath={"contract"}, error_model="numpy")
@no_type_check
def jacobian_loop(buffer, offset, height, width, levels, fill, index, gazes, size, extent, pyramid, out, jacobian):
    """Writes glimpses into `out` [n, 3, size, size], and their derivatives into `jacobian` [n, 4, 3, size, size]."""
    step = 2.0 * extent / size
    for row in prange(len(gazes)):
        n = np.int64(row)
        m, u = index[n], gazes[n]
        low, share, moving = level_of(u, size, extent, levels[m] - 1, pyramid)
        per_scale = 1.0 / (math.log(2.0) * (u[0] * u[0] + u[1] * u[1])) if moving else 0.0
        out[n] = 0.0
        jacobian[n] = 0.0
        for rank in range(2 if moving else 1):
            k = low + rank
            weight = (share if rank == 1 else 1.0 - share) / 65535.0
            sign = (1.0 if rank == 1 else -1.0) * per_scale / 65535.0
            shrink = 1.0 / (1 << k)
            begin, h, w = offset[m, k], height[m, k], width[m, k]
            for r in range(size):
                py = (r + 0.5) * step - extent
                for q in range(size):
                    px = (q + 0.5) * step - extent
                    j, fx = cell_of((u[0] * px - u[1] * py + u[2]) * shrink, w)
                    i, fy = cell_of((u[1] * px + u[0] * py + u[3]) * shrink, h)
                    inside = 0 <= i < h - 1 and 0 <= j < w - 1
                    p = np.uint64(begin + 3 * (i * w + j)) if inside else np.uint64(0)
                    s = p + np.uint64(3 * w) if inside else np.uint64(0)
                    for c in range(3):
                        if inside:
                            d = np.uint64(c)
                            v00, v01 = float(buffer[p + d]), float(buffer[p + d + np.uint64(3)])
                            v10, v11 = float(buffer[s + d]), float(buffer[s + d + np.uint64(3)])
                        else:
                            f = fill[m, c]
                            v00 = tap(buffer, begin, h, w, i, j, c, f)
                            v01 = tap(buffer, begin, h, w, i, j + 1, c, f)
                            v10 = tap(buffer, begin, h, w, i + 1, j, c, f)
                            v11 = tap(buffer, begin, h, w, i + 1, j + 1, c, f)
                        value = (v00 * (1.0 - fx) + v01 * fx) * (1.0 - fy) + (v10 * (1.0 - fx) + v11 * fx) * fy
                        gx = ((v01 - v00) * (1.0 - fy) + (v11 - v10) * fy) * weight * shrink
                        gy = ((v10 - v00) * (1.0 - fx) + (v11 - v01) * fx) * weight * shrink
                        out[n, c, r, q] += weight * value
                        jacobian[n, 0, c, r, q] += gx * px + gy * py + sign * value * u[0]
                        jacobian[n, 1, c, r, q] += gy * px - gx * py + sign * value * u[1]
                        jacobian[n, 2, c, r, q] += gx
                        jacobian[n, 3, c, r, q] += gy


@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
@no_type_check
def misfit_loop(
    buffer, offset, height, width, levels, fill, index, gazes, size, extent, pyramid, mean, weight, value, gradient
):  # fmt: skip
    """Writes -1/2 sum w (x - m)^2 of each glimpse x into `value` [n], its slope by the gaze into `gradient` [n, 4].

    `mean` and `weight` are [n, size, 3 size], channels innermost. A row of the glimpse is fetched from both levels, and
    then everything runs over its 3 size numbers in float32; rows are added up in float64.
    """
    step = 2.0 * extent / size
    for gaze in prange(len(gazes)):
        n = np.int64(gaze)
        m, u = index[n], gazes[n]
        low, share, moving = level_of(u, size, extent, levels[m] - 1, pyramid)
        lower, upper, shrink = (1.0 - share) / 65535.0, share / 65535.0, 1.0 / (1 << low)
        factors = np.float32(lower), np.float32(upper), np.float32(lower * shrink), np.float32(upper * shrink / 2)
        taps = np.zeros((2, 6, 3 * size), np.float32)
        line = (((np.arange(3 * size) // 3) + 0.5) * step - extent).astype(np.float32)
        misfit = by_a = by_b = by_x = by_y = by_level = 0.0
        for r in range(size):
            px, py = 0.5 * step - extent, (r + 0.5) * step - extent
            x, y = u[0] * px - u[1] * py + u[2], u[1] * px + u[0] * py + u[3]
            for rank in range(2 if moving else 1):
                k = low + rank
                shrink = 1.0 / (1 << k)
                dx, dy = u[0] * step * shrink, u[1] * step * shrink
                _fetch(
                    buffer, offset[m, k], height[m, k], width[m, k], fill[m], x * shrink, y * shrink, dx, dy, taps[rank]
                )
            square, gx, gy, pgx, pgy, level = _add_up(taps[0], taps[1], line, mean[n, r], weight[n, r], factors)
            misfit += square
            by_x += gx
            by_y += gy
            by_a += pgx + py * gy
            by_b += pgy - py * gx
            by_level += level
        per_scale = by_level / (65535.0 * math.log(2.0) * (u[0] * u[0] + u[1] * u[1])) if moving else 0.0
        value[n] = -0.5 * misfit
        gradient[n, 0], gradient[n, 1] = -by_a - per_scale * u[0], -by_b - per_scale * u[1]
        gradient[n, 2], gradient[n, 3] = -by_x, -by_y


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
@no_type_check
def _fetch(buffer, begin, h, w, fill, x, y, dx, dy, taps):
    """The pixels around the points (x, y) + q (dx, dy) of a level into `taps` [6, 3 points]: the upper two and the
    lower two, in 16-bit units, and how far between them the point lies, across and down."""
    right, below = np.uint64(3), np.uint64(3 * w)
    for q in range(taps.shape[1] // 3):
        first = 3 * q
        j, fx = cell_of(x + dx * q, w)
        i, fy = cell_of(y + dy * q, h)
        taps[4, first : first + 3] = fx
        taps[5, first : first + 3] = fy
        if 0 <= i < h - 1 and 0 <= j < w - 1:
            p = np.uint64(begin + 3 * (i * w + j))
            for c in range(3):
                at = p + np.uint64(c)
                taps[0, first + c], taps[1, first + c] = buffer[at], buffer[at + right]
                taps[2, first + c], taps[3, first + c] = buffer[at + below], buffer[at + below + right]
        else:
            for c in range(3):
                for d in range(4):
                    taps[d, first + c] = tap(buffer, begin, h, w, i + d // 2, j + d % 2, c, fill[c])


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _sloped(taps, k):
    """Number k of a row, and its slopes across and down."""
    across, below = taps[1, k] - taps[0, k], taps[3, k] - taps[2, k]
    upper = taps[0, k] + taps[4, k] * across
    down = taps[2, k] + taps[4, k] * below - upper
    return upper + taps[5, k] * down, across + taps[5, k] * (below - across), down


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
@no_type_check
def _add_up(near, far, line, mean, weight, factors):
    """A row's sums: misfit, slopes by x and y, both times canonical x, and by the level (times 65535)."""
    lower, upper, lower_slope, upper_slope = factors
    square = gx = gy = pgx = pgy = level = np.float32(0)
    for k in range(len(line)):
        v, v_across, v_down = _sloped(near, k)
        w, w_across, w_down = _sloped(far, k)
        residual = lower * v + upper * w - mean[k]
        pull = residual * weight[k]
        across = pull * (lower_slope * v_across + upper_slope * w_across)
        down = pull * (lower_slope * v_down + upper_slope * w_down)
        square += pull * residual
        gx += across
        gy += down
        pgx += line[k] * across
        pgy += line[k] * down
        level += pull * (w - v)
    return square, gx, gy, pgx, pgy, level
