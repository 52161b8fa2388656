"""Whether stated uncertainties are true: of probabilities, and of standard deviations."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

BINS = 10


def reliability(
    probability: Float[ndarray, " n"], correct: Bool[ndarray, " n"], bins: int = BINS
) -> list[list[float | int]]:
    """Stated probability against the share correct, in bins of equal width over [0, 1].

    Returns:
        [mean stated probability, share correct, count] of each bin that is not empty, rising.
    """
    place = np.clip((probability * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    stated = np.bincount(place, weights=probability, minlength=bins)
    right = np.bincount(place, weights=correct.astype(np.float64), minlength=bins)
    return [[float(stated[k] / count[k]), float(right[k] / count[k]), int(count[k])] for k in np.flatnonzero(count)]


def expected_calibration_error(
    probability: Float[ndarray, " n"], correct: Bool[ndarray, " n"], bins: int = BINS
) -> float | None:
    """sum_b n_b / n |stated_b - right_b| over bins of equal width (Guo et al. 2017, eq. 5); None if n = 0."""
    if len(probability) == 0:
        return None
    rows = reliability(probability, correct, bins)
    return float(sum(count * abs(stated - right) for stated, right, count in rows) / len(correct))


def error_in_chart(u: Float[ndarray, "n 4"], truth: Float[ndarray, "n 4"]) -> Float[ndarray, "n 4"]:
    """u - truth in (log s, angle, tx, ty); angles in radians, wrapped to [-pi, pi)."""
    log_s = np.log(np.hypot(u[:, 0], u[:, 1])) - np.log(np.hypot(truth[:, 0], truth[:, 1]))
    turn = np.arctan2(u[:, 1], u[:, 0]) - np.arctan2(truth[:, 1], truth[:, 0])
    turn = np.remainder(turn + np.pi, 2.0 * np.pi) - np.pi
    return np.stack([log_s, turn, u[:, 2] - truth[:, 2], u[:, 3] - truth[:, 3]], axis=1)


def coverage(
    error: Float[ndarray, "n 4"], spread: Float[ndarray, "n 4"], believed: Bool[ndarray, " n"]
) -> dict[str, list[float | None]]:
    """Shares of errors within 1 and 2 stated standard deviations, for centre, angle and scale.

    A true Gaussian has 0.683 and 0.954. The centre's two coordinates are counted each on its own (2 n numbers), since
    only their marginal deviations are stated. Gazes that are not `believed` (chains that did not move) count as misses.

    Args:
        error: In (log s, angle, tx, ty).
        spread: Standard deviations in the same coordinates.
        believed: False where the spread is none.
    """
    ratio = np.full(error.shape, np.inf)
    ratio[believed] = np.abs(error[believed]) / spread[believed]
    parts = {"centre": ratio[:, 2:], "angle": ratio[:, 1], "scale": ratio[:, 0]}
    return {
        name: [float((part <= k).mean()) if part.size else None for k in (1.0, 2.0)] for name, part in parts.items()
    }


def wilson(share: float | int, n: int) -> tuple[float, float]:
    """The 95 % interval of a probability of which a share was seen in n trials.

    Wilson (1927): (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n), z = 1.96.
    """
    z2 = 1.959963984540054**2 / n
    half = float(np.sqrt(z2 * share * (1 - share) + z2 * z2 / 4))
    return (share + z2 / 2 - half) / (1 + z2), (share + z2 / 2 + half) / (1 + z2)
