"""Copies that are harder to see hold the objects of their scenes, and are worse the more they are spoilt."""

import numpy as np
import pytest
import torch

from foveate.runtime.progress import Quiet
from foveate.scenes.pyramid import Pyramids, Store
from foveate.training.gallery import Gallery
from foveate.training.labels import Objects
from foveate.training.synthetic.degraded import LEAST, WAYS, degrade, degraded


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    """Two scenes of stripes with an object in the middle, and a region that is ignored."""
    wave = (np.sin(np.arange(120) / 2)[:, None] * np.sin(np.arange(160) / 3)[None] * 100 + 128).astype(np.uint8)
    images = [np.repeat(wave[..., None], 3, 2), np.repeat(wave[::-1, :, None], 3, 2)]
    gazes = torch.tensor([[30.0, 5.0, 80.0, 60.0], [20.0, 0.0, 70.0, 50.0]], dtype=torch.float64)
    ignore = [torch.tensor([[0.0, 0.0, 10.0, 10.0]], dtype=torch.float64)] * 2
    return Gallery(Pyramids.from_images(images, Store()), ["a", "b"], Objects(torch.arange(2), gazes), ignore, [])


def change(gallery: Gallery, way: str, amount: float) -> float:
    """Mean absolute change of a scene's pixels."""
    pixels = degrade(gallery, 0, way, amount, np.random.default_rng(0)).pixels
    before = (gallery.pyramids.level(0, 0) >> 8).astype(float)
    return float(np.abs(pixels - before).mean())


@pytest.mark.parametrize("way", [way for way in WAYS if way != "shrunk"])
def test_more_of_it_changes_more_and_objects_stay(gallery, way):
    assert change(gallery, way, 0.1) < change(gallery, way, 0.5) < change(gallery, way, 1.0)
    made = degrade(gallery, 0, way, 0.5, np.random.default_rng(0))
    assert torch.equal(made.gazes, gallery.of(0)) and torch.equal(made.ignore, gallery.ignore[0])


def test_shrunk_objects_are_as_small_as_the_least_and_what_is_annotated_goes_along(gallery):
    made = degrade(gallery, 0, "shrunk", 1.0, np.random.default_rng(0))
    factor = LEAST / float(torch.hypot(*gallery.of(0)[0, :2]))
    assert torch.allclose(made.gazes, gallery.of(0) * factor)
    assert torch.allclose(made.ignore, gallery.ignore[0] * factor)
    assert made.pixels.shape[:2] == (round(120 * factor), round(160 * factor))


def test_copies_depend_on_the_seed_and_on_names_alone(gallery):
    first, again = (degraded(gallery, [0, 1], 3, 7, Quiet(), Store()) for _ in range(2))
    alone = degraded(gallery, [0], 3, 7, Quiet(), Store())
    other = degraded(gallery, [0], 3, 8, Quiet(), Store())
    assert first.names == again.names and len(first.names) == 6 and alone.names == first.names[:3]
    assert np.array_equal(alone.pyramids.level(2, 0), first.pyramids.level(2, 0))
    assert other.names != alone.names
