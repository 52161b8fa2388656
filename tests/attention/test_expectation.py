"""Claims about the expectation step."""

import numpy as np
import torch

from foveate.attention.background import Gaussian
from foveate.attention.calibration import Calibration
from foveate.attention.evidence import Evidence
from foveate.attention.expectation import Attended, Places, reselect
from foveate.attention.gallery import Gallery
from foveate.attention.models import Models
from foveate.attention.pairs import Objects
from foveate.attention.shiftnet import ShiftNet
from foveate.boltzmann.dbn import GaussianDBN
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


def test_a_new_patch_model_chooses_among_the_places_of_each_scene():
    """A model that knows just what is to be seen at the object: it outweighs a score that was misled, to a degree.

    The score prefers another place by one nat in scenes 0 and 1, by a thousand in 2; in 3 nothing was found.
    """
    true = torch.tensor([[22.0, 4.0, 75.0 - 2 * k, 70.0 - k] for k in range(4)], dtype=torch.float64)
    elsewhere = torch.tensor([[22.0, 4.0, 45.0 - 2 * k, 40.0 - k] for k in range(4)], dtype=torch.float64)
    gallery = Gallery(
        Pyramids.from_images([blobs(k) for k in range(4)]), [f"{k}.png" for k in range(4)],
        Objects(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4, dtype=torch.float64)), [], []
    )  # fmt: skip
    gdbn = GaussianDBN(D, 2, 2)
    gdbn.patch.mean.fill_(0.5)
    gdbn.patch.std.fill_(0.2)
    seen = glimpses(gallery.pyramids, torch.zeros(1, dtype=torch.int64), true[:1])
    gdbn.grbm.b.data.copy_(((seen - 0.5) / 0.2).flatten())
    gdbn.grbm.log_sigma.data.fill_(-1.0)
    flat = Gaussian(torch.zeros(D), torch.eye(D))
    calibration = Calibration(0.0, 1.0, 1.0, 0.0, positives=5, negatives=5)
    evidence = Evidence(flat, 0.0, ShiftNet(), None, calibration, 100.0, torch.full((4,), 0.1, dtype=torch.float64))
    models = Models(gdbn, ShiftNet(), evidence)
    gazes = torch.stack((true[:3], elsewhere[:3]), 1).reshape(-1, 4)
    places = Places(torch.tensor([0, 0, 1, 1, 2, 2]), gazes, torch.tensor([0.0, 1, 0, 1, 0, 1000]).double())
    u = torch.cat((elsewhere[:3], torch.full((1, 4), torch.nan, dtype=torch.float64)))
    one, three = torch.ones(4), torch.zeros(4, 3, dtype=torch.float64)
    attended = Attended(u, one, one, three, ["", "", "", "nothing found"], places)
    again = reselect(models, gdbn, gallery, attended)
    chosen, odds = again.u, torch.tensor([0.0, 0.0, 1000.0, 1.0])
    assert torch.equal(again.score, odds), "the scores of the places chosen; what was not found keeps its own"
    expected = torch.from_numpy(calibration.probability(odds.numpy())).float()
    assert torch.allclose(again.probability[:3], expected[:3]) and again.probability[3] == 1
    assert torch.equal(chosen[:2], true[:2]) and torch.equal(chosen[2], elsewhere[2])
    assert torch.isnan(chosen[3]).all() and torch.equal(attended.u[:3], elsewhere[:3])
