"""Tiles: every object whole somewhere, told once and in the picture's own pixels, in memory that stays bounded."""

import itertools
import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from founds import chains, found, seen
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foveate.attention.attend import Attention
from foveate.attention.images.image_files import attend_images
from foveate.attention.images.tiles import SHARED, Tile, cut, scales, together
from foveate.attention.settings import AttendSettings
from foveate.errors import BadInput, Interrupted
from foveate.runtime.progress import Quiet, Tick

SETTINGS = AttendSettings(largest=160, max_gazes=50)


def found_at(x, y, s, score=1.0, posterior=False):
    u = np.array([s, 0.0, x, y])
    refined = chains(u, np.ones(4), np.full(4, 0.5), u[None, None] + 1) if posterior else None
    return found(u, score, trail=[u - 1, u], posterior=refined)


@dataclass
class Spots(Attention):
    """Finds white squares on black whose half-side it can make out, each at a score that grows with its sharpness.

    A square that the edge of the image cuts is found as what is left of it, as a network would.
    """

    smallest: float = 4.0
    seen: list = field(default_factory=list)

    def see(self, image, name, settings):
        return seen(self.one(image))

    def one(self, image):
        from scipy.ndimage import find_objects, label

        self.seen.append(image.shape[:2])
        if image.shape[0] == 13:
            raise BadInput("nothing can be attended in 13 rows")
        spots = []
        for rows, columns in find_objects(label(image[..., 0] > 127)[0]):
            s = max(rows.stop - rows.start, columns.stop - columns.start) / 2
            if self.smallest <= s <= min(image.shape[:2]) / 2:
                x, y = (columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2
                spots.append(found_at(x, y, s, score=s))
        return spots


def scene(folder, squares, width=700, height=500, name="big.png"):
    pixels = np.zeros((height, width, 3), np.uint8)
    for x, y, s in squares:
        pixels[y - s : y + s, x - s : x + s] = 255
    Image.fromarray(pixels).save(folder / name)
    return str(folder / name)


def attend(paths, settings=SETTINGS, workers=1, tiles=True, model=None, tick=None):
    images = [(path, path) for path in paths]
    with Quiet().phase("attend") as quiet:
        return list(attend_images(model or Spots(), images, settings, tick or quiet, workers, tiles))


SQUARES = [(40, 40, 9), (150, 60, 9), (160, 300, 6), (320, 250, 9), (640, 460, 6), (693, 200, 7), (450, 380, 60)]
"""Small ones, one at the border, one on the line between two tiles, and a large one."""


def test_small_objects_of_a_large_picture_are_found_once_and_where_they_are(tmp_path):
    (alone,) = attend([scene(tmp_path, SQUARES)], tiles=False)
    (tiled,) = attend([scene(tmp_path, SQUARES)])
    assert len(alone.line()["gazes"]) == 1  # reduced to 160 pixels, six of seven are too small to be made out
    gazes = sorted(gaze["box"] for gaze in tiled.line()["gazes"])
    expected = sorted([x - s, y - s, x + s, y + s] for x, y, s in SQUARES)
    assert np.abs(np.array(gazes) - expected).max() < 3, "a reduced pixel is 4.4 pixels"
    small = [gaze for gaze in gazes if gaze[2] - gaze[0] < 50]
    assert np.abs(np.array(small) - [box for box in expected if box[2] - box[0] < 50]).max() < 1e-6


@given(st.integers(161, 3000), st.integers(30, 3000), st.floats(0, 1), st.floats(0, 1), st.floats(4.0, 19.9))
def test_what_is_no_larger_than_the_shared_part_is_whole_in_some_tile(width, height, across, down, s):
    side = 160
    assert s <= side / SHARED / 2
    x, y = s + across * (width - 2 * s), s + down * max(height - 2 * s, 0)
    level = np.broadcast_to(np.zeros(3, np.uint8), (height, width, 3))
    tiles = list(cut(level, side, 1.0))
    covered = np.zeros((height, width), bool)
    for tile in tiles:
        h, w = tile.pixels.shape[:2]
        assert (h, w) == (min(side, height), min(side, width))
        covered[tile.y : tile.y + h, tile.x : tile.x + w] = True
    assert covered.all()
    assert any(tile.holds(found_at(x - tile.x, y - tile.y, s)) for tile in tiles)


@given(st.integers(1, 200_000), st.integers(64, 4000), st.floats(2.0, 40.0))
def test_levels_lie_close_enough_for_every_size_between(longest, side, smallest):
    levels = scales(longest, side, smallest)
    assert levels[-1] == 1.0 and levels[0] == pytest.approx(min(1.0, side / longest))
    reach = max(side / SHARED / 2 / smallest, 2.0)
    assert all(fine / coarse <= reach * (1 + 1e-9) for coarse, fine in itertools.pairwise(levels))


def test_a_gaze_cut_by_a_tile_s_edge_is_left_to_the_neighbour_and_one_at_the_border_is_kept():
    level = np.zeros((100, 300, 3), np.uint8)
    left, *_, right = cut(level, 120, 1.0)
    assert left.holds(found_at(5, 50, 20)) and not left.holds(found_at(110, 50, 20))
    assert right.holds(found_at(115, 95, 20)) and not right.holds(found_at(10, 50, 20))


def test_all_of_a_gaze_is_told_in_pixels_of_the_picture():
    tile = Tile(np.zeros((80, 80, 3)), 100, 200, 1000, 1000, 0.5)
    whole = tile.in_picture(found_at(10, 20, 4, posterior=True))
    assert whole.u.tolist() == [8, 0, 220, 440] and whole.trail.tolist() == [[6, -2, 218, 438], [8, 0, 220, 440]]
    assert whole.std.tolist() == [1.0] * 4
    assert whole.posterior.u.tolist() == [8, 0, 220, 440] and whole.posterior.draws.tolist() == [[[10, 2, 222, 442]]]
    assert whole.posterior.spread.tolist() == [1, 1, 2, 2]


def test_the_best_of_one_object_s_gazes_stays():
    founds = [found_at(50, 50, 10, 1.0), found_at(51, 50, 10, 3.0), found_at(90, 50, 10, 2.0)]
    assert together(founds) == [founds[1], founds[2]]
    assert together([]) == []


def test_images_that_one_tile_covers_give_the_lines_they_give_without(tmp_path):
    paths = [scene(tmp_path, [(40, 40, 9)], 160, 120, "small.png"), scene(tmp_path, SQUARES[:1], 50, 60, "tiny.png")]
    with_tiles, without = attend(paths), attend(paths, tiles=False)
    assert [json.dumps(a.line()) for a in with_tiles] == [json.dumps(a.line()) for a in without]


def test_results_do_not_depend_on_workers_or_company_and_errors_are_lines(tmp_path):
    paths = [scene(tmp_path, SQUARES), scene(tmp_path, [], 40, 13, "bad.png")]
    paths.append(scene(tmp_path, SQUARES[3:], name="b.png"))
    (tmp_path / "torn.png").write_bytes((tmp_path / "b.png").read_bytes()[:200])
    paths.insert(1, str(tmp_path / "torn.png"))
    several = [attended.line() for attended in attend(paths, workers=4)]
    assert several == [attend([path])[0].line() for path in paths]
    assert ["error" in line for line in several] == [False, True, True, False]
    assert several[2] == {"image": paths[2], "error": "nothing can be attended in 13 rows"}


def test_crops_are_cut_from_the_picture_in_full(tmp_path):
    (tiled,) = attend([scene(tmp_path, SQUARES)])
    pixels, founds = tiled.detail()
    assert pixels.shape == (500, 700, 3) and tiled.pixels.shape[1] == 160
    for one in founds:
        assert (pixels[int(one.u[3]), int(one.u[2])] == 255).all() and one.scale < 70
    (plain,) = attend([scene(tmp_path, SQUARES)], tiles=False)
    assert plain.detail() == (plain.pixels, plain.founds)


def test_every_tile_has_the_size_that_is_attended_at_once(tmp_path):
    model = Spots()
    attend([scene(tmp_path, SQUARES)], model=model)
    assert model.seen[0] == (114, 160) and set(model.seen[1:]) == {(160, 160)}
    assert len(model.seen) == 1 + 3 * 2 + 6 * 4  # of 335 pixels, and of 700, in steps of at most 120


def test_a_tick_that_stops_ends_it_between_two_images(tmp_path):
    paths = [scene(tmp_path, SQUARES), scene(tmp_path, SQUARES[:2], name="b.png")]

    class Impatient(Tick):
        def __call__(self, done, total=None, **figures):
            if done == 1:
                raise Interrupted(2)

    with pytest.raises(Interrupted):
        attend(paths, tick=Impatient(Quiet(), "attend", 2), workers=2)
