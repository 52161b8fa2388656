"""Claims about searching images, and about what was found being an object."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from foveate.attention.search import start_gazes
from foveate.attention.settings import SearchSettings
from foveate.attention.shiftnet import ShiftNet, follow, look, move
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids
from foveate.training.labels import ELSEWHERE, OBJECT, UNCLEAR, label


@pytest.fixture(scope="module")
def net():
    net = ShiftNet()
    net.reset(torch.Generator().manual_seed(0))
    return net.requires_grad_(False)


@pytest.mark.parametrize(("width", "height"), [(512, 384), (100, 900), (30, 30), (8, 5), (2000, 1500)])
def test_every_object_is_near_some_start(width, height):
    """Whatever its place and size: within the reach, and the change of scale, that pairs are trained with."""
    settings = SearchSettings(angles=1)
    starts = start_gazes(width, height, settings)
    rng = np.random.default_rng(0)
    largest = max(width, height) / 2
    s = np.exp(rng.uniform(np.log(min(settings.smallest, 0.7 * largest)), np.log(largest), 200))
    centre = np.stack((rng.uniform(0, width, 200), rng.uniform(0, height, 200)), 1)
    scale = gaze.scale(starts).numpy()
    ratio = np.abs(np.log(s[:, None] / scale))
    offset = np.abs(centre[:, None] - starts[None, :, 2:].numpy()).max(-1) / scale
    assert ((ratio <= 0.8) & (offset <= 1.0)).any(1).all()


def test_starts_at_several_angles_are_the_same_starts_turned():
    one, four = (start_gazes(200, 150, SearchSettings(angles=k)) for k in (1, 4))
    assert len(four) == 4 * len(one)
    turned = {round(float(x), 3) for x in gaze.angle(four)}
    assert len(turned) == 4


def test_the_single_start_covers_the_image_with_its_context():
    u = gaze.covering(400, 300)
    box = gaze.to_boxes(gaze.compose(u, torch.tensor([3.0, 0.0, 0.0, 0.0], dtype=torch.float64)))[0]
    assert box[0] <= 0 and box[1] <= 0 and box[2] >= 400 and box[3] >= 300


def test_following_is_looking_and_moving_again_and_again(net):
    rng = np.random.default_rng(1)
    pyramids = Pyramids.from_images([rng.integers(0, 256, (80, 90, 3)).astype(np.uint8)])
    starts = start_gazes(90, 80, SearchSettings(angles=1))[:5]
    index = torch.zeros(5, dtype=torch.int64)
    canonical = lambda glimpse: glimpse - 0.5  # noqa: E731
    trail = follow(net, canonical, pyramids, index, starts, 2)
    assert torch.equal(trail[0], starts) and trail.shape == (3, 5, 4)
    for before, after in pairwise(trail):
        assert torch.allclose(after, move(before, look(net, canonical, pyramids, index, before).change))


def test_labels_ask_for_overlap_and_for_the_angle():
    objects = torch.tensor([[20.0, 0.0, 100.0, 100.0]], dtype=torch.float64)
    turned = gaze.from_scale_angle(*torch.tensor([20.0, 1.5, 100.0, 100.0], dtype=torch.float64))
    gazes = torch.stack(
        [objects[0], turned, torch.tensor([20.0, 0, 112, 100]).double(), torch.tensor([20.0, 0, 200, 100]).double()]
    )
    nothing = torch.zeros(0, 4, dtype=torch.float64)
    assert label(gazes, objects, nothing).tolist() == [OBJECT, UNCLEAR, OBJECT, ELSEWHERE]
    crowd = torch.tensor([[180.0, 80.0, 220.0, 120.0]], dtype=torch.float64)
    assert label(gazes, objects, crowd).tolist() == [OBJECT, UNCLEAR, OBJECT, UNCLEAR]
    assert label(gazes, nothing, nothing).tolist() == [ELSEWHERE] * 4
