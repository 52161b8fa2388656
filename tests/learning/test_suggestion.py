"""Which images are suggested for annotation, and how they are shown."""

import math

import numpy as np
import pytest
from PIL import Image

from foveate.attention.familiarity import FIGURES
from foveate.learning.contact_sheet import CAPTION, GAP, LINES, TILE, contact_sheet
from foveate.learning.suggestion import Looked, suggest

PLAIN = np.random.default_rng(0).normal(size=(200, len(FIGURES)))


def looked(name, probabilities, shade, figures=None):
    return Looked(name, probabilities, figures, np.full(192, float(shade)))


def test_value_is_entropy_and_surprise_and_number_of_objects_in_bits():
    middle = np.median(PLAIN, axis=0)
    far = middle + 9.0 * (np.arange(len(FIGURES)) == FIGURES.index("sharpness"))
    sure, unsure, strange, many = suggest_all(
        [
            looked("sure", [1.0], 0, middle),
            looked("unsure", [0.5, 0.5], 80, middle),
            looked("strange", [1.0], 160, far),
            looked("many", [1.0] * 7, 240, middle),
        ]
    )
    assert sure.value == pytest.approx(1.0, abs=0.02) and sure.crowded == pytest.approx(1.0, abs=1e-6)
    assert unsure.uncertain == pytest.approx(2.0) and unsure.reason.startswith(
        "uncertain (places with P between 0.1 and 0.9: 2;"
    )
    assert (
        strange.unlike == pytest.approx(math.log2(201))
        and "unlike the images of training in sharpness" in strange.reason
    )
    assert many.crowded == pytest.approx(3.0, abs=1e-6) and many.reason == "crowded (about 7 objects, 7 to 7)"


def suggest_all(images):
    found = {each.image: each for each in suggest(images, PLAIN, len(images))}
    return [found[image.name] for image in images]


def test_copies_are_suggested_once_and_near_ones_late():
    images = [looked(f"copy {k}", [0.5], 10) for k in range(5)]
    images += [looked("like it", [0.5], 11), looked("other", [0.9], 120), looked("another", [0.95], 230)]
    found = [each.image for each in suggest(images, None, 8)]
    assert found == ["copy 0", "other", "another", "like it"]
    assert [each.image for each in suggest(images, None, 2)] == ["copy 0", "other"]


def test_without_known_figures_nothing_is_unlike_and_nothing_seen_has_its_reason():
    (only,) = suggest([looked("a", [], 0)], PLAIN[:5], 3) or [None]
    assert only is None  # there is nothing to learn there that is known
    (best,) = suggest([looked("a", [0.05], 0, PLAIN[0])], PLAIN[:5], 3)
    assert best.unlike == 0.0 and best.reason == "the best place has P = 0.05"


def test_a_contact_sheet_has_a_tile_for_each_picture():
    pictures = [Image.new("RGB", size, "red") for size in ((640, 480), (100, 300), (9, 9))]
    captions = ["a long reason " * 40, "b", "c"]
    sheet = contact_sheet(list(zip(pictures, captions, strict=True)), columns=2)
    assert sheet.size == (2 * (TILE[0] + GAP) + GAP, 2 * (TILE[1] + LINES * CAPTION + GAP) + GAP)
    assert sheet.getpixel((GAP + 160, GAP + 120)) == (255, 0, 0)
    below = np.asarray(sheet)[GAP + TILE[1] : GAP + TILE[1] + CAPTION, GAP : GAP + TILE[0]]
    assert below.min() < 100 and below.max() == 255  # written on
