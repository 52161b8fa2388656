"""What attention found in a photograph, beside what is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from foveate.attention.found import four, moving, of_posterior, spread_of

STUCK = frozenset({"stuck", "not moving", "not-moving", "not_moving"})


@dataclass(frozen=True)
class Outcome:
    """What was found in one photograph, beside what is there.

    Attributes:
        name: Of the photograph.
        gazes: Found, most confident first [G, 4].
        score: Log-ratios [G], falling.
        probability: Stated P(object | score) [G].
        spread: Stated standard deviations of (log s, angle, tx, ty) [G, 4]; NaN where none could be stated.
        stated: Whether a spread was stated at all [G] (not where attention ran without a posterior).
        believed: Whether the spread is one, rather than a chain that didn't move [G].
        trail: Every gaze that led to the best one, its start first [T, 4]; empty where nothing was found.
        truths: Annotated objects [K, 4].
        ignore: Boxes that are neither object nor background [M, 4].
        seconds: Reading and attending; None where unknown.
    """

    name: str
    gazes: Float[ndarray, "g 4"]
    score: Float[ndarray, " g"]
    probability: Float[ndarray, " g"]
    spread: Float[ndarray, "g 4"]
    stated: Bool[ndarray, " g"]
    believed: Bool[ndarray, " g"]
    trail: Float[ndarray, "t 4"]
    truths: Float[ndarray, "k 4"]
    ignore: Float[ndarray, "m 4"]
    seconds: float | None = None


def outcome(
    name: str,
    founds: Sequence[Any],
    truths: Float[ndarray, "k 4"],
    ignore: Float[ndarray, "m 4"] | None = None,
    seconds: float | None = None,
) -> Outcome:
    """Gather what attention found in a photograph.

    Args:
        name: Of the photograph.
        founds: Gazes in any order, each with `u`, `score`, `probability`, `trail`; see `spread_of` for the rest.
        truths: Annotated objects, in the pixels that were attended.
        ignore: Boxes that are neither object nor background.
        seconds: What it took.
    """
    founds = sorted(founds, key=lambda found: (-float(found.score), *four(found.u)))
    gazes = np.array([four(found.u) for found in founds]).reshape(-1, 4)
    spreads = [spread_of(found) for found in founds]
    stated = np.array([spread is not None for spread in spreads], dtype=bool)
    spread = np.array([np.full(4, np.nan) if one is None else one for one in spreads]).reshape(-1, 4)
    stuck = np.array([bool(STUCK & set(of_posterior(found, "flags") or ())) for found in founds], dtype=bool)
    return Outcome(
        name=name,
        gazes=gazes,
        score=np.array([float(found.score) for found in founds]),
        probability=np.array([float(found.probability) for found in founds]),
        spread=spread,
        stated=stated,
        believed=moving(gazes, spread) & ~stuck,
        trail=np.array([four(u) for u in founds[0].trail]).reshape(-1, 4) if founds else np.zeros((0, 4)),
        truths=np.asarray(truths, dtype=np.float64).reshape(-1, 4),
        ignore=np.zeros((0, 4)) if ignore is None else np.asarray(ignore, dtype=np.float64).reshape(-1, 4),
        seconds=seconds,
    )
