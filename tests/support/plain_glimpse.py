"""Glimpses in plain torch, differentiable: what the compiled ones and their derivatives are held to."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from foveate.scenes import gaze
from foveate.scenes.glimpse import PATCH_EXTENT, PATCH_SIZE, grid
from foveate.scenes.pyramid import Pyramids


def plain_glimpses(
    pyramids: Pyramids,
    index: np.ndarray | Tensor,
    like: Tensor,
    size: int = PATCH_SIZE,
    extent: float = PATCH_EXTENT,
    pyramid: bool = True,
) -> Callable[[Tensor], Tensor]:
    """`glimpses` as a function of the gazes, in plain torch: differentiable, as precise as `like` is and on its device,
    where the images go once."""
    index = torch.as_tensor(index, dtype=torch.int64)
    tables = (pyramids.offset, pyramids.height, pyramids.width, pyramids.levels - 1)
    offset, height, width, top = (torch.from_numpy(t.astype(np.int64))[index].to(like.device) for t in tables)
    buffer = torch.from_numpy(pyramids.store.values.view(np.int16)).to(like.device)
    fill, points = torch.from_numpy(pyramids.fill)[index].to(like), grid(size, extent).to(like)

    def seen_at(gazes: Tensor) -> Tensor:
        spacing = torch.hypot(gazes[:, 0], gazes[:, 1]) * (2 * extent / size)
        level = torch.log2(spacing).clamp(min=0).minimum(top.to(gazes)) if pyramid else torch.zeros_like(spacing)
        low = level.detach().floor().long().minimum(top)
        share = (level - low).view(-1, 1, 1)
        column, row = gaze.apply(gazes, points).unbind(-1)

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

    return seen_at
