"""Overlays, charts and curves: geometry, formats, what becomes of odd records."""

import math
import re

import numpy as np
import pytest

from foveate.report.charts import MINUS, Row, Series, labels, lines, number, percent, ranking, reliability, ticks
from foveate.report.curves import phases, thinned
from foveate.report.drawing import close_up, colours, ellipse_path, gaze_path, hex_colour, wedge_path
from foveate.report.gallery import step_names
from foveate.report.story import Spread, Step

DASH = "\N{EN DASH}"


def points(path: str) -> np.ndarray:
    return np.array([[float(value) for value in pair.split()] for pair in re.findall(r"[-\d.]+ [-\d.]+", path)])


def test_the_ellipse_holds_95_per_cent_of_a_gaussian():
    rng = np.random.default_rng(0)
    covariance = np.array([[900.0, 500.0], [500.0, 400.0]])
    outline = points(ellipse_path(Spread([100.0, 50.0], covariance.tolist(), 0.0, 0.1, 0.1)))
    # every point of the outline lies at the same Mahalanobis distance, the chi-square quantile
    away = outline - [100.0, 50.0]
    square = (away @ np.linalg.inv(covariance) * away).sum(axis=1)
    np.testing.assert_allclose(square, 5.991, rtol=0.02)
    draws = rng.multivariate_normal([0, 0], covariance, 20000)
    inside = ((draws @ np.linalg.inv(covariance) * draws).sum(axis=1) < square.mean()).mean()
    assert inside == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 20000) + 0.002)


def test_the_wedge_opens_around_the_top_of_the_window():
    spread = Spread([100.0, 100.0], [[1.0, 0.0], [0.0, 1.0]], math.pi / 2, math.radians(10), 0.1)
    corners = points(wedge_path(spread, 50.0))
    assert tuple(corners[0]) == (100.0, 100.0)
    # turned a quarter clockwise the top is on the right; the outer points are at +-19.6 degrees from it
    angles = np.degrees(np.arctan2(corners[1:, 1] - 100, corners[1:, 0] - 100))
    assert angles.min() == pytest.approx(-19.6, abs=0.2) and angles.max() == pytest.approx(19.6, abs=0.2)
    np.testing.assert_allclose(np.hypot(*(corners[1:] - 100).T), 50, atol=0.2)


def test_the_square_is_turned_clockwise_and_its_tick_points_inwards_from_the_top():
    upright = points(gaze_path([10, 0, 50, 40]))
    assert upright.tolist() == [[40, 30], [60, 30], [60, 50], [40, 50], [50, 30], [50, 33.4]]
    # a quarter turn, x towards y: the top edge of the object is now on the right of the picture
    assert points(gaze_path([0, 10, 50, 40]))[4:].tolist() == [[60, 40], [56.6, 40]]


def test_what_cannot_be_drawn_is_left_out():
    assert gaze_path([math.nan, 0, 1, 1]) == "" and gaze_path([1e9, 0, 1, 1]) == ""
    assert ellipse_path(Spread([0.0, 0.0], [[math.nan, 0.0], [0.0, 1.0]], 0.0, 0.1, 0.1)) == ""
    assert wedge_path(Spread([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]], math.nan, 0.1, 0.1), 5.0) == ""


def test_a_close_up_stays_on_the_photograph_and_shows_the_window():
    x, y, wide, tall = close_up([[10, 0, 12, 90], [11, 2, 13, 91]], 200, 100)
    assert wide == tall and x >= 0 and y >= 0 and x + wide <= 200 and y + tall <= 100
    assert x == 0 and wide < 60


def test_many_small_moves_share_the_last_quarter_of_the_colours():
    steps = [Step([1, 0, 0, 0], kind) for kind in ["start"] + 6 * ["convnet"] + 30 * ["hmc"]]
    inks = colours(steps)
    assert inks[0] == hex_colour(0) and inks[6] == hex_colour(0.75) and inks[-1] == hex_colour(1)
    assert colours(steps[:3]) == [hex_colour(place) for place in (0, 0.5, 1)]
    assert colours(steps[:1]) == [hex_colour(0)] and colours([]) == []
    assert step_names(steps)[3] == "ShiftNet step 3 of 6"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1,234"), (-2254.0, f"{MINUS}2,254"), (0.02134, "0.0213"), (3.14159, "3.14"), (0.5, "0.5"),
     (1e-7, "1.0e-07"), (None, DASH), (math.nan, DASH), (100, "100"), (99.96, "100")],
)  # fmt: skip
def test_numbers_read_well(value, text):
    assert number(value) == text


def test_labels_of_ticks_close_together_differ():
    assert labels([0.45, 0.46, 0.47], True) == ["45\u202f%", "46\u202f%", "47\u202f%"]
    assert labels([0.452, 0.454, 0.456], True) == ["45.2\u202f%", "45.4\u202f%", "45.6\u202f%"]
    assert labels([0.0, 0.5, 1.0]) == ["0", "0.5", "1"]
    assert len(set(labels([1234.2, 1234.4, 1234.6]))) == 3
    assert labels([], True) == []
    close = re.findall(r'class="tick"[^>]*>([^<]+)<', str(ranking([Row("a", 103.40), Row("b", 103.52)], "nats", "two")))
    assert len(close) > 1 and len(set(close)) == len(close)


def test_ticks_are_round_and_inside():
    for low, high in [(-2500, 1600), (0, 1), (3.2, 3.21), (-1e-5, 1e-5), (5, 5)]:
        marks = ticks(low, high)
        assert marks and all(low - 1e-9 <= mark <= high + 1e-9 for mark in marks) and len(marks) <= 9
    assert percent(0.962, 1) == "96.2\u202f%" and percent(None) == DASH


def test_a_chart_puts_its_points_where_they_belong():
    svg = str(lines([Series("a<b", [0, 10], [0.0, 1.0])], "step", shares=True, words="Share"))
    (x0, y0), (x1, y1) = (map(float, pair.split(",")) for pair in re.search(r'points="([^"]*)"', svg)[1].split())
    assert x0 < x1 and y0 > y1
    assert "a&lt;b goes from 0\u202f% at 0 to 100\u202f% at 10" in svg and "a<b" not in svg


def test_rows_keep_their_order_and_brackets_and_errors_reach_their_ends():
    svg = str(ranking([Row("low", -100.0), Row("high", 50.0, 40.0, 60.0, 20.0, strong=True)], "nats", "Bound"))
    assert svg.index(">low<") < svg.index(">high<") and "50 ±\N{NO-BREAK SPACE}20" in svg
    error = re.search(r'class="error a" x1="([\d.]+)" x2="([\d.]+)"', svg)
    thin = re.search(r'class="bracket a" d="M([\d.]+) [\d.]+V[\d.]+M([\d.]+)', svg)
    assert float(error[2]) - float(error[1]) == pytest.approx(2 * (float(thin[2]) - float(thin[1])), abs=0.1)
    bracket = re.search(r'class="bracket a" d="M([\d.]+) [\d.]+V[\d.]+M([\d.]+)', svg)
    dot = re.search(r'class="dot a" cx="([\d.]+)"', svg)
    assert float(bracket[1]) < float(dot[1]) < float(bracket[2])


def test_the_reliability_diagram_says_its_bins():
    assert "80\u202f% stated, 75\u202f% correct of 40" in str(reliability([("", "a", [[0.8, 0.75, 40]])], "Honesty"))


def test_training_and_validation_share_a_chart_and_resumed_steps_count_once():
    records = [{"phase": "grbm", "epoch": e, "loss_train": float(e), "loss_validation": 2.0 * e} for e in range(5)]
    records += [{"phase": "grbm", "epoch": 4, "loss_train": 40.0, "flag": True, "note": "x", "none": None}]
    records += [
        {"phase": "shiftnet", "step": 10 * s, "train": {"loss": 1.0 / (s + 1)}, "constant": 3} for s in range(4)
    ]
    records += ["not a record", {"phase": "once", "loss": 1.0}]
    found = phases(records)
    assert [phase.name for phase in found] == ["First layer: Gaussian-binary RBM", "ShiftNet"]
    (chart,) = found[0].charts
    assert chart.title == "loss" and [name for name, _ in chart.legend] == ["training", "validation"]
    assert "to 40 at 4" in str(chart.svg)
    assert [one.title for one in found[1].charts + found[1].more] == ["loss"] and found[1].charts[0].only == "training"


def test_long_curves_are_smoothed_and_keep_their_ends():
    x, y = thinned([(float(step), 1.0 + (-1) ** step) for step in range(10001)])
    assert len(x) <= 240 and (x[0], x[-1]) == (0.0, 10000.0) and (y[0], y[-1]) == (2.0, 2.0)
    assert np.allclose(y[1:-1], 1.0, atol=0.05)
