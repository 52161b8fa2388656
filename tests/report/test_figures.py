"""Pictures made of pictures: the trail's colours and geometry, walls, averages."""

import numpy as np
import pytest
import torch

from foveate.attention.overlay import trail_colour
from foveate.report.figures import average, square, tick, trail_figure, wall


def near(image, x: float, y: float, reach: int = 4) -> np.ndarray:
    pixels = np.asarray(image).astype(int)
    return pixels[int(y) - reach : int(y) + reach, int(x) - reach : int(x) + reach].reshape(-1, 3)


def test_a_trail_begins_yellow_and_ends_blue():
    red, green, blue = trail_colour(0.0)
    assert min(red, green) > 200 and blue < 60
    red, green, blue = trail_colour(1.0)
    assert blue > 200 and red < 80
    assert trail_colour(-3) == trail_colour(0) and trail_colour(7) == trail_colour(1)
    blues = [trail_colour(step / 20)[2] for step in range(21)]
    assert blues == sorted(blues)


def test_the_square_is_turned_clockwise_and_its_tick_stands_at_the_top():
    upright = square([10, 0, 50, 40])
    assert upright == [(40, 30), (60, 30), (60, 50), (40, 50)]
    assert tick([10, 0, 50, 40])[0] == (50, 30)
    # a quarter turn, x towards y: the top edge of the object is now on the right of the picture
    assert tick([0, 10, 50, 40])[0] == (60, 40)


def test_the_trail_lies_on_the_edges_of_its_squares():
    trail = torch.tensor([[60.0, 0.0, 150.0, 150.0], [0.0, 30.0, 150.0, 150.0]])
    drawn = trail_figure(np.full((300, 300, 3), 128, np.uint8), trail)
    assert drawn.size == (300, 300)
    first, last = near(drawn, 90, 150), near(drawn, 120, 150)
    assert (np.abs(first - trail_colour(0)).max(axis=1) < 12).any()
    assert (np.abs(last - trail_colour(1)).max(axis=1) < 12).any()
    assert (near(drawn, 20, 20) == 128).all() and (near(drawn, 105, 150, 3) == 128).all()
    # the last window is a quarter turned: its tick reaches inwards from the right edge, not from the top
    assert (np.abs(near(drawn, 174, 150, 2) - trail_colour(1)).max(axis=1) < 12).any()
    assert (near(drawn, 150, 128, 2) == 128).all()


def test_windows_outside_or_not_finite_are_no_error():
    photograph = np.zeros((40, 60, 3), np.uint8)
    trail_figure(photograph, [[1e9, 0, 1e9, 1e9], [float("nan"), 0, 1, 1], [1e-9, 0, 3, 3]], truths=[[5, 1, 20, 20]])
    assert trail_figure(photograph, []).getextrema() == ((0, 0),) * 3


def test_a_wall_shows_every_patch_in_its_place():
    patches = torch.arange(7).view(7, 1, 1, 1).expand(7, 3, 4, 5) / 10
    picture = wall(patches, columns=3, gap=2, scale=2)
    assert picture.mode == "RGBA" and picture.size == (3 * 10 + 2 * 2, 3 * 8 + 2 * 2)
    pixels = np.asarray(picture)
    for index in range(7):
        top, left = (index // 3) * 10, (index % 3) * 12
        assert (pixels[top : top + 8, left : left + 10, :3] == round(index * 25.5 + 1e-6)).all()
    assert (pixels[8:10, :, 3] == 0).all() and (pixels[20:, 12:, 3] == 0).all()
    assert wall(patches[:6], columns=3, gap=0).mode == "RGB"
    with pytest.raises(ValueError, match="at least one"):
        wall(patches[:0])


def test_the_average_is_the_mean_of_the_patches():
    patches = np.random.default_rng(1).integers(0, 256, (50, 6, 5, 3), dtype=np.uint8)
    got = np.asarray(average(patches)).astype(float)
    np.testing.assert_allclose(got, patches.mean(axis=0), atol=0.5)
