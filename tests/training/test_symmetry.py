"""Claims about objects that look the same after a turn: nothing more is asked of the angle than there is to know."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pictures import plain

from foveate.scenes import gaze
from foveate.scenes.annotations import Annotation
from foveate.scenes.pyramid import Pyramids
from foveate.scenes.scene import Scene, Scenes
from foveate.training.labels import OBJECT, UNCLEAR, Objects, label
from foveate.training.pairs import draw_pairs
from foveate.training.patches import turned
from foveate.training.settings import AppearanceSettings, TrainSettings

STILL = AppearanceSettings(mirror=0, composite=0, cover=0, grey=0, coarse=0, gain=0, tint=0, bias=0, noise=0)


def gazes(degrees: list[float]) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return gaze.from_scale_angle(torch.tensor(20.0).double(), angle, torch.tensor(50.0), torch.tensor(40.0))


@pytest.mark.parametrize(
    ("period", "seen", "target", "expected"),
    [
        (360, 170, 20, 20), (180, 170, 20, -160), (180, 100, 20, 20), (180, -80, 20, -160),
        (90, 170, 20, -160), (90, 120, 20, 110), (0, 33, 20, 33),
    ],
)  # fmt: skip
def test_the_nearest_turn_is_the_same_object_as_near_as_it_can_stand(period, seen, target, expected):
    found = gaze.nearest_turn(gazes([seen]), gazes([target]), torch.tensor([period]))
    assert torch.allclose(found, gazes([expected]), atol=1e-9)


def test_it_is_nearest_by_brute_force():
    rng = torch.Generator().manual_seed(0)
    u, target = (gazes((360 * torch.rand(200, generator=rng) - 180).tolist()) for _ in range(2))
    for period in (90, 180):
        found = gaze.nearest_turn(u, target, torch.full((200,), period))
        away = gaze.angle_difference(gaze.angle(found), gaze.angle(u)).abs()
        every = torch.stack([gaze.angle(target) + np.deg2rad(period * k) - gaze.angle(u) for k in range(360 // period)])
        least = gaze.angle_difference(every, torch.zeros(1).double()).abs().amin(0)
        assert torch.allclose(away, least, atol=1e-9)


def test_a_gaze_at_an_object_that_is_turned_by_its_period_has_found_it():
    upright, ignore = gazes([0]), torch.zeros(0, 4).double()
    at = gazes([0, 90, 180])
    assert label(at, upright, ignore).tolist() == [OBJECT, UNCLEAR, UNCLEAR]
    assert label(at, upright, ignore, torch.tensor([180])).tolist() == [OBJECT, UNCLEAR, OBJECT]
    assert label(at, upright, ignore, torch.tensor([90])).tolist() == [OBJECT] * 3
    assert label(gazes([0, 45]), upright, ignore, torch.tensor([0])).tolist() == [OBJECT] * 2


@pytest.mark.parametrize(("period", "most"), [(180, 90), (90, 45), (0, 0)])
def test_no_pair_asks_for_a_turn_of_more_than_half_a_period(period, most):
    pyramids = Pyramids.from_images([np.zeros((100, 120, 3), np.uint8)])
    objects = Objects(torch.zeros(2, dtype=torch.int64), gazes([150, -70]), torch.full((2,), period))
    for network in (TrainSettings().shiftnet, TrainSettings().fine):
        pairs = replace(network.pairs, appearance=STILL, search=0.4, whole=0.4, near=0.2)
        drawn = draw_pairs(pyramids, objects, plain, pairs, None, 200, 0, 0)
        asked = drawn.delta[:, 1].abs().rad2deg()
        assert asked.max() <= most + 1e-3
        assert torch.allclose(gaze.compose(drawn.start, gaze.invert(drawn.start))[:, 0], torch.ones(200).double())


def test_patches_show_such_objects_from_every_side_and_others_as_they_are():
    count = 400
    periods = torch.tensor([360, 180, 90, 0]).repeat(count)
    objects = Objects(torch.zeros(4 * count, dtype=torch.int64), gazes([10.0] * 4 * count), periods)
    angle = gaze.angle(turned(objects, 0).gaze).rad2deg().round().long()
    for period, sides in ((360, [10]), (180, [-170, 10]), (90, [-170, -80, 10, 100]), (0, [10])):
        seen, times = torch.unique(angle[periods == period], return_counts=True)
        assert seen.tolist() == sides
        assert (times - count / len(sides)).abs().max() < 5 * (count / 4) ** 0.5
    assert torch.equal(turned(objects, 0).gaze[periods == 360], objects.gaze[periods == 360])


def test_a_declared_symmetry_limits_what_annotations_say():
    def annotation(period: int) -> Annotation:
        return Annotation((5.0, 0.0, 9.0, 9.0), period, None, False, (), "object", "1")

    scenes = Scenes([Scene("a", "a", 20, 20, tuple(annotation(period) for period in (360, 180, 90, 0)))])
    periods = {
        symmetry: [each.angle_period for each in scenes.of_symmetry(symmetry).scenes[0].objects]
        for symmetry in (None, "mirror", "none", "2", "4", "any")
    }
    assert periods[None] == periods["mirror"] == periods["none"] == [360, 180, 90, 0]
    assert (periods["2"], periods["4"], periods["any"]) == ([180, 180, 90, 0], [90, 90, 90, 0], [0] * 4)
