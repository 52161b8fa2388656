"""Claims about what undoes a round."""

import math

import pytest
import torch

from foveate.errors import BadInput
from foveate.learning.check import verdict
from foveate.learning.settings import LearnSettings, Trust
from foveate.runtime.random import generator

BEFORE = 100 * torch.randn(12, generator=generator(0, "bounds"), dtype=torch.float64)


@pytest.mark.parametrize(("fall", "undone"), [(-30.0, False), (4.9, False), (5.1, True), (math.inf, True)])
def test_a_fall_beyond_the_tolerance_undoes_a_round_however_patches_differ(fall, undone):
    assert bool(verdict(BEFORE, BEFORE - fall, 5.0)) == undone


def test_a_fall_within_two_standard_errors_more_undoes_nothing():
    """Falls of 8 +- 6 nats: 4 patches have a standard error of 3 nats and more, 400 of a third of a nat."""
    for count, undone in ((4, False), (400, True)):
        fall = torch.full((count,), 8.0, dtype=torch.float64)
        fall[::2] += 6
        fall[1::2] -= 6
        assert bool(verdict(torch.zeros(count).double(), -fall, 5.0)) == undone


def test_what_is_no_number_undoes_a_round_whatever_is_tolerated():
    after = BEFORE.clone()
    for value in (math.nan, -math.inf):
        after[3] = value
        assert verdict(BEFORE, after, math.inf) and verdict(BEFORE[3:4], after[3:4], math.inf)
    assert not verdict(BEFORE, BEFORE - 1e6, math.inf)


def test_one_patch_is_judged_by_the_tolerance_alone():
    assert verdict(BEFORE[:1], BEFORE[:1] - 6, 5.0) and not verdict(BEFORE[:1], BEFORE[:1] - 4, 5.0)


@pytest.mark.parametrize(
    ("settings", "wrong", "name"),
    [
        (Trust, {"share": 25.0}, "share"), (Trust, {"share": math.nan}, "share"), (Trust, {"fewest": 1}, "fewest"),
        (Trust, {"centre": math.nan}, "centre"), (LearnSettings, {"rounds": 0}, "rounds"),
        (LearnSettings, {"fine_steps": -1}, "fine_steps"), (LearnSettings, {"shiftnet_rate": 0.0}, "shiftnet_rate"),
        (LearnSettings, {"tolerance": math.nan}, "tolerance"),
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused_by_name(settings, wrong, name):
    with pytest.raises(BadInput, match=name):
        settings(**wrong)
