"""The Gaussian log density of a glimpse, and its gradient in the gaze, in one fused pass over the image pyramid.

For a glimpse x(u) in [0, 1], a mean m and weights w (inverse variances) over the patch,

    log p(u) = -1/2 sum_i w_i (x_i(u) - m_i)^2,    d log p/du = -sum_i w_i (x_i - m_i) dx_i/du,

with x and dx/du as `foveate.scenes.glimpse` defines them, the dependence of the pyramid level on the scale included.
This is log p(u | v, I) of the paper with m = v and w = 1 / sigma^2, in units of pixels.

How it is fast: the buffer has three channels to a pixel, so a load of four 16-bit numbers is a pixel and one number
more; four such loads make a bilinear sample of all channels in four SIMD lanes, the fourth lane having weight zero.
Everything else runs over lanes, a patch row at a time, in float32 around a local origin; rows are added up in
float64. Rows that touch the image's border take a plain path. No allocation, nothing shared between gazes: a gaze's
result does not depend on its company.
"""

import math
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from llvmlite import ir
from numba import float32, njit, types
from numba.extending import intrinsic
from torch import Tensor

from foveate.scenes.glimpse_loops import cell_of, level_of, tap

# Algebraic freedom for SIMD, but NaN and infinity keep their meaning.
FAST = {"reassoc", "contract", "nsz", "arcp"}

# A workspace is one float32 array of LANES-long strips, at fixed distances so that the compiler can see that they are
# apart. (304 floats are no divisor of a memory page: strips a page apart would stall the processor's store forwarding.)
_STRIP = 304
MAX_SIZE = _STRIP // 4
_LINE, _FX, _FY, _COLUMN, _ROW, _T00, _T01, _T10, _T11 = (k * _STRIP for k in range(9))
_VALUE, _GX, _GY = (k * _STRIP for k in range(9, 12))
_NEXT = 3 * _STRIP  # from a strip of the lower level to that of the next one
WORKSPACE = 15 * _STRIP
_THREE = np.uint64(3)


@no_type_check  # here and below: the tests' import hook would wrap what numba has to compile
@intrinsic
def _widen4(typingctx, source, at, target, to):
    """target[to : to + 4] = source[at : at + 4], 16-bit integers to float32: one load, one conversion, one store."""

    def codegen(context, builder, signature, args):
        source_type, _, target_type, _ = signature.args
        source_data = context.make_array(source_type)(context, builder, args[0]).data
        target_data = context.make_array(target_type)(context, builder, args[2]).data
        shorts, ints = ir.VectorType(ir.IntType(16), 4), ir.VectorType(ir.IntType(32), 4)
        floats = ir.VectorType(ir.FloatType(), 4)
        pixel = builder.load(builder.bitcast(builder.gep(source_data, [args[1]]), shorts.as_pointer()))
        pixel.align = 2
        wide = builder.uitofp(builder.zext(pixel, ints), floats)
        store = builder.store(wide, builder.bitcast(builder.gep(target_data, [args[3]]), floats.as_pointer()))
        store.align = 4
        return context.get_dummy_value()

    return types.void(source, at, target, to), codegen


@no_type_check
@njit(cache=True, fastmath=FAST, error_model="numpy")
def _row_inside(buffer, base, width3, x, y, dx, dy, lanes, work, level):
    """Samples a patch row whose taps all lie inside: values and pixel gradients of the level into `work`.

    (x, y) is the position of canonical x = 0 relative to the local origin (>= 0 for all lanes), (dx, dy) its change
    with x.
    """
    for lane in range(lanes):
        column, row = x + dx * work[_LINE + lane], y + dy * work[_LINE + lane]
        j, i = float32(np.int32(column)), float32(np.int32(row))
        work[_FX + lane] = column - j
        work[_FY + lane] = row - i
        work[_COLUMN + lane] = j
        work[_ROW + lane] = i
    for lane in range(0, lanes, 4):
        at = np.uint64(base + np.int64(work[_ROW + lane]) * width3 + 3 * np.int64(work[_COLUMN + lane]))
        below = at + np.uint64(width3)
        _widen4(buffer, at, work, _T00 + lane)
        _widen4(buffer, at + _THREE, work, _T01 + lane)
        _widen4(buffer, below, work, _T10 + lane)
        _widen4(buffer, below + _THREE, work, _T11 + lane)
    if level == 0:
        _bilinear(work, lanes, 0)
    else:
        _bilinear(work, lanes, _NEXT)


@no_type_check
@njit(cache=True, fastmath=FAST, error_model="numpy", inline="always")
def _bilinear(work, lanes, shift):
    for lane in range(lanes):
        fx, fy = work[_FX + lane], work[_FY + lane]
        top, bottom = work[_T01 + lane] - work[_T00 + lane], work[_T11 + lane] - work[_T10 + lane]
        upper = work[_T00 + lane] + fx * top
        down = work[_T10 + lane] + fx * bottom - upper
        work[_VALUE + shift + lane] = upper + fy * down
        work[_GX + shift + lane] = top + fy * (bottom - top)
        work[_GY + shift + lane] = down


@no_type_check
@njit(cache=True, fastmath=FAST, error_model="numpy")
def _row_at_border(buffer, begin, h, w, fill, x, y, dx, dy, lanes, work, level):
    """The same for a row with taps outside; (x, y) is now in pixels of the level."""
    shift = level * _NEXT
    for q in range(lanes // 4):
        px = work[_LINE + 4 * q]
        j, fx = cell_of(x + dx * px, w)
        i, fy = cell_of(y + dy * px, h)
        for c in range(3):
            v00 = tap(buffer, begin, h, w, i, j, c, fill[c])
            v01 = tap(buffer, begin, h, w, i, j + 1, c, fill[c])
            v10 = tap(buffer, begin, h, w, i + 1, j, c, fill[c])
            v11 = tap(buffer, begin, h, w, i + 1, j + 1, c, fill[c])
            top, bottom = v01 - v00, v11 - v10
            upper = v00 + fx * top
            down = v10 + fx * bottom - upper
            lane = shift + 4 * q + c
            work[_VALUE + lane] = upper + fy * down
            work[_GX + lane] = top + fy * (bottom - top)
            work[_GY + lane] = down
        lane = shift + 4 * q + 3
        work[_VALUE + lane] = work[_GX + lane] = work[_GY + lane] = 0.0


@no_type_check
@njit(cache=True, fastmath=FAST, error_model="numpy")
def _add_up(work, lanes, c0, c1, share, mean, weight):
    """Sums over a row, from both levels: misfit, gradient in x and y, both times canonical x, gradient in lambda."""
    misfit = gx = gy = pgx = pgy = g_level = float32(0.0)
    for lane in range(lanes):
        difference = work[_VALUE + _NEXT + lane] - work[_VALUE + lane]
        residual = work[_VALUE + lane] + share * difference - mean[lane]
        pull = residual * weight[lane]
        x = pull * (c0 * work[_GX + lane] + c1 * work[_GX + _NEXT + lane])
        y = pull * (c0 * work[_GY + lane] + c1 * work[_GY + _NEXT + lane])
        misfit += pull * residual
        gx += x
        gy += y
        pgx += work[_LINE + lane] * x
        pgy += work[_LINE + lane] * y
        g_level += pull * difference
    return misfit, gx, gy, pgx, pgy, g_level


@no_type_check
@njit(cache=True, fastmath=FAST, error_model="numpy")
def _add_up_one_level(work, lanes, c0, mean, weight):
    misfit = gx = gy = pgx = pgy = float32(0.0)
    for lane in range(lanes):
        residual = work[_VALUE + lane] - mean[lane]
        pull = residual * weight[lane]
        x, y = pull * c0 * work[_GX + lane], pull * c0 * work[_GY + lane]
        misfit += pull * residual
        gx += x
        gy += y
        pgx += work[_LINE + lane] * x
        pgy += work[_LINE + lane] * y
    return misfit, gx, gy, pgx, pgy, float32(0.0)


@no_type_check
@njit(cache=True, error_model="numpy")
def set_line(work, size, extent):
    """Writes what does not change between evaluations: canonical x of every lane."""
    for q in range(size):
        work[_LINE + 4 * q : _LINE + 4 * q + 4] = (q + 0.5) * 2.0 * extent / size - extent


@no_type_check
@njit(cache=True, fastmath=FAST, error_model="numpy")
def value_and_gradient(
    buffer, offset, height, width, top, fill, u, mean, weight, size, extent, pyramid, work, gradient
):
    """log p(u) in nats; its gradient in (a, b, tx, ty) into `gradient`.

    The tables are one image's; mean and weight are [size, 4 size] in 16-bit units, lanes (x, channel or none).
    """
    a, b, tx, ty = u[0], u[1], u[2], u[3]
    low, share, moving = level_of(u, size, extent, top, pyramid)
    lanes, step = 4 * size, 2.0 * extent / size
    reach = (abs(a) + abs(b)) * extent
    misfit = g_a = g_b = g_x = g_y = g_level = 0.0
    for r in range(size):
        py = (r + 0.5) * step - extent
        for level in range(2 if moving else 1):
            k = low + level
            shrink = 1.0 / (1 << k)
            begin, h, w = offset[k], height[k], width[k]
            dx, dy = a * shrink, b * shrink
            x, y = (tx - b * py) * shrink, (ty + a * py) * shrink
            half_x, half_y = abs(dx) * extent, abs(dy) * extent
            if x - half_x > 0.51 and x + half_x < w - 0.51 and y - half_y > 0.51 and y + half_y < h - 0.51:
                left = math.floor((tx - reach) * shrink - 0.5)
                above = math.floor((ty - reach) * shrink - 0.5)
                base = begin + 3 * (np.int64(above) * w + np.int64(left))
                x, y = float32(x - 0.5 - left), float32(y - 0.5 - above)
                _row_inside(buffer, base, np.int64(3 * w), x, y, float32(dx), float32(dy), lanes, work, level)
            else:
                _row_at_border(buffer, begin, h, w, fill, x, y, dx, dy, lanes, work, level)
        shrink = 1.0 / (1 << low)
        if moving:
            c0, c1 = float32((1.0 - share) * shrink), float32(0.5 * share * shrink)
            sums = _add_up(work, lanes, c0, c1, float32(share), mean[r], weight[r])
        else:
            sums = _add_up_one_level(work, lanes, float32(shrink), mean[r], weight[r])
        misfit += sums[0]
        g_x += sums[1]
        g_y += sums[2]
        g_a += sums[3] + py * sums[2]
        g_b += sums[4] - py * sums[1]
        g_level += sums[5]
    per_scale = g_level / (math.log(2.0) * (a * a + b * b)) if moving else 0.0
    gradient[0], gradient[1] = -g_a - per_scale * a, -g_b - per_scale * b
    gradient[2], gradient[3] = -g_x, -g_y
    return -0.5 * misfit


def to_lanes(patch: Float[Tensor, "n 3 size size"], factor: float) -> np.ndarray:
    """[n, 3, size, size] times `factor` as the kernel's lanes [n, size, 4 size], zeros in the fourth lane."""
    size = patch.shape[-1]
    if size > MAX_SIZE:
        raise ValueError(f"a patch of {size} x {size} is larger than the kernel's {MAX_SIZE} x {MAX_SIZE}")
    lanes = torch.zeros((len(patch), size, size, 4), dtype=torch.float32)
    lanes[..., :3] = (patch.double() * factor).permute(0, 2, 3, 1)
    return lanes.flatten(2).numpy()
