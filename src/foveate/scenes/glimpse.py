"""Scene + gaze -> patch: what the world looks like through a gaze.

The canonical point p of a gaze u is the pixel position w_u(p) (`gaze`). A glimpse samples the image at w_u(p) for the
centres p of a size x size grid of cells over [-extent, extent]^2. Sampling is bilinear. The spacing of the samples is
2 s extent / size pixels; where it is more than one pixel, bilinear sampling of the image would alias, so the samples
come from level lambda = log2(spacing) of the image's pyramid (`pyramid`), linearly between the two levels around it:

    x_p(u) = (1 - f) B_k(w_u(p) / 2^k) + f B_(k+1)(w_u(p) / 2^(k+1)),    k = floor(lambda), f = lambda - k.

Outside the image lies its mean colour. Every step is continuous in u and differentiable almost everywhere, so

    dx_p/du = [(1 - f) grad B_k / 2^k + f grad B_(k+1) / 2^(k+1)] dw/du + (B_(k+1) - B_k) dlambda/du,
    dw/d(a, b, tx, ty) = [[px, -py, 1, 0], [py, px, 0, 1]],    dlambda/d(a, b) = (a, b) / (s^2 ln 2).

The fused loops are in numba; `glimpses_reference` is the same in plain torch, for autograd, for GPUs and for the tests.
Williams (1983) describes interpolation between pyramid levels.
"""

import math
from typing import no_type_check

import numba
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numba import njit, prange
from torch import Tensor

from foveate.scenes.pyramid import Pyramids

PATCH_SIZE, PATCH_EXTENT = 24, 1.0  # the canonical patch
CONTEXT_SIZE, CONTEXT_EXTENT = 72, 3.0  # the window three times as wide, at the same pixel pitch

# The loops share torch's OpenMP runtime: one thread pool for both, none idle while the other spins.
numba.config.THREADING_LAYER = "omp"


def grid(size: int, extent: float) -> Float[Tensor, "points 2"]:
    """Centres (x, y) of the size x size cells of [-extent, extent]^2, row by row."""
    line = (torch.arange(size, dtype=torch.float64) + 0.5) * (2 * extent / size) - extent
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack((x.reshape(-1), y.reshape(-1)), dim=-1)


def glimpses(
    pyramids: Pyramids,
    index: Int[np.ndarray | Tensor, "n"],
    gazes: Float[Tensor, "n 4"],
    size: int = PATCH_SIZE,
    extent: float = PATCH_EXTENT,
    pyramid: bool = True,
    out: Float[Tensor, "n 3 {size} {size}"] | None = None,
    where: Bool[Tensor, "n {size} {size}"] | None = None,
) -> Float[Tensor, "n 3 {size} {size}"]:
    """What each gaze sees, in [0, 1].

    Args:
        pyramids: The images.
        index: Which image each gaze looks at.
        gazes: u in pixels of level 0.
        size: Samples along a side.
        extent: Half-side of the window in canonical units.
        pyramid: False samples level 0 alone, as the paper does.
        out: Where to write, contiguous float32; made here by default.
        where: Which cells to sample; the others of `out` stay as they are. All by default.
    """
    out = torch.empty(len(gazes), 3, size, size) if out is None else out
    wanted = np.zeros((0, 0, 0), np.bool_) if where is None else where.contiguous().numpy()
    _glimpses(*pyramids.arrays, *_arguments(index, gazes), size, extent, pyramid, wanted, out.numpy())
    return out


def contexts(
    pyramids: Pyramids,
    index: Int[np.ndarray | Tensor, "n"],
    gazes: Float[Tensor, "n 4"],
    pyramid: bool = True,
    out: Float[Tensor, "n 3 72 72"] | None = None,
    where: Bool[Tensor, "n 72 72"] | None = None,
) -> Float[Tensor, "n 3 72 72"]:
    """The window three times as wide as the glimpse, at the same pixel pitch; arguments as in `glimpses`."""
    return glimpses(pyramids, index, gazes, CONTEXT_SIZE, CONTEXT_EXTENT, pyramid, out, where)


def glimpses_with_jacobian(
    pyramids: Pyramids,
    index: Int[np.ndarray | Tensor, "n"],
    gazes: Float[Tensor, "n 4"],
    size: int = PATCH_SIZE,
    extent: float = PATCH_EXTENT,
    pyramid: bool = True,
) -> tuple[Float[Tensor, "n 3 {size} {size}"], Float[Tensor, "n 4 3 {size} {size}"]]:
    """The glimpses and their derivatives with respect to (a, b, tx, ty); arguments as in `glimpses`."""
    out = np.empty((len(gazes), 3, size, size), np.float32)
    jacobian = np.empty((len(gazes), 4, 3, size, size), np.float32)
    _glimpses_with_jacobian(*pyramids.arrays, *_arguments(index, gazes), size, extent, pyramid, out, jacobian)
    return torch.from_numpy(out), torch.from_numpy(jacobian)


def share_outside(
    pyramids: Pyramids, index: Int[np.ndarray | Tensor, "n"], gazes: Float[Tensor, "n 4"], extent: float = PATCH_EXTENT
) -> Float[Tensor, "n"]:
    """Share of each glimpse's 24 x 24 sample points that lies outside its image."""
    index = torch.as_tensor(index).numpy()
    a, b, tx, ty = gazes.double().unsqueeze(1).unbind(-1)
    x, y = grid(PATCH_SIZE, extent).unbind(-1)
    column, row = a * x - b * y + tx, b * x + a * y + ty
    width = torch.from_numpy(pyramids.width[index, 0].astype(np.float64)).unsqueeze(1)
    height = torch.from_numpy(pyramids.height[index, 0].astype(np.float64)).unsqueeze(1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return (1 - inside.double().mean(1)).to(gazes.dtype)


def glimpses_reference(
    pyramids: Pyramids,
    index: Int[np.ndarray | Tensor, "n"],
    gazes: Float[Tensor, "n 4"],
    size: int = PATCH_SIZE,
    extent: float = PATCH_EXTENT,
    pyramid: bool = True,
) -> Float[Tensor, "n 3 {size} {size}"]:
    """`glimpses` in plain torch: differentiable in the gazes, on any device, in the gazes' precision."""
    index = torch.as_tensor(index, dtype=torch.int64)
    tables = [torch.from_numpy(t.astype(np.int64))[index] for t in (pyramids.offset, pyramids.height, pyramids.width)]
    offset, height, width = (t.to(gazes.device) for t in tables)
    top = torch.from_numpy(pyramids.levels.astype(np.int64))[index].to(gazes.device) - 1
    fill = torch.from_numpy(pyramids.fill)[index].to(gazes)
    buffer = torch.from_numpy(pyramids.buffer.view(np.int16)).to(gazes.device)

    spacing = torch.hypot(gazes[:, 0], gazes[:, 1]) * (2 * extent / size)
    level = torch.log2(spacing).clamp(min=0).minimum(top.to(gazes)) if pyramid else torch.zeros_like(spacing)
    low = level.detach().floor().long().minimum(top)
    share = (level - low).view(-1, 1, 1)
    x, y = grid(size, extent).to(gazes).unbind(-1)
    a, b, tx, ty = gazes.unsqueeze(1).unbind(-1)
    column, row = a * x - b * y + tx, b * x + a * y + ty

    def bilinear(k: Tensor) -> Tensor:
        """The bilinear interpolant of level k[n] at all points: [n, points, 3]."""
        begin, h, w = (t.gather(1, k.unsqueeze(1)) for t in (offset, height, width))
        px, py = column / 2.0 ** k.unsqueeze(1) - 0.5, row / 2.0 ** k.unsqueeze(1) - 0.5
        j, i = px.detach().floor().clamp(-2, 1 << 24).long(), py.detach().floor().clamp(-2, 1 << 24).long()
        fx, fy = (px - j).clamp(0, 1).unsqueeze(-1), (py - i).clamp(0, 1).unsqueeze(-1)

        def tap(i: Tensor, j: Tensor) -> Tensor:
            inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
            place = begin + 3 * (i.clamp(min=0).minimum(h - 1) * w + j.clamp(min=0).minimum(w - 1))
            raw = buffer[place.unsqueeze(-1) + torch.arange(3, device=place.device)].to(gazes)
            value = torch.where(raw < 0, raw + 65536, raw) / 65535
            return torch.where(inside.unsqueeze(-1), value, fill.unsqueeze(1))

        upper = tap(i, j) * (1 - fx) + tap(i, j + 1) * fx
        lower = tap(i + 1, j) * (1 - fx) + tap(i + 1, j + 1) * fx
        return upper * (1 - fy) + lower * fy

    seen = bilinear(low) * (1 - share) + bilinear((low + 1).minimum(top)) * share
    return seen.transpose(1, 2).reshape(-1, 3, size, size)


def _arguments(index: np.ndarray | Tensor, gazes: Tensor) -> tuple[np.ndarray, np.ndarray]:
    places = torch.as_tensor(index).numpy().astype(np.int64)
    return places, np.ascontiguousarray(gazes.detach().numpy(), np.float64)


@njit(cache=True, nogil=True)
@no_type_check  # the import hook of the tests would wrap what numba has to compile
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
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def cell_of(position, limit):
    """(first tap, weight of the second) of a position in a line of `limit` pixels; far outside, or NaN: (-2, 0)."""
    shifted = position - 0.5
    if not (-2.0 < shifted < limit + 1.0):
        return -2, 0.0
    first = math.floor(shifted)
    return first, shifted - first


@njit(cache=True, nogil=True)
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def tap(buffer, begin, h, w, i, j, c, fill):
    """One channel of one pixel in 16-bit units, the fill outside."""
    if 0 <= i < h and 0 <= j < w:
        return float(buffer[begin + 3 * (i * w + j) + c])
    return fill * 65535.0


@njit(cache=True, parallel=True, nogil=True)
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def _glimpses(buffer, offset, height, width, levels, fill, index, gazes, size, extent, pyramid, where, out):
    step = 2.0 * extent / size
    everywhere = where.size == 0
    for n in prange(len(gazes)):
        m, u = index[n], gazes[n]
        low, share, moving = level_of(u, size, extent, levels[m] - 1, pyramid)
        for rank in range(2 if moving else 1):
            k = low + rank
            weight = (share if rank == 1 else 1.0 - share) / 65535.0
            shrink = 1.0 / (1 << k)
            begin, h, w = offset[m, k], height[m, k], width[m, k]
            a, b, tx, ty = u[0] * shrink, u[1] * shrink, u[2] * shrink, u[3] * shrink
            for r in range(size):
                py = (r + 0.5) * step - extent
                for q in range(size):
                    if not (everywhere or where[n, r, q]):
                        continue
                    px = (q + 0.5) * step - extent
                    j, fx = cell_of(a * px - b * py + tx, w)
                    i, fy = cell_of(b * px + a * py + ty, h)
                    w00, w01 = (1.0 - fx) * (1.0 - fy) * weight, fx * (1.0 - fy) * weight
                    w10, w11 = (1.0 - fx) * fy * weight, fx * fy * weight
                    if 0 <= i < h - 1 and 0 <= j < w - 1:
                        p = begin + 3 * (i * w + j)
                        s = p + 3 * w
                        for c in range(3):
                            value = (
                                w00 * buffer[p + c]
                                + w01 * buffer[p + 3 + c]
                                + w10 * buffer[s + c]
                                + w11 * buffer[s + 3 + c]
                            )
                            out[n, c, r, q] = value if rank == 0 else out[n, c, r, q] + value
                    else:
                        for c in range(3):
                            f = fill[m, c]
                            value = (
                                w00 * tap(buffer, begin, h, w, i, j, c, f)
                                + w01 * tap(buffer, begin, h, w, i, j + 1, c, f)
                                + w10 * tap(buffer, begin, h, w, i + 1, j, c, f)
                                + w11 * tap(buffer, begin, h, w, i + 1, j + 1, c, f)
                            )
                            out[n, c, r, q] = value if rank == 0 else out[n, c, r, q] + value


@njit(cache=True, nogil=True)
@no_type_check  # the import hook of the tests would wrap what numba has to compile
def _glimpses_with_jacobian(
    buffer, offset, height, width, levels, fill, index, gazes, size, extent, pyramid, out, jacobian
):
    step = 2.0 * extent / size
    for n in range(len(gazes)):
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
                    for c in range(3):
                        f = fill[m, c]
                        v00, v01 = tap(buffer, begin, h, w, i, j, c, f), tap(buffer, begin, h, w, i, j + 1, c, f)
                        v10, v11 = (
                            tap(buffer, begin, h, w, i + 1, j, c, f),
                            tap(buffer, begin, h, w, i + 1, j + 1, c, f),
                        )
                        value = (v00 * (1.0 - fx) + v01 * fx) * (1.0 - fy) + (v10 * (1.0 - fx) + v11 * fx) * fy
                        gx = ((v01 - v00) * (1.0 - fy) + (v11 - v10) * fy) * weight * shrink
                        gy = ((v10 - v00) * (1.0 - fx) + (v11 - v01) * fx) * weight * shrink
                        out[n, c, r, q] += weight * value
                        jacobian[n, 0, c, r, q] += gx * px + gy * py + sign * value * u[0]
                        jacobian[n, 1, c, r, q] += gy * px - gx * py + sign * value * u[1]
                        jacobian[n, 2, c, r, q] += gx
                        jacobian[n, 3, c, r, q] += gy
