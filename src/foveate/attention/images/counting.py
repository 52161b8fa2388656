"""How many objects an image holds, and whether it holds any, from the probabilities of its gazes.

With probabilities p_k that are true, of places that hold one object or none each, the number of objects found is a sum
of independent Bernoulli variables (the Poisson-binomial distribution). All distinct places count, the improbable ones
too. An object at which no gaze came to rest is in none of them: of a share m, measured on objects set aside, and they
are taken for Poisson of mean lambda = m / (1 - m) sum_k p_k. Of the number N of both

    P(N = 0) = e^-lambda prod_k (1 - p_k),      E N = sum_k p_k + lambda,
    P(N = n): the convolution of all (1 - p_k, p_k) and the Poisson probabilities.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from foveate.attention.found import Found

SHARE = 0.9  # of the interval of a count


class Count(NamedTuple):
    """Of one image."""

    none: float  # P(N = 0)
    mean: float  # E N
    low: int  # least N of the interval that holds N with a probability of `SHARE` or more, at most 5 % on either side
    high: int  # largest N of it


def count(probabilities: Iterable[float], unseen: float = 0.0) -> Count:
    """The number of objects at places with these probabilities of one, and of `unseen` more on average elsewhere."""
    p = [min(max(each, 0.0), 1.0) for each in probabilities]
    distribution = np.ones(1)
    for each in p:
        distribution = np.convolve(distribution, (1.0 - each, each))
    if unseen > 0:
        n = np.arange(math.ceil(unseen + 10 * math.sqrt(unseen) + 10))  # what lies beyond is below 1e-9
        log_factorial = np.concatenate(([0.0], np.cumsum(np.log(n[1:]))))
        distribution = np.convolve(distribution, np.exp(n * math.log(unseen) - unseen - log_factorial))
    below, tail = np.cumsum(distribution), (1.0 - SHARE) / 2
    low, high = (int(np.searchsorted(below, share * below[-1])) for share in (tail, 1.0 - tail))
    return Count(float(distribution[0]), float(np.sum(p)) + unseen, low, min(high, len(distribution) - 1))


def count_found(founds: Iterable[Found]) -> Count:
    """The number of objects of which these places were found."""
    places = list(founds)
    return count((each.probability for each in places), sum((each.unseen for each in places), 0.0))
