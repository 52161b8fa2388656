"""Claims about objects that have no angle: none is looked for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pictures import plain

from foveate.attention.periphery import Periphery
from foveate.scenes.pyramid import Pyramids
from foveate.training.labels import Objects
from foveate.training.pairs import draw_pairs
from foveate.training.settings import AppearanceSettings, TrainSettings, without_turning
from foveate.training.train import always_upright

STILL = AppearanceSettings(mirror=0, composite=0, cover=0, grey=0, coarse=0, gain=0, tint=0, bias=0, noise=0)
UPRIGHT = [[20.0, 0.0, 50.0, 50.0], [12.0, 0.0, 60.0, 40.0]]
TURNED = [[20.0, 3.0, 50.0, 50.0], [12.0, 0.0, 60.0, 40.0]]


def objects(gazes: list[list[float]], period: int) -> Objects:
    return Objects(torch.zeros(2, dtype=torch.int64), torch.tensor(gazes).double(), torch.full((2,), period))


@pytest.mark.parametrize(
    ("gazes", "period", "upright"), [(UPRIGHT, 360, True), (TURNED, 360, False), (TURNED, 0, True)]
)
def test_objects_that_are_all_at_angle_0_or_have_none_are_upright(gazes, period, upright):
    assert always_upright(objects(gazes, period), None) == upright


def test_what_is_learned_further_stays_upright_though_inferred_angles_are_never_quite_0():
    assert always_upright(objects(TURNED, 360), Periphery(0))
    assert not always_upright(objects(UPRIGHT, 360), Periphery(360))


def test_no_pair_of_upright_objects_asks_for_a_turn():
    settings = without_turning(TrainSettings())
    pyramids = Pyramids.from_images([np.zeros((100, 120, 3), np.uint8)])
    for network in (settings.shiftnet, settings.fine):
        pairs = replace(network.pairs, appearance=STILL, search=0.4, whole=0.3, near=0.3)
        drawn = draw_pairs(pyramids, objects(UPRIGHT, 360), plain, pairs, None, 64, 0, 0)
        assert drawn.delta[:, 1].abs().max() < 1e-6 and drawn.delta[:, 0].abs().max() > 0.1
    assert settings.periphery.turn == 0
