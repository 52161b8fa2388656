"""Whether stated uncertainties are true: of probabilities, and of standard deviations."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

BINS = 10


def reliability(probability: Float[ndarray, " n"], correct: Bool[ndarray, " n"]) -> list[list[float | int]]:
    """[mean stated probability, share correct, count] of those of ten equal bins that are not empty, rising."""
    place = np.clip((probability * BINS).astype(np.int64), 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    stated = np.bincount(place, weights=probability, minlength=BINS)
    right = np.bincount(place, weights=correct.astype(np.float64), minlength=BINS)
    return [[float(stated[k] / count[k]), float(right[k] / count[k]), int(count[k])] for k in np.flatnonzero(count)]


def expected_calibration_error(rows: list[list[float | int]]) -> float | None:
    """sum_b n_b / n |stated_b - right_b| over the bins of `reliability` (Guo et al. 2017, eq. 5); None if n = 0."""
    n = sum(count for _, _, count in rows)
    return float(sum(count * abs(stated - right) for stated, right, count in rows) / n) if n else None


def error_by_chance(probability: Float[ndarray, " n"], times: int = 200) -> float | None:
    """The expected calibration error that true probabilities show with as many cases, the mean over simulated ones."""
    if not len(probability):
        return None
    rng = np.random.default_rng(0)
    drawn = (reliability(probability, rng.random(len(probability)) < probability) for _ in range(times))
    return float(np.mean([expected_calibration_error(rows) or 0.0 for rows in drawn]))


def error_in_chart(
    u: Float[ndarray, "n 4"], truth: Float[ndarray, "n 4"], period: Int[ndarray, " n"]
) -> Float[ndarray, "n 4"]:
    """u - truth in (log s, angle, tx, ty); angles in radians, wrapped to [-pi, pi).

    Where the true angle is known up to turns by `period` degrees, the least of the errors that it may be; NaN where it
    isn't known at all (0).
    """
    log_s = np.log(np.hypot(u[:, 0], u[:, 1])) - np.log(np.hypot(truth[:, 0], truth[:, 1]))
    turn = np.arctan2(u[:, 1], u[:, 0]) - np.arctan2(truth[:, 1], truth[:, 0])
    whole = np.deg2rad(np.where(period > 0, period, np.nan))
    turn = np.remainder(turn + whole / 2, whole) - whole / 2
    return np.stack([log_s, turn, u[:, 2] - truth[:, 2], u[:, 3] - truth[:, 3]], axis=1)


def coverage(
    error: Float[ndarray, "n 4"], spread: Float[ndarray, "n 4"], believed: Bool[ndarray, " n"]
) -> dict[str, list[float | None]]:
    """Shares of errors within 1 and 2 stated standard deviations, for centre, angle and scale.

    A true Gaussian has 0.683 and 0.954. The centre's two coordinates are counted each on its own (2 n numbers), since
    only their marginal deviations are stated. Gazes that are not `believed` (chains that did not move) count as misses.
    Errors and their standard deviations `spread` are in (log s, angle, tx, ty); errors that are NaN are not counted.
    """
    ratio = np.full(error.shape, np.inf)
    ratio[believed] = np.abs(error[believed]) / spread[believed]
    parts = {"centre": ratio[:, 2:], "angle": ratio[:, 1], "scale": ratio[:, 0]}
    known = {"centre": slice(None), "angle": ~np.isnan(error[:, 1]), "scale": slice(None)}
    parts = {name: part[known[name]] for name, part in parts.items()}
    return {
        name: [float((part <= k).mean()) if part.size else None for k in (1.0, 2.0)] for name, part in parts.items()
    }


def wilson(share: float | int, n: int) -> tuple[float, float]:
    """The 95 % interval (Wilson 1927) of a probability of which a share was seen in n trials."""
    from scipy.stats import binomtest

    interval = binomtest(round(share * n), n).proportion_ci(0.95, "wilson")
    return float(interval.low), float(interval.high)
