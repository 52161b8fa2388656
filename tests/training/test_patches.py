"""Patches of an epoch: jittered by what is asked, and by more where a gaze was inferred."""

import numpy as np
import torch

from foveate.scenes.pyramid import Pyramids
from foveate.training.labels import Objects
from foveate.training.patches import aligned_patches, jittered_patches
from foveate.training.settings import PatchSettings

STILL = PatchSettings(copies=3, log_scale=0.0, turn=0.0, shift=0.0, mirror=False)


def scenes(count: int) -> tuple[Pyramids, Objects]:
    """Ramps along x, each with a slope of its own, with a gaze in the middle of each."""
    ramp = np.linspace(0, 1, 80)[None, :, None] * np.ones((80, 1, 3))
    images = [ramp * (k + 1) / count for k in range(count)]
    gazes = torch.tensor([[12.0, 0.0, 40.0, 40.0]], dtype=torch.float64).repeat(count, 1)
    return Pyramids.from_images(images), Objects(torch.arange(count), gazes)


def slope(patches: torch.Tensor) -> torch.Tensor:
    """Angle of the gradient of each patch, radians: minus the turn of the gaze it was seen through."""
    across = (patches[:, 0, :, 1:] - patches[:, 0, :, :-1]).mean((1, 2))
    down = (patches[:, 0, 1:] - patches[:, 0, :-1]).mean((1, 2))
    return torch.atan2(-down, across)


def test_known_gazes_without_jitter_give_the_aligned_patches_in_another_order():
    pyramids, objects = scenes(5)
    drawn = jittered_patches(pyramids, objects, STILL, 0, 1)
    aligned = aligned_patches(pyramids, objects)
    which = (drawn.mean((1, 2, 3))[:, None] - aligned.mean((1, 2, 3))).abs().argmin(1)
    assert torch.bincount(which).tolist() == [3] * 5
    assert torch.allclose(drawn, aligned[which], atol=1e-6)


def test_inferred_gazes_vary_by_their_deviation_and_known_ones_do_not():
    pyramids, objects = scenes(400)
    unsure = torch.zeros(400, 4, dtype=torch.float64)
    unsure[200:, 1] = 0.2
    drawn = jittered_patches(pyramids, objects, STILL, 0, 1, unsure)
    known = drawn.mean((1, 2, 3)) < 0.5 * 200.5 / 400  # the mean is half the ramp's height
    turns = slope(drawn)
    assert int(known.sum()) == 600
    assert turns[known].abs().max() < 1e-3
    assert abs(turns[~known].std() - 0.2) < 0.02 and abs(turns[~known].mean()) < 0.03


def test_deviations_add_in_squares_to_those_of_the_settings():
    pyramids, objects = scenes(300)
    turned = PatchSettings(copies=4, log_scale=0.0, turn=0.15, shift=0.0, mirror=False)
    unsure = torch.tensor([[0.0, 0.2, 0.0, 0.0]], dtype=torch.float64).expand(300, 4)
    assert abs(slope(jittered_patches(pyramids, objects, turned, 0, 1, unsure)).std() - 0.25) < 0.02
