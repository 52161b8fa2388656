"""Regions hold what they state, whatever errors are distributed like; too few objects say nothing."""

import math

import numpy as np
import pytest

from foveate.attention.posterior.conformal import Region, fewest, largest_errors, radius, region


@pytest.mark.parametrize(("coverage", "needed"), [(0.95, 19), (0.9, 9), (0.5, 1), (0.99, 99)])
def test_fewer_objects_than_needed_leave_a_region_unbounded(coverage, needed):
    assert fewest(coverage) == needed
    errors = np.arange(needed, dtype=float)
    assert radius(errors, coverage) == needed - 1 and radius(errors[:-1], coverage) == math.inf
    assert radius(np.empty(0), coverage) == math.inf


@pytest.mark.parametrize("n", [19, 30, 200])
def test_the_next_error_is_within_as_often_as_stated(n):
    """Exactly ceil((n + 1) c) / (n + 1) of the time, for errors of any one distribution: here of heavy tails."""
    rng, trials = np.random.default_rng(0), 20_000
    errors = np.abs(rng.standard_t(1.5, (trials, n + 1)))
    held = np.mean([radius(row[:-1], 0.9) >= row[-1] for row in errors])
    expected = math.ceil((n + 1) * 0.9) / (n + 1)
    assert abs(held - expected) < 4 * math.sqrt(expected * (1 - expected) / trials)


def test_an_error_is_the_largest_of_centre_scale_and_angle_in_stated_deviations():
    z = np.array([[0.5, -3.0, 1.0, 1.0], [2.0, 0.0, -3.0, 4.0], [-2.0, 1.0, 0.0, 0.0]])
    assert largest_errors(z).tolist() == [3.0, 5.0, 2.0]


def test_a_region_is_as_wide_as_the_spread_is_stated():
    spread = np.array([0.1, math.radians(2.0), 3.0, 4.0])
    found = region(spread, np.arange(1.0, 20.0), 0.95)
    assert found == pytest.approx(Region(0.95, 19 * math.sqrt(12.5), 1.9, 38.0))
    assert found.moved(2.0).centre == pytest.approx(2 * found.centre) and found.moved(2.0).angle == found.angle
    assert region(spread, np.empty(0), 0.95).centre == math.inf
