"""Claims about pictures without an object."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from foveate.scenes.pyramid import Pyramids
from foveate.training.gallery import Gallery
from foveate.training.labels import Objects
from foveate.training.settings import ClutterSettings
from foveate.training.synthetic import clutter as kinds
from foveate.training.synthetic.clutter import clutter

SETTINGS = ClutterSettings(long=96, short=72, leaves=60)


@pytest.fixture(scope="module")
def gallery():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (80, 110, 3)).astype(np.uint8) for _ in range(3)]
    gazes = torch.tensor([[20.0, 0.0, 50.0, 40.0]] * 3, dtype=torch.float64)
    nothing = [torch.zeros(0, 4, dtype=torch.float64)] * 3
    return Gallery(Pyramids.from_images(images), ["a", "b", "c"], Objects(torch.arange(3), gazes), nothing, [])


def test_nothing_is_annotated_in_them_and_each_depends_on_its_number_alone(gallery):
    few, more = (clutter(gallery, range(3), count, 7, SETTINGS) for count in (5, 9))
    assert len(more.names) == len(set(more.names)) == len(more.ignore) == 9
    assert not len(more.objects.image)
    for k in range(5):
        np.testing.assert_array_equal(few.pyramids.level(k, 0), more.pyramids.level(k, 0))
    other = clutter(gallery, range(3), 5, 8, SETTINGS)
    assert all(
        few.pyramids.level(k, 0).shape != other.pyramids.level(k, 0).shape
        or (few.pyramids.level(k, 0) != other.pyramids.level(k, 0)).any()
        for k in range(5)
    )


def test_none_of_no_pictures(gallery):
    assert clutter(gallery, range(3), 0, 0, SETTINGS).names == []


def test_a_spectrum_keeps_its_moduli_and_loses_its_phases():
    scene = np.random.default_rng(1).random((72, 96, 3)).astype(np.float32)
    made = kinds._spectrum((72, 96), scene, np.random.default_rng(2), SETTINGS)
    before, after = (np.fft.rfft2(picture, axes=(0, 1)) for picture in (scene, made))
    inner = np.s_[1:, 1:-1]  # at the borders a real picture's coefficients are real, and only the sign is left
    np.testing.assert_allclose(np.abs(after)[inner], np.abs(before)[inner], rtol=1e-3)
    agreement = np.cos(np.angle(after) - np.angle(before))[inner]
    assert abs(agreement.mean()) < 0.05
    np.testing.assert_allclose(made.mean((0, 1)), scene.mean((0, 1)), atol=1e-6)


def test_radii_have_the_density_of_a_scene_that_has_no_scale():
    """The distribution function of a density ~ r^-3 on [a, b] is (a^-2 - r^-2) / (a^-2 - b^-2)."""
    radii = kinds._radii(4000, np.random.default_rng(3), SETTINGS)
    a, b = SETTINGS.smallest**-2, SETTINGS.largest**-2
    assert kstest(radii, lambda r: (a - r**-2.0) / (a - b)).pvalue > 1e-3


def test_leaves_cover_the_ground_with_colours_of_the_scene():
    scene = np.zeros((4, 4, 3), np.float32)
    scene[..., 1] = 1.0
    made = kinds._leaves((72, 96), scene, np.random.default_rng(4), SETTINGS)
    assert made.shape == (72, 96, 3)
    assert abs(made[..., 0]).max() < 0.4 and made[..., 1].mean() > 0.8


def test_noise_does_not_know_its_neighbours_beyond_a_block():
    for seed in range(6):
        made = kinds._noise((240, 240), np.zeros((4, 4, 3), np.float32), np.random.default_rng(seed), SETTINGS)[..., 0]
        far = made[:, SETTINGS.block :], made[:, : -SETTINGS.block]
        assert abs(np.corrcoef(far[0].ravel(), far[1].ravel())[0, 1]) < 0.08


def test_gratings_lie_between_two_colours_of_the_scene():
    scene = np.full((4, 4, 3), 0.5, np.float32)
    made = kinds._gratings((72, 96), scene, np.random.default_rng(5), SETTINGS)
    assert abs(made - 0.5).max() < 0.5 and abs(made.mean() - 0.5) < 0.01


def test_writing_is_ink_on_paper_and_most_of_a_page_stays_paper():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        made = kinds._writing((240, 320), np.zeros((1, 1, 3), np.float32), rng, SETTINGS).mean(2)
        if np.ptp(made) < 0.5:
            continue  # in the one colour of this scene
        ink = made < (made.min() + made.max()) / 2
        assert 0.02 < ink.mean() < 0.5
        assert ink.mean(1).max() > 2 * ink.mean(1).min(), "lines, and what is between them"
