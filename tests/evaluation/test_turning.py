"""Photographs turned in the plane, and their gazes with them."""

import numpy as np
import pytest
import torch
from records import records
from scipy.ndimage import map_coordinates

from foveate.errors import BadInput
from foveate.evaluation.turning import turn_image, turn_scene, turned_size
from foveate.scenes import gaze
from foveate.scenes.folder import Scene
from foveate.scenes.warp import warp

DEGREES = [0, 30, 45, 60, 90, 135, 180, 213.7, 270, -90, -30, 360, 450]


def smooth(height=60, width=90):
    """A picture known at every point, so that sampling it elsewhere has an exact answer."""
    y, x = np.mgrid[:height, :width] + 0.5
    return value_at(x, y)


def value_at(x, y):
    waves = [np.sin(x / 9 + y / 14), np.cos(x / 13 - y / 8), np.sin(x / 11) * np.cos(y / 12)]
    return (0.5 + 0.4 * np.stack(waves, axis=-1)).astype(np.float32)


def random_gazes(n=7, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(0, 10, (n, 2)), rng.uniform(10, 50, (n, 2))], axis=1)


def turn_gazes(gazes, degrees):
    return turn_scene(Scene("a.png", "a.png", 90, 60, records(gazes)), degrees).gazes


@pytest.mark.parametrize("degrees", DEGREES)
def test_what_a_gaze_sees_is_carried_along(degrees):
    """Points of the canonical frame land on the same value before and after, where all lies inside."""
    picture, gazes = smooth(), random_gazes()
    turned = turn_image(picture, degrees)
    moved = turn_gazes(gazes, degrees)
    points = torch.tensor(np.random.default_rng(1).uniform(-1, 1, (40, 2)))
    before = gaze.apply(torch.from_numpy(gazes), points).numpy().reshape(-1, 2)
    after = gaze.apply(torch.from_numpy(moved), points).numpy().reshape(-1, 2)
    inside = ((before > 3) & (before < [87, 57])).all(axis=1)
    assert inside.sum() > 100
    place = after[:, ::-1].T - 0.5
    seen = np.stack([map_coordinates(turned[..., c], place, order=3) for c in range(3)], axis=-1)
    expected = value_at(before[:, 0], before[:, 1])
    assert np.abs(seen - expected)[inside].max() < 4e-3


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_angle_grows_by_exactly_the_turn_and_the_scale_not_at_all(degrees):
    gazes = random_gazes()
    moved = turn_gazes(gazes, degrees)
    before, after = torch.from_numpy(gazes), torch.from_numpy(moved)
    np.testing.assert_allclose(gaze.scale(after), gaze.scale(before), rtol=1e-12)
    error = gaze.angle_difference(gaze.angle(after), gaze.angle(before) + np.deg2rad(degrees))
    assert error.abs().max() < 1e-9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_quarter_turns_lose_no_pixel_and_turn_clockwise(dtype):
    picture = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (5, 8, 3)).astype(dtype)
    once = turn_image(picture, 90)
    assert once.dtype == dtype and once.shape == (8, 5, 3)
    assert (once[0, -1] == picture[0, 0]).all(), "the upper left corner goes to the upper right"
    assert (turn_image(once, -90) == picture).all()
    assert (turn_image(turn_image(picture, 180), 180) == picture).all()
    assert (turn_image(picture, 720) == picture).all()


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_canvas_holds_all_four_corners_and_no_more(degrees):
    corners = np.array([[1.0, 0, x, y] for x in (0, 90) for y in (0, 60)])
    moved = turn_gazes(corners, degrees)[:, 2:]
    width, height = turned_size(90, 60, degrees)
    assert moved.min() > -1e-5 and (moved.max(axis=0) < np.array([width, height]) + 1e-5).all()
    assert (np.ptp(moved, axis=0) > np.array([width, height]) - 1 - 1e-5).all()
    assert turn_image(smooth(), degrees).shape == (height, width, 3)


def test_what_the_photograph_does_not_cover_is_its_mean_colour():
    picture = (smooth() * 255).astype(np.uint8)
    turned = turn_image(picture, 45)
    for corner in (turned[0, 0], turned[0, -1], turned[-1, 0], turned[-1, -1]):
        np.testing.assert_allclose(corner, picture.mean((0, 1)), atol=0.5)
    flat = np.full((40, 30, 3), 77, np.uint8)
    assert (turn_image(flat, 33) == 77).all(), "no seam and no ringing on a picture of one colour"


def test_an_ignored_region_covers_all_that_it_covered_before():
    boxes = np.array([[10.0, 5.0, 40.0, 20.0], [0.0, 0.0, 90.0, 60.0]])
    for degrees in DEGREES:
        moved = turn_scene(Scene("a.png", "a.png", 90, 60, records([], boxes)), degrees).ignore
        for box, (x0, y0, x1, y1) in zip(boxes, moved, strict=True):
            corners = np.array([[1.0, 0, x, y] for x in box[::2] for y in box[1::2]])
            points = turn_gazes(corners, degrees)[:, 2:]
            np.testing.assert_allclose(points.min(axis=0), [x0, y0], atol=1e-9)
            np.testing.assert_allclose(points.max(axis=0), [x1, y1], atol=1e-9)


def test_a_scene_without_objects_turns_too():
    scene = Scene("a.png", "a.png", 90, 60)
    turned = turn_scene(scene, 30)
    assert (turned.width, turned.height) == turned_size(90, 60, 30)
    assert turned.gazes.shape == turned.ignore.shape == (0, 4)


def test_an_angle_that_is_not_a_number_is_refused():
    with pytest.raises(BadInput, match="--turn nan"):
        turn_image(smooth(), float("nan"))


def test_resampling_is_exact_on_quadratics():
    y, x = np.mgrid[:40, :50] + 0.5
    ramp = np.stack([x + 2 * y, x * x / 30, x * y / 20], axis=-1)
    linear, shift = np.array([[0.6, -0.3], [0.3, 0.6]]), np.array([19.3, 14.7])
    out = warp(ramp, linear, shift, 12, 12)
    q = np.stack(np.meshgrid(np.arange(12) + 0.5, np.arange(12) + 0.5), axis=-1)
    px, py = np.moveaxis(q @ linear.T + shift, -1, 0)
    np.testing.assert_allclose(out, np.stack([px + 2 * py, px * px / 30, px * py / 20], -1), atol=2e-4)


def test_a_picture_made_eight_times_smaller_keeps_the_means_of_its_blocks():
    """A checkerboard of single pixels, the worst alias there is, becomes grey."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 200.0
    out = warp(np.repeat(board[..., None], 3, -1), np.eye(2) * 8.0, np.zeros(2), 8, 8)
    np.testing.assert_allclose(out, 100.0, atol=1.0)
