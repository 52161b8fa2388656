"""Detections in a photograph beside its ground truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from foveate.attention.found import Found
from foveate.evaluation.groups import SEEN


@dataclass(frozen=True)
class Detections:
    """What was found in one photograph, beside what is there."""

    name: str  # of the photograph
    gazes: Float[ndarray, "g 4"]  # found, most confident first
    score: Float[ndarray, " g"]  # log-odds, falling
    probability: Float[ndarray, " g"]  # stated P(object | score)
    unseen: Float[ndarray, " g"]  # expected number of objects that no gaze finds, for each
    spread: Float[ndarray, "g 4"]  # stated deviations of (log s, angle, tx, ty); NaN where none could be stated
    stated: Bool[ndarray, " g"]  # whether one was stated at all (not where attention ran without a posterior)
    believed: Bool[ndarray, " g"]  # whether it is one, rather than of a chain that did not move
    trail: Float[ndarray, "t 4"]  # every gaze that led to the best one, its start first; empty without one
    truths: Float[ndarray, "k 4"]  # annotated objects
    ignore: Float[ndarray, "m 4"]  # boxes that are neither object nor background
    periods: Int[ndarray, " k"]  # degrees up to which each object's angle is known: 360 in full, 0 not at all
    seen: Float[ndarray, "g seen"]  # what gazes are grouped by (`groups.seen_at`); NaN where it was not measured

    @classmethod
    def of(
        cls,
        name: str,
        founds: Sequence[Found],
        truths: Float[ndarray, "k 4"],
        ignore: Float[ndarray, "m 4"] | None = None,
        periods: Sequence[int] | None = None,
    ) -> "Detections":
        """Of the gazes that were found, in any order, and the annotated objects in the pixels that were attended."""
        founds = sorted(founds, key=lambda found: (-found.score, *found.u))
        return cls(
            name=name,
            gazes=np.array([found.u for found in founds]).reshape(-1, 4),
            score=np.array([found.score for found in founds]),
            probability=np.array([found.probability for found in founds]),
            unseen=np.array([found.unseen for found in founds]),
            spread=np.array([found.spread for found in founds]).reshape(-1, 4),
            stated=np.array([found.posterior is not None for found in founds], dtype=bool),
            believed=np.array([found.spread_is_known for found in founds], dtype=bool),
            trail=founds[0].trail if founds else np.zeros((0, 4)),
            truths=np.asarray(truths, dtype=np.float64).reshape(-1, 4),
            ignore=np.zeros((0, 4)) if ignore is None else np.asarray(ignore, dtype=np.float64).reshape(-1, 4),
            periods=np.array([360] * len(truths) if periods is None else periods, dtype=np.int64),
            seen=np.full((len(founds), len(SEEN)), np.nan),
        )
