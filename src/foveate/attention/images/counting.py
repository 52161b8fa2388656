"""How many objects an image holds, and whether it holds any, from the probabilities of its gazes.

With probabilities p_k that are true, of places that hold one object or none each, the number N of objects is a sum of
independent Bernoulli variables (the Poisson-binomial distribution):

    P(N = 0) = prod_k (1 - p_k),      E N = sum_k p_k,      P(N = n): the convolution of all (1 - p_k, p_k).

All distinct places count, the improbable ones too. An object at which no gaze came to rest is in none of them.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

SHARE = 0.9  # of the interval of a count


class Count(NamedTuple):
    """Of one image.

    Attributes:
        none: P(N = 0).
        mean: E N.
        low: Least N of the interval that holds N with a probability of `SHARE` or more, at most 5 % on either side.
        high: Largest N of it.
    """

    none: float
    mean: float
    low: int
    high: int


def count(probabilities: Iterable[float]) -> Count:
    """The number of objects at places with these probabilities of one."""
    p = [min(max(each, 0.0), 1.0) for each in probabilities]
    distribution = np.ones(1)
    for each in p:
        distribution = np.convolve(distribution, (1.0 - each, each))
    below, tail = np.cumsum(distribution), (1.0 - SHARE) / 2
    low, high = (int(np.searchsorted(below, share * below[-1])) for share in (tail, 1.0 - tail))
    return Count(float(distribution[0]), float(np.sum(p)), low, min(high, len(p)))
