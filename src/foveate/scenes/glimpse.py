"""Scene + gaze -> patch: what the world looks like through a gaze.

The canonical point p of a gaze u is the pixel position w_u(p) (`gaze`). A glimpse samples the image at w_u(p) for the
centres p of a size x size grid of cells over [-extent, extent]^2. Sampling is bilinear. The spacing of the samples is
2 s extent / size pixels; where it is more than one pixel, bilinear sampling of the image would alias, so the samples
come from level lambda = log2(spacing) of the image's pyramid (`pyramid`), linearly between the two levels around it:

    x_p(u) = (1 - f) B_k(w_u(p) / 2^k) + f B_(k+1)(w_u(p) / 2^(k+1)),    k = floor(lambda), f = lambda - k.

Outside the image lies its mean colour. Every step is continuous in u and differentiable almost everywhere, so

    dx_p/du = [(1 - f) grad B_k / 2^k + f grad B_(k+1) / 2^(k+1)] dw/du + (B_(k+1) - B_k) dlambda/du,
    dw/d(a, b, tx, ty) = [[px, -py, 1, 0], [py, px, 0, 1]],    dlambda/d(a, b) = (a, b) / (s^2 ln 2).

The fused loops are in `glimpse_loops`; the tests hold them to the same in plain torch. Williams (1983) describes
interpolation between pyramid levels.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int
from torch import Tensor

from foveate.scenes import gaze
from foveate.scenes.glimpse_loops import glimpse_loop, jacobian_loop, misfit_loop
from foveate.scenes.pyramid import Pyramids

PATCH_SIZE, PATCH_EXTENT = 24, 1.0  # the canonical patch
CONTEXT_SIZE, CONTEXT_EXTENT = 72, 3.0  # the window three times as wide, at the same pixel pitch

Index = Int[np.ndarray | Tensor, "n"]  # which image each gaze looks at
Gazes = Float[Tensor, "n 4"]  # u in pixels of level 0


def grid(size: int, extent: float) -> Float[Tensor, "points 2"]:
    """Centres (x, y) of the size x size cells of [-extent, extent]^2, row by row."""
    line = (torch.arange(size, dtype=torch.float64) + 0.5) * (2 * extent / size) - extent
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack((x.reshape(-1), y.reshape(-1)), dim=-1)


def glimpses(
    pyramids: Pyramids,
    index: Index,
    gazes: Gazes,
    size: int = PATCH_SIZE,
    extent: float = PATCH_EXTENT,
    pyramid: bool = True,
    out: Float[Tensor, "n 3 {size} {size}"] | None = None,
    where: Bool[Tensor, "n {size} {size}"] | None = None,
) -> Float[Tensor, "n 3 {size} {size}"]:
    """What each gaze sees of its image, in [0, 1].

    Args:
        size: Samples along a side.
        extent: Half-side of the window in canonical units.
        pyramid: False samples level 0 alone, as the paper does.
        out: Where to write, contiguous float32.
        where: Which cells to sample; the others of `out` stay as they are.
    """
    out = torch.empty(len(gazes), 3, size, size) if out is None else out
    wanted = np.zeros((0, 0, 0), np.bool_) if where is None else where.contiguous().numpy()
    glimpse_loop(*pyramids.arrays, *_arguments(index, gazes), size, extent, pyramid, wanted, out.numpy())
    return out


def contexts(
    pyramids: Pyramids,
    index: Index,
    gazes: Gazes,
    out: Float[Tensor, "n 3 72 72"] | None = None,
    where: Bool[Tensor, "n 72 72"] | None = None,
) -> Float[Tensor, "n 3 72 72"]:
    """The window three times as wide as the glimpse, at the same pixel pitch; arguments as in `glimpses`."""
    return glimpses(pyramids, index, gazes, CONTEXT_SIZE, CONTEXT_EXTENT, out=out, where=where)


def glimpses_with_jacobian(
    pyramids: Pyramids,
    index: Index,
    gazes: Gazes,
    size: int = PATCH_SIZE,
    pyramid: bool = True,
) -> tuple[Float[Tensor, "n 3 {size} {size}"], Float[Tensor, "n 4 3 {size} {size}"]]:
    """The glimpses and their derivatives with respect to (a, b, tx, ty); arguments as in `glimpses`."""
    out = np.empty((len(gazes), 3, size, size), np.float32)
    jacobian = np.empty((len(gazes), 4, 3, size, size), np.float32)
    jacobian_loop(*pyramids.arrays, *_arguments(index, gazes), size, PATCH_EXTENT, pyramid, out, jacobian)
    return torch.from_numpy(out), torch.from_numpy(jacobian)


def misfits(
    pyramids: Pyramids,
    index: Index,
    gazes: Gazes,
    mean: Float32[Tensor, "n {size} values"],
    weight: Float32[Tensor, "n {size} values"],
    size: int = PATCH_SIZE,
    pyramid: bool = True,
) -> tuple[Float64[Tensor, "n"], Float64[Tensor, "n 4"]]:
    """-1/2 sum_i w_i (x_i(u) - m_i)^2 of each glimpse, and its gradient -sum_i w_i (x_i - m_i) dx_i/du, in one pass.

    `mean` and `weight` have a row's 3 size numbers pixel by pixel (`by_row`), contiguous.
    """
    value, gradient = np.empty(len(gazes)), np.empty((len(gazes), 4))
    patch = (mean.numpy(), weight.numpy())
    misfit_loop(*pyramids.arrays, *_arguments(index, gazes), size, PATCH_EXTENT, pyramid, *patch, value, gradient)
    return torch.from_numpy(value), torch.from_numpy(gradient)


def by_row(patch: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n size values"]:
    """A patch with its channels innermost."""
    return patch.permute(0, 2, 3, 1).flatten(2).contiguous()


def share_outside(pyramids: Pyramids, index: Index, gazes: Gazes) -> Float[Tensor, "n"]:
    """Share of each glimpse's 24 x 24 sample points that lies outside its image."""
    return (1 - inside(pyramids, index, gazes).double().mean(1)).to(gazes.dtype)


def sizes_of(
    pyramids: Pyramids, image: Int[np.ndarray | Tensor, "*n"]
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Width and height of images, pixels."""
    width, height = (torch.from_numpy(side[:, 0]).double()[image] for side in (pyramids.width, pyramids.height))
    return width, height


def inside(pyramids: Pyramids, index: Index, gazes: Gazes) -> Bool[Tensor, "n points"]:
    """Which of each glimpse's 24 x 24 sample points lie in its image."""
    index = torch.as_tensor(index).numpy()
    column, row = gaze.apply(gazes.double(), grid(PATCH_SIZE, PATCH_EXTENT)).unbind(-1)
    width, height = sizes_of(pyramids, index[:, None])
    return (column >= 0) & (column < width) & (row >= 0) & (row < height)


def _arguments(index: np.ndarray | Tensor, gazes: Tensor) -> tuple[np.ndarray, np.ndarray]:
    places = torch.as_tensor(index).numpy().astype(np.int64)
    return places, np.ascontiguousarray(gazes.detach().numpy(), np.float64)
