"""Whether what is stated is true in each part: of small objects and large ones, sharp and blurred, in view and covered.

A coverage or a calibration that is right over all may be too sure of small objects and not sure enough of large ones.
Gazes are cut into thirds by

- size: half-side, pixels;
- blur: contrast of the glimpse over that of its Laplacian, of grey values;
- cover: what the patch model makes nothing of: the root mean square of the glimpse less its reconstruction, in
  standardised pixels. Whatever covers an object is not like it;
- angle: size of the turn against upright.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from numpy import ndarray
from scipy.stats import spearmanr

from foveate.boltzmann.dbn import GaussianDBN
from foveate.evaluation.reliability import coverage, expected_calibration_error, reliability, wilson
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids

SEEN = ("blur", "cover")
GROUPS = ("size", *SEEN, "angle")
PARTS = 3
FEWEST = 5 * PARTS  # gazes that are cut into parts
SIMULATED = 200  # draws of errors for the ceiling of the correlation


def seen_at(
    gdbn: GaussianDBN, image: Shaped[ndarray, "h w 3"], gazes: Float[ndarray, "n 4"]
) -> Float[ndarray, "n seen"]:
    """The columns of `SEEN` at gazes of an image."""
    if not len(gazes):
        return np.zeros((0, len(SEEN)))
    pyramids, here = Pyramids.from_images([image]), torch.zeros(len(gazes), dtype=torch.int64)
    glimpse = glimpses(pyramids, here, torch.from_numpy(gazes))
    grey = glimpse.mean(1)
    middle = grey[:, 1:-1, 1:-1]
    laplacian = 4 * middle - grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1] - grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]
    blur = torch.log((grey.std((1, 2)) + 1e-3) / (laplacian.square().mean((1, 2)).sqrt() + 1e-3))
    x = gdbn.standardise(glimpse)
    cover = (gdbn.reconstruct(x) - x).square().mean(1).sqrt()
    return torch.stack((blur, cover.cpu()), 1).double().numpy()


def conditions(gazes: Float[ndarray, "n 4"], seen: Float[ndarray, "n seen"]) -> dict[str, Float[ndarray, "n"]]:
    """What gazes are grouped by, in the order of `GROUPS`."""
    turn = np.degrees(np.abs(np.arctan2(gazes[:, 1], gazes[:, 0])))
    return {"size": np.hypot(gazes[:, 0], gazes[:, 1]), **dict(zip(SEEN, seen.T, strict=True)), "angle": turn}


def in_groups(
    matched: dict[str, Float[ndarray, "n"]],
    error: Float[ndarray, "n 4"],
    spread: Float[ndarray, "n 4"],
    believed: Bool[ndarray, "n"],
    judged: dict[str, Float[ndarray, "m"]],
    probability: Float[ndarray, "m"],
    right: Bool[ndarray, "m"],
) -> dict[str, list[dict[str, Any]]]:
    """Figures of each third by each of `GROUPS`; none where there are too few matched gazes.

    Those that found an object come with their errors and spreads as `reliability.coverage` takes them; those whose
    probability is right or wrong, `judged`, with it. Both are told apart by their `conditions`.
    """
    if len(error) < FEWEST:
        return {}
    out = {}
    for name, value in matched.items():
        if np.isnan(value).any():  # not measured
            continue
        edges = np.quantile(value, np.arange(1, PARTS) / PARTS)
        part, of = np.searchsorted(edges, value, side="right"), np.searchsorted(edges, judged[name], side="right")
        rows = []
        for k in range(PARTS):
            some, same = part == k, of == k
            if not some.any():
                continue
            n, held = int(some.sum()), coverage(error[some], spread[some], believed[some])
            sizes = {"centre": 2 * n, "scale": n, "angle": int((~np.isnan(error[some, 1])).sum())}
            ends = {
                each: [None if share is None else list(wilson(share, sizes[each])) for share in shares]
                for each, shares in held.items()
            }
            ece = expected_calibration_error(reliability(probability[same], right[same]))
            row = {"from": float(value[some].min()), "to": float(value[some].max()), "n": n, **held}
            rows.append(row | {"intervals": ends, "ece": ece, "judged": int(same.sum())})
        out[name] = rows
    return out


def correlation(
    error: Float[ndarray, "n 4"], spread: Float[ndarray, "n 4"], scale: Float[ndarray, "n"]
) -> dict[str, dict[str, float | int | None]]:
    """Spearman's rank correlation of stated deviations and errors, both of the centre in half-sides.

    Returns:
        For centre, angle and scale: rho, n, and the ceiling, the mean correlation of errors that are drawn from just
        the deviations stated: it is far from one, since one error says little of its own deviation.
    """
    rng, out = np.random.default_rng(0), {}
    parts = {"centre": ([2, 3], scale), "angle": ([1], np.ones(len(error))), "scale": ([0], np.ones(len(error)))}
    for name, (columns, unit) in parts.items():
        known = np.isfinite(error[:, columns]).all(1) & np.isfinite(spread[:, columns]).all(1)
        e, s = error[known][:, columns] / unit[known, None], spread[known][:, columns] / unit[known, None]
        stated = np.sqrt(np.square(s).mean(1))
        if len(e) < FEWEST or np.ptp(stated) == 0:
            out[name] = {"rho": None, "ceiling": None, "n": len(e)}
            continue
        drawn = [_rank_correlation(stated, rng.normal(0, s)) for _ in range(SIMULATED)]
        out[name] = {"rho": _rank_correlation(stated, e), "ceiling": float(np.mean(drawn)), "n": len(e)}
    return out


def _rank_correlation(stated: Float[ndarray, "n"], error: Float[ndarray, "n k"]) -> float:
    return float(np.asarray(spearmanr(stated, np.sqrt(np.square(error).sum(1))))[0])


def intervals(shares: Mapping[str, Mapping[str, float | None]], counts: Mapping[str, int]) -> dict[str, Any]:
    """95 % intervals (Wilson) of shares by threshold, which are of so many."""
    return {
        name: {at: None if share is None else list(wilson(share, counts[name])) for at, share in of.items()}
        for name, of in shares.items()
    }
