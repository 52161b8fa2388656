"""In thirds it shows where stated spreads are wrong though they are right over all; and how far they follow errors."""

import numpy as np
import pytest

from foveate.boltzmann.dbn import GaussianDBN
from foveate.evaluation.groups import GROUPS, conditions, correlation, in_groups, seen_at
from foveate.evaluation.reliability import error_by_chance, expected_calibration_error, reliability
from foveate.evaluation.verdict import verdict

N = 600


def gazes(rng: np.random.Generator) -> np.ndarray:
    s, turn = rng.uniform(10, 100, N), rng.uniform(-np.pi, np.pi, N)
    return np.stack([s * np.cos(turn), s * np.sin(turn), np.full(N, 50.0), np.full(N, 50.0)], 1)


def groups_of(spread: np.ndarray, error: np.ndarray, u: np.ndarray) -> dict:
    by = conditions(u, np.random.default_rng(5).random((N, 2)))
    right = np.ones(N, dtype=bool)
    return in_groups(by, error, spread, right, by, np.full(N, 0.9), right)


def test_spreads_too_small_for_small_objects_show_in_the_third_of_these_alone():
    rng = np.random.default_rng(0)
    u = gazes(rng)
    small = np.hypot(u[:, 0], u[:, 1]) < 40
    spread = np.full((N, 4), 0.1)
    error = rng.normal(0, 0.1, (N, 4)) * np.where(small, 3.0, 1.0)[:, None]
    found = groups_of(spread, error, u)
    assert tuple(found) == GROUPS and [row["n"] for row in found["size"]] == [200] * 3
    low, *others = found["size"]
    assert low["intervals"]["scale"][0][1] < 0.6827
    assert all(row["intervals"]["scale"][0][0] < 0.6827 < row["intervals"]["scale"][0][1] for row in others)
    assert low["from"] < low["to"] <= others[0]["from"] and low["ece"] == pytest.approx(0.1)


def test_what_was_not_measured_makes_no_group_and_too_few_make_none():
    rng = np.random.default_rng(0)
    u, error = gazes(rng), rng.normal(0, 0.1, (N, 4))
    by, right = conditions(u, np.full((N, 2), np.nan)), np.ones(N, dtype=bool)
    spread = np.full((N, 4), 0.1)
    assert list(in_groups(by, error, spread, right, by, np.full(N, 0.5), right)) == ["size", "angle"]
    few = {name: value[:5] for name, value in by.items()}
    assert in_groups(few, error[:5], spread[:5], right[:5], few, np.full(5, 0.5), right[:5]) == {}


def test_spreads_that_are_just_true_reach_the_ceiling_and_shuffled_ones_nothing():
    rng = np.random.default_rng(1)
    spread = np.exp(rng.normal(-3, 0.6, (N, 1))) * np.ones((1, 4))
    error = rng.normal(0, spread)
    true, unit = correlation(error, spread, np.ones(N)), correlation(error, np.full((N, 4), 0.1), np.ones(N))
    for part in ("centre", "angle", "scale"):
        assert true[part]["rho"] == pytest.approx(true[part]["ceiling"], abs=4 / np.sqrt(N)) and true[part]["n"] == N
        assert unit[part]["rho"] is None
    shuffled = correlation(rng.permutation(error), spread, np.ones(N))
    assert abs(shuffled["angle"]["rho"]) < 4 / np.sqrt(N) < true["angle"]["ceiling"]


def test_the_centre_is_measured_in_half_sides():
    """Errors and spreads in pixels grow with size alone: in half-sides there is nothing to follow."""
    rng = np.random.default_rng(2)
    scale = rng.uniform(10, 100, N)
    spread = 0.1 * scale[:, None] * np.exp(rng.normal(0, 1e-6, (N, 4)))
    assert abs(correlation(rng.normal(0, spread), spread, scale)["centre"]["rho"]) < 4 / np.sqrt(N)


def test_blur_and_cover_grow_with_blur_and_cover():
    rng = np.random.default_rng(0)
    sharp = rng.random((100, 100, 3))
    smooth = (sharp + np.roll(sharp, 1, 0) + np.roll(sharp, 1, 1) + np.roll(sharp, (1, 1), (0, 1))) / 4
    u, gdbn = np.array([[30.0, 0.0, 50.0, 50.0]]), GaussianDBN(1728, 4, 2)
    assert seen_at(gdbn, smooth, u)[0, 0] > seen_at(gdbn, sharp, u)[0, 0] + 0.1
    flat = np.full((100, 100, 3), 0.5)
    covered = flat.copy()
    covered[:50] = 1.0
    assert seen_at(gdbn, covered, u)[0, 1] > seen_at(gdbn, flat, u)[0, 1]
    assert seen_at(gdbn, sharp, np.zeros((0, 4))).shape == (0, 2)


def test_true_probabilities_show_the_error_that_chance_gives_them():
    rng = np.random.default_rng(0)
    p = rng.random(300)
    shown = [expected_calibration_error(reliability(p, rng.random(300) < p)) for _ in range(100)]
    assert error_by_chance(p) == pytest.approx(np.mean(shown), abs=0.005) and error_by_chance(p[:0]) is None


def figures(**changes) -> dict:
    calibration = {
        "ece": 0.03, "ece_by_chance": 0.03, "reliability": [[0.9, 0.9, 100]], "n": 100,
        "centre": [0.68, 0.95], "scale": [0.68, 0.95], "angle": [0.68, 0.95],
    }  # fmt: skip
    found = {"photos": 100, "photos_with_objects": 100, "top1": {"0.5": 0.97}, "upside_down": {"share": 0.0, "n": 97}}
    return {**found, "calibration": calibration | changes.pop("calibration", {}), **changes}


def test_the_verdict_names_what_can_be_trusted_and_what_can_t():
    how_many, good = verdict(figures(), 800, 100, 97)
    assert how_many.startswith("100 of 800 images were held out") and good.startswith("Can be trusted: place")
    wrong = figures(upside_down={"share": 0.25, "n": 8}, calibration={"ece": 0.2, "angle": [0.3, 0.5]})
    *_, good, bad = verdict(wrong, 800, 100, 12)
    assert "place: right in 97 of 100" in good and "scale" in good
    for told in ("2 of 8 found are upside down", "off by 0.20", "angle: 30 % within one", "too sure", "12 objects"):
        assert told in bad
    assert "boast" not in bad and len(verdict(figures(photos_with_objects=0, top1={"0.5": None}), 8, 2, 0)) >= 2
