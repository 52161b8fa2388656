"""Pictures: the trail's colours, walls of patches."""

import numpy as np
import torch

from foveate.attention.overlay import trail_colour
from foveate.report.pictures import wall


def test_a_trail_begins_yellow_and_ends_blue():
    red, green, blue = trail_colour(0.0)
    assert min(red, green) > 200 and blue < 60
    red, green, blue = trail_colour(1.0)
    assert blue > 200 and red < 80
    assert trail_colour(-3) == trail_colour(0) and trail_colour(7) == trail_colour(1)
    blues = [trail_colour(step / 20)[2] for step in range(21)]
    assert blues == sorted(blues)


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
