"""Posterior draws of many gazes as one file: NumPy's npz, or NetCDF as ArviZ reads it.

npz: a row of each draw, `u` (a, b, tx, ty) in pixels, `weight` (of one gaze they sum to one), `chain` from 0, and
`gaze`, the row of its gaze; and a row of each gaze, `image`, `number` (1 for the best of its image), `ess`, `rhat` [4]
and `pareto_k`. NetCDF: the dimensions chain, draw and gaze of `to_arviz`; gazes are called "image number".
"""

import io
import os
from collections.abc import Sequence

import numpy as np

from foveate.attention.found import Refined
from foveate.attention.posterior.arviz import to_arviz
from foveate.storage.files import allowed_to, write_atomic

Drawn = tuple[str, int, Refined]  # image, number of the gaze in it from 1, and its posterior


def write_draws(path: str, posteriors: Sequence[tuple[str, int, Refined | None]]) -> None:
    """Writes the draws of gazes as the file's ending says, else raises `CannotWrite`; those without are left out."""
    known = [(image, number, each) for image, number, each in posteriors if each is not None and each.draws.size]
    if path.lower().endswith(".nc"):
        _write_netcdf(path, known)
        return
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **tables(known))
    write_atomic(path, content.getvalue())


def tables(posteriors: Sequence[Drawn]) -> dict[str, np.ndarray]:
    """The arrays of the npz."""
    images, numbers, refined = zip(*posteriors, strict=True) if posteriors else ((), (), ())
    sizes = [each.draws.shape[:2] for each in refined]

    def joined(parts: list[np.ndarray], *shape: int) -> np.ndarray:
        return np.concatenate([np.zeros((0, *shape)), *parts])

    return {
        "u": joined([each.draws.reshape(-1, 4) for each in refined], 4),
        "weight": joined([each.weights.ravel() for each in refined]),
        "chain": joined([np.repeat(np.arange(chains), draws) for chains, draws in sizes]).astype(np.int64),
        "gaze": np.repeat(np.arange(len(sizes)), [chains * draws for chains, draws in sizes]).astype(np.int64),
        "image": np.array(images, dtype=np.str_),
        "number": np.array(numbers, dtype=np.int64),
        "ess": joined([each.ess[None] for each in refined], 4),
        "rhat": joined([each.rhat[None] for each in refined], 4),
        "pareto_k": np.array([each.pareto_k for each in refined], dtype=np.float64),
    }


def _write_netcdf(path: str, posteriors: Sequence[Drawn]) -> None:
    each = [posterior for *_, posterior in posteriors] or np.zeros((0, 1, 1, 4))
    data, part = to_arviz(each, [f"{image} {number}" for image, number, _ in posteriors]), path + "~"
    with allowed_to(f"write {path}"):
        data.to_netcdf(part, engine="h5netcdf")
        os.replace(part, path)
