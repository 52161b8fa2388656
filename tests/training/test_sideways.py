"""Copies of scenes in which objects seem turned out of the plane: pixels, gazes and regions move alike."""

import math

import numpy as np
import pytest
import torch

from foveate.runtime.progress import Quiet
from foveate.scenes import gaze
from foveate.scenes.annotations import FACE_POINTS
from foveate.scenes.layouts.keypoints import fit
from foveate.scenes.pyramid import Pyramids
from foveate.training.gallery import Gallery
from foveate.training.labels import Objects
from foveate.training.settings import SidewaysSettings
from foveate.training.synthetic.sideways import RADIUS, SIDE, TRIANGLE, Turn, factors, sideways

ABOUT = torch.tensor([20.0, 6.0, 70.0, 60.0], dtype=torch.float64)


def dotted(positions: torch.Tensor, sides: tuple[int, int] = (120, 150)) -> np.ndarray:
    """A black picture with a bright blob of 5 pixels at each position (x, y)."""
    y, x = np.mgrid[: sides[0], : sides[1]] + 0.5
    blobs = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8) for px, py in positions.tolist()]
    return np.repeat((60000 * np.clip(sum(blobs), 0, 1)).astype(np.uint16)[..., None], 3, axis=2)


def blob_near(picture: np.ndarray, at: torch.Tensor) -> np.ndarray:
    """Centre of mass (x, y) of what is bright within 8 pixels of a position."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    weight = picture[..., 0].astype(float) * (np.hypot(x - float(at[0]), y - float(at[1])) < 8)
    weight[weight < 20000] = 0
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def gallery(count: int = 12) -> Gallery:
    pictures = [dotted(gaze.apply(ABOUT, TRIANGLE)) for _ in range(count)]
    objects = Objects(torch.arange(count), ABOUT.repeat(count, 1))
    regions = [torch.tensor([[5.0, 5.0, 30.0, 20.0]], dtype=torch.float64)] * count
    return Gallery(Pyramids.from_images(pictures), [f"{k}" for k in range(count)], objects, regions, [])


@pytest.mark.parametrize("theta", [0.3, 0.8, -0.8])
def test_a_half_is_foreshortened_as_the_front_of_a_cylinder_is(theta: float):
    left, right = factors(theta)
    turned = [RADIUS * (math.sin(math.asin(x / RADIUS) + theta) - math.sin(theta)) for x in (-SIDE, SIDE)]
    assert (-SIDE * left, SIDE * right) == pytest.approx(turned)
    assert (right < left) == (theta > 0)


def test_nothing_moves_without_a_turn():
    assert factors(0.0) == pytest.approx((1.0, 1.0))
    picture = dotted(gaze.apply(ABOUT, TRIANGLE))
    assert np.abs(Turn(ABOUT, 1.0, 1.0).picture(picture).astype(int) - picture).max() <= 1


def test_pixels_go_where_points_go():
    turn, at = Turn(ABOUT, 0.9, 0.5), gaze.apply(ABOUT, TRIANGLE)
    seen = turn.picture(dotted(at))
    for place in turn.points(at):
        np.testing.assert_allclose(blob_near(seen, place), place.numpy(), atol=0.7)  # halves weigh differently


def test_the_middle_stays_the_vertical_stays_and_what_is_beyond_keeps_its_scale():
    turn = Turn(ABOUT, 0.9, 0.5)
    line = torch.tensor([[0.0, 1.0], [0.0, -2.0], [2.0, 0.0], [3.0, 0.0]], dtype=torch.float64)
    found = gaze.apply(gaze.invert(ABOUT), turn.points(gaze.apply(ABOUT, line)))
    assert torch.allclose(found[:2], line[:2])
    assert float(found[3, 0] - found[2, 0]) == pytest.approx(1.0)
    assert float(found[2, 0]) == pytest.approx(1.3 * 0.5 + 0.7)


def test_the_gaze_of_a_copy_fits_its_dots_and_its_regions_stay_upright():
    scenes = gallery()
    copies = sideways(scenes, list(range(12)), SidewaysSettings(share=1.0), 3, Quiet())
    assert len(copies.names) == 12 and len(set(copies.names) | set(scenes.names)) == 24
    for k in range(12):
        u, picture = copies.of(k)[0], copies.pyramids.level(k, 0)
        seen = [blob_near(picture, p).tolist() for p in gaze.apply(u, TRIANGLE)]
        dots = {name: (x, y) for name, (x, y) in zip(FACE_POINTS, seen, strict=True)}
        np.testing.assert_allclose(fit([dots], FACE_POINTS).gazes[0], u, atol=0.7)
        assert gaze.scale(u) < gaze.scale(ABOUT)
        assert (copies.ignore[k][0, 2:] > copies.ignore[k][0, :2]).all()


def test_a_copy_keeps_how_far_angles_are_known():
    scenes, periods = gallery(), torch.tensor([0, 90, 180, 360] * 3)
    scenes = scenes._replace(objects=scenes.objects._replace(angle_period=periods))
    copies = sideways(scenes, [3, 0, 6, 1], SidewaysSettings(share=1.0), 3, Quiet())
    assert copies.objects.periods().tolist() == [360, 0, 180, 90]


def test_a_copy_depends_on_the_seed_and_its_scene_alone():
    scenes, settings = gallery(), SidewaysSettings(share=0.5)
    every, some = (
        sideways(scenes, list(range(12)), settings, 3, Quiet()),
        sideways(scenes, [7, 2, 4, 5, 9], settings, 3, Quiet()),
    )
    assert 0 < len(every.names) < 12 and len(some.names) > 0
    for k, name in enumerate(some.names):
        same = every.names.index(name)
        assert torch.equal(every.of(same), some.of(k))
        assert np.array_equal(every.pyramids.level(same, 0), some.pyramids.level(k, 0))
    assert not sideways(scenes, list(range(12)), SidewaysSettings(share=0.0), 3, Quiet()).names
    assert not sideways(scenes.without_objects(), list(range(12)), SidewaysSettings(share=1.0), 3, Quiet()).names
