"""Folders of the same kind are seldom called strange, others mostly; and it is said in what they differ."""

import numpy as np
import pytest
import torch

from foveate.attention.familiarity import FEWEST, FIGURES, LEVEL, Strange, compare, figures_of, told
from foveate.scenes.pyramid import Pyramids

K = len(FIGURES)
GAZE = torch.tensor([[20.0, 0.0, 60.0, 50.0]], dtype=torch.float64)


def measured(pixels: np.ndarray, gazes: torch.Tensor = GAZE, score: float = 1.0) -> dict[str, float]:
    found = figures_of(Pyramids.from_images([pixels]), gazes, np.full(len(gazes), score))
    return dict(zip(FIGURES, found.tolist(), strict=True))


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 200, (25, 30, 3)).repeat(4, 0).repeat(4, 1)
    return (coarse + rng.integers(0, 5, coarse.shape)).astype(np.uint8)


def test_folders_of_the_same_kind_are_called_strange_as_seldom_as_is_said():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(K, K))  # figures of an image depend on each other
    alarms = sum(
        compare(rng.normal(size=(100, K)) @ mixing, rng.normal(size=(50, K)) @ mixing) is not None for _ in range(400)
    )
    assert alarms <= 400 * LEVEL + 4 * np.sqrt(400 * LEVEL)


def test_what_differs_is_named_first_with_the_share_of_images_beyond_the_known():
    rng = np.random.default_rng(0)
    known, seen = rng.normal(size=(100, K)), rng.normal(size=(50, K))
    seen[:, 3] += 8.0
    seen[:, 5] += 1.5
    strange = compare(known, seen)
    assert strange is not None and strange.figures == [FIGURES[3], FIGURES[5]] and strange.share == 1.0
    assert strange.p < 1e-10 and FIGURES[3] in told(strange, 50, 100) and "100 %" in told(strange, 50, 100)


def test_of_too_few_images_nothing_is_said():
    far = np.full((FEWEST - 1, K), 100.0)
    assert compare(np.random.default_rng(0).normal(size=(100, K)), far) is None
    assert compare(far, np.zeros((50, K))) is None
    assert isinstance(compare(np.random.default_rng(0).normal(size=(100, K)), np.full((FEWEST, K), 100.0)), Strange)


def test_images_without_a_gaze_are_compared_by_their_own_figures():
    rng = np.random.default_rng(0)
    known, seen = rng.normal(size=(100, K)), rng.normal(size=(50, K)) + 5.0
    seen[:, :5] = np.nan
    strange = compare(known, seen)
    assert strange is not None and not set(strange.figures) & set(FIGURES[:5])


def test_each_figure_follows_what_it_is_named_after(picture):
    before = measured(picture)
    assert all(np.isfinite(value) for value in before.values())
    dark, noisy = (
        measured(picture // 2),
        measured(picture + np.random.default_rng(1).integers(0, 40, picture.shape).astype(np.uint8)),
    )
    assert (
        dark["brightness"] < before["brightness"]
        and dark["brightness of the object"] < before["brightness of the object"]
    )
    assert dark["contrast"] < before["contrast"] and noisy["fine detail"] > before["fine detail"]
    assert dark["sharpness"] == pytest.approx(before["sharpness"], abs=0.05)
    grey = measured(np.repeat(picture.mean(2, keepdims=True).astype(np.uint8), 3, 2))
    assert grey["colour"] < before["colour"] and grey["colour balance"] == pytest.approx(0.0, abs=1e-6)
    small = measured(picture, GAZE * torch.tensor([0.5, 0.5, 1.0, 1.0]))
    assert small["size"] == pytest.approx(before["size"] - np.log(2))
    none = measured(picture, GAZE[:0])
    assert np.isnan(none["score"]) and none["brightness"] == before["brightness"]
