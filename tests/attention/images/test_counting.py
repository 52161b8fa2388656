"""How many objects there are: the sum of independent ones, by adding up every case."""

import itertools
import math

import numpy as np
import pytest

from foveate.attention.images.counting import SHARE, count


def test_counts_are_those_of_every_case_added_up():
    p = [0.97, 0.6, 0.6, 0.2, 0.03]
    of = np.zeros(len(p) + 1)
    for case in itertools.product((0, 1), repeat=len(p)):
        of[sum(case)] += math.prod(q if there else 1 - q for q, there in zip(p, case, strict=True))
    found = count(p)
    assert found.none == pytest.approx(of[0], rel=1e-12)
    assert found.mean == pytest.approx(of @ np.arange(len(of)))
    assert of[found.low : found.high + 1].sum() >= SHARE
    assert of[: found.low].sum() <= (1 - SHARE) / 2 and of[found.high + 1 :].sum() <= (1 - SHARE) / 2


def test_nothing_seen_is_nothing_and_certainty_is_certain():
    assert count([]) == (1.0, 0.0, 0, 0)
    assert count([1.0, 1.0, 0.0]) == (0.0, 2.0, 2, 2)


def test_many_places_are_counted_as_their_sum_of_bernoulli_variables_is_spread():
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 400)
    found = count(p)
    deviation = math.sqrt(float((p * (1 - p)).sum()))
    assert found.low == pytest.approx(found.mean - 1.645 * deviation, abs=1.5)
    assert found.high == pytest.approx(found.mean + 1.645 * deviation, abs=1.5)
    drawn = (rng.uniform(size=(4000, 400)) < p).sum(1)
    assert 0.88 < np.mean((drawn >= found.low) & (drawn <= found.high)) < 0.95


def test_what_no_gaze_finds_is_added_as_a_poisson_number():
    rng, p, unseen = np.random.default_rng(1), np.array([0.9, 0.8, 0.3]), 0.7
    found = count(p, unseen)
    drawn = (rng.uniform(size=(200_000, 3)) < p).sum(1) + rng.poisson(unseen, 200_000)
    assert found.none == pytest.approx(float(np.prod(1 - p)) * math.exp(-unseen), rel=1e-9)
    assert found.mean == pytest.approx(p.sum() + unseen)
    below, above = (drawn < found.low).mean(), (drawn > found.high).mean()
    assert below <= 0.05 + 3e-3 and above <= 0.05 + 3e-3 and (drawn <= found.high - 1).mean() < 0.95
