"""Polygons and masks as turned rectangles, against cells counted one by one, and against pycocotools."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regions import ellipse, pack

from foveate.scenes.layouts.label_studio import unpack
from foveate.scenes.layouts.polygons import (
    decode_counts,
    of_segmentation,
    outline_of_polygons,
    outline_of_runs,
    rectangle_of,
)
from foveate.scenes.layouts.shapes import Unusable


def corners(width, height, degrees, x=100.0, y=80.0, start=0, clockwise=True):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2)
    ring = square @ [[c, s], [-s, c]] + (x, y)
    ring = np.roll(ring, start, axis=0)
    return ring if clockwise else ring[::-1]


@pytest.mark.parametrize("degrees", [0, 10, 44, 46, 90, 135, 200, -170])
@pytest.mark.parametrize("start", [0, 1, 3])
@pytest.mark.parametrize("clockwise", [True, False])
def test_four_corners_are_the_turned_rectangle_known_up_to_quarter_turns(degrees, start, clockwise):
    outline, period = outline_of_polygons([corners(60, 30, degrees, start=start, clockwise=clockwise)])
    assert period == 90 and abs(math.degrees(outline.angle)) <= 45 + 1e-6
    turned = (math.degrees(outline.angle) - degrees) % 90
    assert min(turned, 90 - turned) < 1e-6
    assert sorted((outline.width, outline.height)) == pytest.approx([30, 60])
    assert (outline.x, outline.y) == pytest.approx((100, 80))
    assert np.hypot(*outline.inscribed()[:2]) == pytest.approx(15)


def test_a_rectangle_in_its_own_order_keeps_its_upper_side():
    for degrees in (0, 30, 120, -150):
        found = rectangle_of(corners(60, 30, degrees))
        assert found is not None and (found.width, found.height) == pytest.approx((60, 30))
        assert math.cos(found.angle - math.radians(degrees)) == pytest.approx(1)
    for ring in (corners(60, 30, 0)[:3], ellipse(60, 30, 0, 4), np.zeros((4, 2)), corners(60, 30, 0) * [1, 0]):
        assert rectangle_of(ring) is None


@pytest.mark.parametrize("degrees", [0, 20, 80, 100, 160])
def test_other_regions_lie_along_their_longer_axis_known_up_to_half_turns(degrees):
    outline, period = outline_of_polygons([ellipse(80, 30, degrees)])
    assert period == 180
    assert math.cos(2 * (outline.angle - math.radians(degrees))) == pytest.approx(1, abs=1e-3)
    assert (outline.width, outline.height) == pytest.approx((80, 30), rel=0.01)


def test_a_round_region_tells_no_angle_and_its_rectangle_is_upright():
    for ring in (ellipse(50, 50, 33), ellipse(50, 47, 33), ellipse(50, 50, 0, count=6)):
        outline, period = outline_of_polygons([ring])
        assert period == 0 and outline.angle == 0.0


def test_several_polygons_are_one_region():
    both, period = outline_of_polygons([corners(20, 20, 0, x=50), corners(20, 20, 0, x=150)])
    assert period == 180 and both.angle == pytest.approx(0)
    assert both.upright() == pytest.approx((40, 70, 160, 90))


@pytest.mark.parametrize("ring", [[], [[1, 1]], [[1, 1], [5, 5]], [[1, 1], [2, 2], [3, 3]], [[1, 1]] * 5])
def test_a_polygon_without_area_is_unusable(ring):
    with pytest.raises(Unusable, match="no area"):
        outline_of_polygons([np.array(ring, dtype=np.float64).reshape(-1, 2)])


def counted(cells):
    """Centre, covariance and extent along its axes of the cells of a mask, one by one."""
    y, x = np.nonzero(cells)
    points = np.stack([x + 0.5, y + 0.5], 1)
    return points.mean(0), np.cov(points.T, bias=True) + np.eye(2) / 12


@given(seed=st.integers(0, 2**32 - 1), columns=st.booleans())
def test_runs_have_the_axes_of_the_cells_that_they_stand_for(seed, columns):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(2, 12, 2)
    cells = rng.random((height, width)) < rng.uniform(0.2, 0.9)
    flat = cells.ravel("F" if columns else "C")
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flat, [False]))))
    runs = np.diff(np.concatenate(([0], edges, [flat.size])))
    if not cells.any():
        with pytest.raises(Unusable, match="empty"):
            outline_of_runs(runs, int(height), int(width), columns)
        return
    outline, period = outline_of_runs(runs, int(height), int(width), columns, left=7.0, top=3.0)
    _, covariance = counted(cells)
    values, axes = np.linalg.eigh(covariance)
    expected = 0 if math.sqrt(values[1] / values[0]) < 1.15 else 180
    assert period == expected
    turn = math.atan2(axes[1, 1], axes[0, 1]) if period else 0.0
    assert math.cos(2 * (outline.angle - turn)) == pytest.approx(1, abs=1e-6)
    y, x = np.nonzero(cells)
    every = np.stack([np.add.outer(x + 7, [0, 1, 0, 1]), np.add.outer(y + 3, [0, 0, 1, 1])], -1).reshape(-1, 2)
    along = every @ (math.cos(outline.angle), math.sin(outline.angle))
    assert outline.width == pytest.approx(np.ptp(along), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_compressed_masks_are_those_of_pycocotools(seed):
    mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    cells = np.asfortranarray(rng.random((37, 53)) < 0.3, dtype=np.uint8)
    cells[5:30, 10:40] = 1
    packed = mask.encode(cells)["counts"].decode()
    flat = np.concatenate(([0], cells.ravel("F"), [0]))
    runs = np.diff(np.concatenate(([0], np.flatnonzero(np.diff(flat)), [cells.size])))
    runs = runs if runs[-1] else runs[:-1]
    np.testing.assert_array_equal(decode_counts(packed), runs)
    compressed = of_segmentation({"counts": packed, "size": [37, 53]})
    assert compressed == of_segmentation({"counts": runs.tolist(), "size": [37, 53]})


BAD_MASKS = [
    {"counts": [1, 2], "size": [37]}, {"counts": [10, 10], "size": [3, 3]}, {"counts": [9], "size": [3, 3]},
    {"counts": [-1, 10], "size": [3, 3]}, {"counts": ["a"], "size": [3, 3]}, {"counts": None, "size": [3, 3]},
    {"counts": "\x00\x01", "size": [3, 3]}, {"counts": "ooooooooooooooooo", "size": [3, 3]}, {"size": [3, 3]},
    {"counts": [0, 10**12], "size": [10**6, 10**6]}, {"counts": [1e300], "size": [1, 1]},
    {"counts": "\u00e9", "size": [1, 1]},
]  # fmt: skip


@pytest.mark.parametrize("segmentation", [*BAD_MASKS, "x", [1, [2]], [["a", 1, 2, 3, 4, 5]], [[math.nan] * 8]])
def test_what_is_no_mask_and_no_polygon_is_unusable(segmentation):
    with pytest.raises(Unusable) as caught:
        of_segmentation(segmentation)
    assert "\n" not in str(caught.value)


def test_a_flat_list_of_numbers_is_one_polygon():
    ring = corners(60, 30, 20)
    assert of_segmentation(ring.ravel().tolist()) == of_segmentation([ring.ravel().tolist()])


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 40)), min_size=1, max_size=20))
def test_brush_strokes_are_unpacked(runs):
    values = [value for value, count in runs for _ in range(count)]
    assert unpack(pack(values), len(values)).tolist() == values
    with pytest.raises(Unusable):
        unpack(pack(values), len(values) - 1)
    with pytest.raises(Unusable):
        unpack(pack(values)[:6], len(values))
