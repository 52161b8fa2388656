"""The figures of `evaluate localization`, against counts made by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from founds import chains, found
from PIL import Image
from records import records

from foveate.attention.attend import Attention
from foveate.attention.settings import AttendSettings
from foveate.boltzmann.dbn import GaussianDBN
from foveate.errors import BadInput, Interrupted
from foveate.evaluation.detections import Detections
from foveate.evaluation.localization import detect, localize, measure
from foveate.evaluation.matching import ignored, match, overlaps
from foveate.evaluation.plots import plot_localization
from foveate.evaluation.reliability import expected_calibration_error, reliability, wilson
from foveate.evaluation.turning import turn_scene
from foveate.runtime.progress import Progress, Quiet
from foveate.scenes.folder import Scene, Scenes, read_image
from foveate.scenes.pixels import content_key

detected = Detections.of


def at(s, degrees, x, y):
    angle = math.radians(degrees)
    return [s * math.cos(angle), s * math.sin(angle), x, y]


def objects(*gazes):
    return np.array(gazes).reshape(-1, 4)


def test_overlaps_are_those_of_the_upright_squares():
    turned, beside, inside, apart = at(10, 30, 50, 50), at(10, 0, 60, 50), at(5, -70, 50, 50), at(10, 0, 70, 50)
    found = overlaps(objects(turned), objects(beside, inside, apart, turned))
    np.testing.assert_allclose(found, [[200 / 600, 100 / 400, 0.0, 1.0]], atol=1e-12)
    assert overlaps(objects(), objects(beside)).shape == (0, 1)


def test_matching_is_one_to_one_and_the_most_confident_chooses_first():
    overlap = np.array([[0.6, 0.7], [0.5, 0.9], [0.55, 0.0], [0.0, 0.0]])
    assert match(overlap, 0.5).tolist() == [1, 0, -1, -1]
    assert match(overlap, 0.65).tolist() == [1, -1, -1, -1]
    assert match(np.zeros((3, 0)), 0.5).tolist() == [-1, -1, -1]


def test_counts_of_a_small_case_are_those_made_by_hand():
    """a: found and doubled; b: two objects, one found loosely, and an invention; c: nothing found; d: an invention."""
    face = at(20, 0, 50, 50)
    loose = at(20, 0, 200, 62)  # 28 of 40 rows in common: IoU 28 / 52 = 0.538
    detections = [
        detected("a", [found(face, 9.0), found(at(21, 0, 50, 50), 5.0)], objects(face)),
        detected(
            "b",
            [found(at(30, 0, 400, 400), 9.0), found(loose, 8.0)],
            objects(at(20, 0, 200, 50), at(20, 0, 300, 50)),
        ),
        detected("c", [], objects(face)),
        detected("d", [found(face, 1.0)], objects()),
    ]
    figures = measure(detections)
    assert figures["photos"] == 4 and figures["objects"] == 4 and figures["photos_with_objects"] == 3
    assert figures["top1"] == {"0.3": 1 / 3, "0.5": 1 / 3, "0.7": 1 / 3}
    assert figures["recall"] == {"0.3": 0.5, "0.5": 0.5, "0.7": 0.25}
    assert figures["false_positives_per_photo"] == 3 / 4
    assert figures["wrong"] == ["b", "c", "d"]
    assert figures["scale_error"]["median"] == pytest.approx(1.0)
    assert figures["centre_error"]["median"] == pytest.approx(0.3)


def test_unlikely_gazes_count_for_the_best_gaze_but_not_for_recall_or_false_positives():
    face = at(20, 0, 50, 50)
    detections = [detected("a", [found(face, probability=0.2), found(at(20, 0, 150, 50), 1.0, 0.1)], objects(face))]
    figures = measure(detections, min_probability=0.5)
    assert figures["top1"]["0.5"] == 1.0 and figures["recall"]["0.5"] == 0.0
    assert figures["false_positives_per_photo"] == 0.0 and figures["angle_error_degrees"]["median"] is None
    assert figures["calibration"]["ece"] is None and figures["calibration"]["reliability"] == []
    assert figures["min_probability"] == 0.5


@pytest.mark.parametrize("least", [0.0, 0.1, 0.5, 0.95])
def test_the_calibration_error_is_that_of_the_reliability_beside_it(least):
    rng = np.random.default_rng(4)
    founds = [found(at(20, 0, 100 * k, 50), score=p, probability=p) for k, p in enumerate(rng.random(60))]
    truths = objects(*(one.u for one in founds if rng.random() < 0.6))
    figures = measure([detected("a", founds, truths)], least)
    rows = figures["calibration"]["reliability"]
    assert sum(count for _, _, count in rows) == sum(one.probability >= least for one in founds)
    error = sum(count * abs(stated - right) for stated, right, count in rows) / sum(count for _, _, count in rows)
    assert figures["calibration"]["ece"] == pytest.approx(error)


def test_a_gaze_in_a_crowd_is_no_false_positive_and_judges_no_probability():
    crowd = np.array([[100.0, 0.0, 200.0, 100.0]])
    inside, outside = at(20, 0, 150, 50), at(20, 0, 300, 50)
    assert ignored(objects(inside, outside, at(20, 0, 95, 50)), crowd).tolist() == [True, False, False]
    figures = measure([detected("a", [found(inside), found(outside, 5.0)], objects(), crowd)])
    assert figures["false_positives_per_photo"] == 1.0
    assert [row[2] for row in figures["calibration"]["reliability"]] == [1]
    figures = measure([detected("a", [found(inside)], objects(inside), crowd)])
    assert figures["recall"]["0.5"] == 1.0, "an annotated object inside a crowd region is still an object"


def test_numbers_of_objects_are_held_against_what_is_annotated():
    one, two, far = at(20, 0, 50, 50), at(20, 0, 150, 50), at(20, 0, 300, 50)
    sure = detected("a", [found(one, 5.0, 0.99), found(two, 4.0, 0.98)], objects(one, two))
    wrong = detected("b", [found(one, 5.0, 0.99), found(far, 4.0, 0.98)], objects(one))
    crowded = detected(
        "c", [found(one, 5.0, 0.99), found(far, 4.0, 0.98)], objects(one), np.array([[250.0, 0, 350, 100]])
    )
    figures = measure([sure, wrong, crowded])["counts"]
    assert figures["held"] == pytest.approx(2 / 3)
    assert figures["error"] == pytest.approx((1.97 - 2 + 1.97 - 1 + 0.99 - 1) / 3)


def test_nothing_to_divide_by_is_null_and_the_figures_are_strict_json():
    for detections in (
        [],
        [detected("a", [], objects())],
        [detected("a", [found(at(9, 0, 9, 9))], objects())],
    ):
        figures = measure(detections)
        assert figures["top1"] == figures["recall"] == {"0.3": None, "0.5": None, "0.7": None}
        assert figures["by_step"] == [] and figures["scale_error"] == {"median": None, "p90": None}
        assert figures["calibration"]["centre"] == [None, None]
        json.dumps(figures, allow_nan=False)
    assert measure([])["false_positives_per_photo"] is None
    assert measure([detected("a", [], objects(at(9, 0, 9, 9)))])["top1"]["0.5"] == 0.0


@pytest.mark.parametrize(("stated", "true", "error"), [(-179, 179, 2), (179, -179, 2), (180, -180, 0), (90, -90, 180)])
def test_angle_errors_are_wrapped(stated, true, error):
    figures = measure([detected("a", [found(at(20, stated, 50, 50))], objects(at(20, true, 50, 50)))])
    assert figures["angle_error_degrees"]["median"] == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize(("period", "error"), [(360, 85.0), (180, 85.0), (90, 5.0), (0, None)])
def test_an_angle_that_is_known_up_to_turns_is_wrong_by_the_least_of_them(period, error):
    face, other = at(20, 0, 50, 50), at(20, 85, 50, 50)
    one = detected("a", [found(other, posterior=chains(other, (0.1, 0.1, 1.0, 1.0)))], objects(face), periods=[period])
    figures = measure([one])
    assert figures["angle_error_degrees"]["median"] == (None if error is None else pytest.approx(error))
    within = {90: [1.0, 1.0], 0: [None, None]}.get(period, [0.0, 0.0])
    assert figures["calibration"]["angle"] == within and figures["calibration"]["n"] == 1


def test_the_scale_error_is_the_same_ratio_for_too_large_and_too_small():
    for s in (16, 25):
        figures = measure([detected("a", [found(at(s, 0, 50, 50))], objects(at(20, 0, 50, 50)))])
        assert figures["scale_error"]["p90"] == pytest.approx(1.25)


def test_accuracy_by_step_follows_the_best_gaze_and_holds_the_end_of_short_trails():
    face, near, far = at(20, 0, 50, 50), at(20, 0, 52, 50), at(20, 0, 150, 50)
    detections = [
        detected("a", [found(face, trail=[far, near, face])], objects(face)),
        detected("b", [found(near, trail=[near]), found(far, 1.0, trail=[far] * 9)], objects(face)),
        detected("c", [], objects(face)),
        detected("d", [found(far, trail=[far, far, far, far])], objects()),
    ]
    assert measure(detections)["by_step"] == [[0, 1 / 3], [1, 2 / 3], [2, 2 / 3]]


def test_true_deviations_are_covered_as_a_gaussian_says():
    """4,000 truths drawn with the stated deviations; standard error 0.0074 (centre 0.0052), bound 4 of them."""
    rng = np.random.default_rng(1)
    founds, truths = [], []
    for i in range(4000):
        u = at(30, rng.uniform(-180, 180), 100 * (i % 400), 200)
        spread = np.array([0.03, math.radians(2.0), 1.5, 0.7]) * rng.uniform(0.5, 1.5)
        log_s, turn, x, y = rng.normal(size=4) * spread
        truths.append(at(30 * math.exp(log_s), math.degrees(math.atan2(u[1], u[0]) + turn), u[2] + x, u[3] + y))
        founds.append(found(u, posterior=chains(u, spread)))
    parts = [slice(k, k + 400) for k in range(0, 4000, 400)]
    detections = [detected(str(part), founds[part], objects(*truths[part])) for part in parts]
    calibration = measure(detections)["calibration"]
    assert calibration["n"] == 4000
    for name in ("centre", "angle", "scale"):
        np.testing.assert_allclose(calibration[name], [0.6827, 0.9545], atol=0.03)


@pytest.mark.parametrize("spread", [[0.0] * 4, [1e-8] * 4, [math.nan] * 4, [1.0, 1.0, 1.0, 1e-9]])
def test_a_chain_that_did_not_move_is_a_miss_even_where_it_stands_on_the_truth(spread):
    face = at(20, 0, 50, 50)
    calibration = measure([detected("a", [found(face, posterior=chains(face, spread))], objects(face))])["calibration"]
    assert calibration["centre"] == calibration["angle"] == calibration["scale"] == [0.0, 0.0]
    assert calibration["stuck"] == 1


def test_what_a_posterior_states_is_what_is_measured():
    face = at(20, 0, 50, 50)
    stated = detected("a", [found(face, posterior=chains(face, [0.1, 0.2, 0.3, 0.4]))], objects(face))
    assert stated.spread.tolist() == [[0.1, 0.2, 0.3, 0.4]]
    assert stated.stated.tolist() == stated.believed.tolist() == [True]
    assert detected("a", [found(face)], objects(face)).stated.tolist() == [False]


def test_gazes_that_state_no_deviation_are_in_no_share():
    face = at(20, 0, 50, 50)
    calibration = measure([detected("a", [found(face)], objects(face))])["calibration"]
    assert calibration["n"] == 0 and calibration["angle"] == [None, None]


def test_the_calibration_error_is_zero_for_true_probabilities_and_known_for_false_ones():
    """20,000 labels drawn with the stated probabilities: each bin's standard error is below 0.012."""
    rng = np.random.default_rng(3)
    stated = rng.random(20000)
    assert expected_calibration_error(reliability(stated, rng.random(20000) < stated)) < 0.012
    assert expected_calibration_error(reliability(np.full(100, 0.9), np.arange(100) < 60)) == pytest.approx(0.3)
    assert reliability(np.array([0.0, 1.0, 0.95]), np.array([False, True, False])) == [[0.0, 0.0, 1], [0.975, 0.5, 2]]


HALF = AttendSettings(min_probability=0.5)


class Oracle(Attention):
    """Finds a bright disc by its pixels, so that what is measured goes through reading and turning."""

    gdbn = GaussianDBN(3 * 24 * 24, 4, 2)

    def __init__(self):
        self.sizes, self.keys = [], []

    def attend_one(self, image, name, settings):
        self.sizes.append(image.shape[:2])
        self.keys.append(name)
        y, x = np.nonzero(image[..., 0] > 200)
        s = math.sqrt(len(x) / math.pi)
        return [found([s, 0.0, x.mean() + 0.5, y.mean() + 0.5])] if len(x) else []


class Told(Progress):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def disc_scenes(folder):
    scenes = []
    y, x = np.mgrid[:80, :120] + 0.5
    for i, (cx, cy) in enumerate([(30, 40), (90, 20), (60, 60), (None, None)]):
        inside = np.zeros(x.shape, bool) if cx is None else (x - cx) ** 2 + (y - cy) ** 2 < 15**2
        pixels = np.where(inside, 255, 40).astype(np.uint8)
        Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(folder / f"{i}.png")
        truth = objects() if cx is None else objects([15.0, 0.0, cx, cy])
        scenes.append(Scene(f"{i}.png", str(folder / f"{i}.png"), 120, 80, records(truth)))
    return Scenes(scenes, "disc")


@pytest.mark.parametrize("turn", [0, 30, 90, 180])
def test_turned_photographs_are_measured_against_turned_truths(tmp_path, turn):
    scenes, oracle = disc_scenes(tmp_path), Oracle()
    found_there = detect(oracle, scenes.scenes, HALF, Quiet(), turn)
    figures = measure(found_there, HALF.min_probability)
    assert figures["recall"]["0.7"] == 1.0 and figures["centre_error"]["p90"] < 0.01
    assert figures["angle_error_degrees"]["median"] == pytest.approx(turn, abs=1e-6)
    assert len(oracle.sizes) == 4
    np.testing.assert_allclose(found_there[1].truths, turn_scene(scenes.scenes[1], turn).gazes)


def test_random_numbers_are_keyed_on_the_pixels_and_not_on_the_name(tmp_path):
    scenes, oracle = disc_scenes(tmp_path), Oracle()
    (tmp_path / "copy.png").write_bytes((tmp_path / "0.png").read_bytes())
    scenes.scenes.append(replace(scenes.scenes[0], name="copy.png", path=str(tmp_path / "copy.png")))
    detect(oracle, scenes.scenes, HALF, Quiet())
    assert len(set(oracle.keys)) == 4 and oracle.keys.count(content_key(read_image(tmp_path / "0.png"))) == 2


@pytest.mark.parametrize("turn", [0, 30])
def test_photographs_are_reduced_as_attend_does_it_and_figures_stay_those_of_the_full_size(tmp_path, turn):
    scenes, oracle = disc_scenes(tmp_path), Oracle()
    scenes.scenes[3] = replace(scenes.scenes[3], annotations=records([], [80.0, 0, 120, 40]))
    reduced = detect(oracle, scenes.scenes, replace(HALF, largest=60), Quiet(), turn)
    full = detect(Oracle(), scenes.scenes, replace(HALF, largest=120), Quiet(), turn)
    assert max(map(max, oracle.sizes)) < 80
    figures = measure(reduced, HALF.min_probability)
    assert figures["recall"]["0.7"] == measure(full, HALF.min_probability)["recall"]["0.7"] == 1.0
    assert figures["centre_error"]["p90"] < 0.1 and figures["scale_error"]["p90"] < 1.15
    np.testing.assert_allclose(reduced[3].ignore, full[3].ignore / 2, atol=1.0)


def test_a_photograph_that_can_not_be_read_is_named_and_left_out(tmp_path):
    scenes = disc_scenes(tmp_path)
    (tmp_path / "1.png").write_bytes(b"no picture")
    told = Told()
    assert localize(Oracle(), scenes.scenes, HALF, told)["photos"] == 3
    assert len(told.lines) == 1 and "1.png" in told.lines[0]
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match="none of the 4"):
        localize(Oracle(), scenes.scenes, HALF, told)


def test_progress_can_stop_the_run(tmp_path):
    class Stop(Progress):
        def show(self, tick):
            raise Interrupted(2)

    with pytest.raises(Interrupted):
        localize(Oracle(), disc_scenes(tmp_path).scenes, HALF, Stop())


def test_the_plot_shows_the_figures_and_survives_there_being_none(tmp_path):
    face = at(20, 0, 50, 50)
    one = detected("a", [found(face, trail=[at(20, 0, 150, 50), face])], objects(face))
    for detections in ([], [one]):
        figures = measure(detections)
        figure = plot_localization(figures, "three discs")
        figure.savefig(tmp_path / "plot.png")
        with Image.open(tmp_path / "plot.png") as picture:
            assert picture.size[0] > 500
    overlap, steps, _ = figure.axes
    np.testing.assert_allclose(overlap.lines[0].get_xydata(), [[float(t), v] for t, v in figures["top1"].items()])
    np.testing.assert_allclose(steps.lines[0].get_xydata(), figures["by_step"])


def test_the_interval_of_a_share_is_wilsons():
    """Against the roots of (p - q)^2 = z^2 q (1 - q) / n, which define it; it stays within 0 and 1."""
    for share, n in ((4791 / 4980, 4980), (0.5, 24), (1.0, 3), (0.0, 7)):
        z2 = 1.959963984540054**2
        roots = np.sort(np.roots([1 + z2 / n, -(2 * share + z2 / n), share**2]).real)
        np.testing.assert_allclose(wilson(share, n), roots, atol=1e-9)
        assert -1e-12 <= wilson(share, n)[0] <= share <= wilson(share, n)[1] <= 1 + 1e-12
