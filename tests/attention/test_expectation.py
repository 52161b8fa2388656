"""Claims about the expectation step."""

import numpy as np
import torch

from foveate.attention.attend import POSTERIOR, AttendSettings
from foveate.attention.background import Gaussian
from foveate.attention.evidence import Evidence
from foveate.attention.expectation import realign
from foveate.attention.gallery import Gallery
from foveate.attention.models import Models
from foveate.attention.pairs import Objects
from foveate.attention.shiftnet import ShiftNet, change_between, to_gaze
from foveate.boltzmann.dbn import GaussianDBN
from foveate.progress import Quiet
from foveate.scenes import gaze
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids

D = 3 * 24 * 24


def blobs(seed: int) -> np.ndarray:
    """One picture, cropped by a few pixels, so that an object stands elsewhere in each scene."""
    rng, whole = np.random.default_rng(7), np.full((150, 170, 3), 0.5)
    y, x = np.mgrid[0:150, 0:170] + 0.5
    for _ in range(60):
        centre, width = rng.uniform(0, 160, 2), rng.uniform(5, 14)
        bump = np.exp(-0.5 * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / width**2)
        whole += 0.3 * bump[..., None] * rng.uniform(-1, 1, 3)
    return whole.clip(0, 1)[seed : seed + 140, 2 * seed : 2 * seed + 140]


def test_gazes_are_moved_to_where_the_patch_model_has_the_object_and_others_stay():
    """A model that knows just what is to be seen there: gazes led astray by a tenth come back."""
    gallery_images = [blobs(k) for k in range(5)]
    true = torch.tensor([[22.0, 4.0, 75.0 - 2 * k, 70.0 - k] for k in range(5)], dtype=torch.float64)
    gallery = Gallery(
        Pyramids.from_images(gallery_images), [f"{k}.png" for k in range(5)],
        Objects(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4, dtype=torch.float64)), [], []
    )  # fmt: skip
    gdbn = GaussianDBN(D, 2, 2)
    gdbn.patch.mean.fill_(0.5)
    gdbn.patch.std.fill_(0.2)
    seen = glimpses(gallery.pyramids, torch.zeros(1, dtype=torch.int64), true[:1])
    gdbn.grbm.b.data.copy_(((seen - 0.5) / 0.2).flatten())
    gdbn.grbm.log_sigma.data.fill_(-1.0)
    flat = Gaussian(torch.zeros(D), torch.eye(D))
    evidence = Evidence(flat, 0.0, ShiftNet(), None, None, 20.0, torch.full((4,), 0.1, dtype=torch.float64))
    models = Models(gdbn, ShiftNet(), evidence)
    astray = gaze.compose(true, to_gaze(torch.tensor([0.08, -0.1, 0.08, 0.1]).double().expand(5, 4)))
    settings = AttendSettings(posterior=POSTERIOR)
    moved = realign(models, gallery, astray, [0, 1, 2, 4], settings, Quiet(), "realigning")
    left = change_between(true, moved).abs()
    assert torch.equal(moved[3], astray[3])
    assert left[[0, 1, 2, 4]].max() < 0.035, "of 0.1"
    again = realign(models, gallery, astray, [4, 1], settings, Quiet(), "realigning")
    assert torch.equal(again[[1, 4]], moved[[1, 4]]), "a scene's result does not depend on the others"
