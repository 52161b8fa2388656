"""What attention found in a photograph, beside what is there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from foveate.attention.found import Found


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
    founds: Sequence[Found],
    truths: Float[ndarray, "k 4"],
    ignore: Float[ndarray, "m 4"] | None = None,
    seconds: float | None = None,
) -> Outcome:
    """Gather what attention found in a photograph.

    Args:
        name: Of the photograph.
        founds: Gazes in any order.
        truths: Annotated objects, in the pixels that were attended.
        ignore: Boxes that are neither object nor background.
        seconds: What it took.
    """
    founds = sorted(founds, key=lambda found: (-found.score, *found.u))
    return Outcome(
        name=name,
        gazes=np.array([found.u for found in founds]).reshape(-1, 4),
        score=np.array([found.score for found in founds]),
        probability=np.array([found.probability for found in founds]),
        spread=np.array([found.spread for found in founds]).reshape(-1, 4),
        stated=np.array([found.posterior is not None for found in founds], dtype=bool),
        believed=np.array([found.spread_is_known for found in founds], dtype=bool),
        trail=founds[0].trail if founds else np.zeros((0, 4)),
        truths=np.asarray(truths, dtype=np.float64).reshape(-1, 4),
        ignore=np.zeros((0, 4)) if ignore is None else np.asarray(ignore, dtype=np.float64).reshape(-1, 4),
        seconds=seconds,
    )
