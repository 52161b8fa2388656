"""What the patch model looks like: its samples beside data, its filters, its health."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from foveate.boltzmann.dbn import GaussianDBN
from foveate.report.charts import number
from foveate.report.figures import wall
from foveate.report.health import examine, run_chains
from foveate.report.pictures import as_picture, data_uri, png
from foveate.report.story import PatchStory

FILTERS, COLUMNS, TILES = 96, 16, 64


def examined_model(run: Path, patches: PatchStory | None, seed: int = 0) -> dict[str, Any] | None:
    """The model section's material; None where RUN has no gdbn.safetensors.

    Raises:
        BadInput: The file is damaged.
    """
    path = run / "gdbn.safetensors"
    if not path.is_file():
        return None
    gdbn = GaussianDBN.load(path)
    chains = run_chains(gdbn, seed, TILES)
    data = as_vectors(gdbn, patches.patches if patches is not None else None)
    held_out = as_vectors(gdbn, patches.validation if patches is not None else None)
    d, h1 = gdbn.grbm.W.shape
    section: dict[str, Any] = {
        "size": f"{d} pixels, {h1} and {gdbn.rbm.W.shape[1]} hidden units",
        "findings": examine(gdbn, chains, data, held_out),
        "samples": None,
        "data": None,
        "reconstructions": None,
        "filters": None,
        "sigma": None,
        "mean": None,
        "sweeps": 2 * chains[2],
    }
    side = patch_side(d)
    if side is not None:
        section |= _pictures(gdbn, chains[1], data, side)
    return section


def patch_side(dim: int) -> int | None:
    """The side of a square colour patch of so many numbers; None if there is no such patch of at least 4 x 4."""
    side = round((dim / 3) ** 0.5)
    return side if 3 * side * side == dim and side >= 4 else None


def as_vectors(gdbn: GaussianDBN, pictures: Any) -> Tensor | None:
    """Patches of a story as the model's v's; None where there are none or they are of another size."""
    if pictures is None or not len(pictures) or pictures[0].size != gdbn.grbm.W.shape[0]:
        return None
    pixels = torch.from_numpy(np.moveaxis(as_picture(pictures), -1, 1).astype(np.float32) / 255.0)
    return gdbn.standardise(pixels)


def _pictures(gdbn: GaussianDBN, h1: Tensor, data: Tensor | None, side: int) -> dict[str, str | None]:
    def tiles(v: Tensor, columns: int = 8) -> str:
        return data_uri(png(wall(gdbn.to_pixels(v).reshape(-1, 3, side, side), columns, gap=1, scale=2)))

    weights = gdbn.grbm.W.detach()
    chosen = distinct(weights)
    shown = np.linspace(0, len(data) - 1, min(TILES, len(data))).astype(int) if data is not None else None
    return {
        "samples": tiles(gdbn.grbm.visible_mean(h1)),
        "data": tiles(data[shown]) if data is not None else None,
        "reconstructions": tiles(gdbn.reconstruct(data[shown])) if data is not None else None,
        "filters": data_uri(png(filters(weights, chosen, side))),
        "shown": f"{len(chosen)} of {number(weights.shape[1])}",
        "sigma": data_uri(
            png(wall(_stretched(gdbn.grbm.log_sigma.detach().exp()[None]).reshape(1, 3, side, side), scale=2))
        ),
        "mean": tiles(gdbn.grbm.visible_mean(h1).mean(dim=0, keepdim=True), 1),
    }


def distinct(weights: Tensor, most: int = FILTERS, alike: float = 0.9) -> list[int]:
    """The strongest columns of W [D, H1], strongest first, without those that nearly repeat a stronger one.

    Two filters are alike where the cosine between them, whatever its sign, exceeds `alike`.
    """
    norms = weights.norm(dim=0)
    units = (weights / norms.clamp_min(1e-12)).T
    chosen: list[int] = []
    for column in norms.argsort(descending=True, stable=True).tolist():
        if len(chosen) == most or (chosen and norms[column] == 0):
            break
        if not chosen or float((units[chosen] @ units[column]).abs().max()) <= alike:
            chosen.append(column)
    return chosen


def filters(weights: Tensor, chosen: list[int], side: int) -> Image.Image:
    """Columns of W [D, H1] as patches: grey is zero, each scaled by its own largest weight."""
    columns = weights[:, chosen].T
    scaled = 0.5 + 0.5 * columns / columns.abs().amax(dim=1, keepdim=True).clamp_min(1e-12)
    return wall(scaled.reshape(-1, 3, side, side), COLUMNS, gap=1, scale=2)


def _stretched(values: Tensor) -> Tensor:
    low, high = values.min(), values.max()
    if high - low <= 1e-6 * high:
        return torch.full_like(values, 0.5)  # all alike: grey, as what has no structure is
    return (values - low) / (high - low)
