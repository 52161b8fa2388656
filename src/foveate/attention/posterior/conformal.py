"""Regions that hold the true gaze with a stated probability, whatever the errors' distribution: conformal prediction.

Of objects that were found in scenes set aside, each error is measured in standard deviations that were stated of it,

    e = max(distance of the centres / sigma_centre, |log s - log s*| / sigma_s, |angle error| / sigma_angle).

If the next object's error is exchangeable with these n, it is at most the ceil((n + 1) c)-th smallest of them with a
probability of at least c (Vovk, Gammerman & Shafer 2005, "Algorithmic learning in a random world"; Lei, G'Sell,
Rinaldo, Tibshirani & Wasserman 2018). Where there are too few for that, n < c / (1 - c), the region is unbounded. An
object that is missed is in no region: it is a miss.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Region(NamedTuple):
    """All gazes whose centre, scale and angle are each within these of the reported gaze."""

    coverage: float  # the probability with which it holds the true gaze of an object that was found
    centre: float  # largest distance of the centre, pixels; infinite where nothing can be said
    log_scale: float  # largest difference of log s
    angle: float  # largest difference of the angle, degrees; 180 or more is any angle

    def moved(self, factor: float) -> "Region":
        """The same in an image `factor` times the size."""
        return self._replace(centre=self.centre * factor)


def largest_errors(z: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n"]:
    """e of each object, from errors of (log s, angle, tx, ty) in stated standard deviations.

    The distance of the centres is in units of their common deviation, sqrt((sigma_x^2 + sigma_y^2) / 2), which differs
    little from both.
    """
    centre = np.hypot(z[:, 2], z[:, 3])
    return np.maximum(np.maximum(np.abs(z[:, 0]), np.abs(z[:, 1])), centre)


def radius(errors: Float[np.ndarray, "n"], coverage: float) -> float:
    """The ceil((n + 1) c)-th smallest error; infinite where there are fewer."""
    rank = math.ceil((len(errors) + 1) * coverage - 1e-9)
    return float(np.sort(errors)[rank - 1]) if 1 <= rank <= len(errors) else math.inf


def fewest(coverage: float) -> int:
    """Objects below which a region is unbounded."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def region(spread: Float[np.ndarray, "4"], errors: Float[np.ndarray, "n"], coverage: float) -> Region:
    """The region about a gaze of these standard deviations of (log s, angle in radians, tx, ty), by `errors` of objects
    that were set aside."""
    reach = radius(errors, coverage)
    centre = math.sqrt(float(np.mean(np.square(spread[2:]))))
    log_scale, angle, centre = (reach * float(each) for each in (spread[0], math.degrees(spread[1]), centre))
    return Region(coverage, centre, log_scale, angle)
