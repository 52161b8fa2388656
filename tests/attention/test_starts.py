"""Where gazes set out, how they are followed, and what was found being an object."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from foveate.attention.attend import search
from foveate.attention.evidence import MEASURED, Background, Evidence
from foveate.attention.models import Models
from foveate.attention.periphery import UNIT, Periphery, standard
from foveate.attention.proposals import glance, look_again, propose, support
from foveate.attention.settings import AttendSettings, SearchSettings
from foveate.attention.shiftnet import ShiftNet, follow, look, move, sound
from foveate.boltzmann.dbn import GaussianDBN
from foveate.errors import BadInput
from foveate.scenes import gaze
from foveate.scenes.glimpse import share_outside
from foveate.scenes.pyramid import Pyramids
from foveate.training.labels import ELSEWHERE, OBJECT, UNCLEAR, label


@pytest.fixture(scope="module")
def net():
    net = ShiftNet()
    net.reset(torch.Generator().manual_seed(0))
    return net.requires_grad_(False)


@pytest.fixture
def models():
    """A patch model and a network that know nothing, and a periphery that doubts nothing it sees."""
    rng, gdbn, shiftnet, periphery = torch.Generator().manual_seed(0), GaussianDBN(1728, 5, 4), ShiftNet(), Periphery()
    shiftnet.reset(rng)
    periphery.reset(rng)
    with torch.no_grad():
        periphery.head.weight.normal_(0, 0.1, generator=rng)
    evidence = Evidence(Background.normal(torch.zeros(1728), torch.eye(1728)), 0.0, None, None)
    return Models(gdbn, shiftnet.requires_grad_(False), evidence, None, periphery.requires_grad_(False).eval())


def test_a_search_sets_out_from_the_proposals_and_leads_them_on(models, monkeypatch):
    """Proposals, one step, and what speaks for each where it ends, put together by hand."""
    monkeypatch.setenv("FOVEATE_PRECISION", "float32")
    rng = np.random.default_rng(2)
    pyramids = Pyramids.from_images([rng.integers(0, 256, (120, 150, 3)).astype(np.uint8)])
    settings = AttendSettings(search=SearchSettings(most=7, floor=0.01, coarse=1))
    found = search(models, pyramids, settings)
    folded = models.periphery.folded(torch.float32)
    answers = glance(folded, pyramids)
    proposals = propose(answers, settings.search)
    index = torch.zeros(len(proposals.gazes), dtype=torch.int64)
    led = follow(models.shiftnet, models.canonical, pyramids, index, proposals.gazes, 1)
    kept = sound(led[-1], pyramids)
    assert 2 < kept.sum() <= 7
    torch.testing.assert_close(found.trails, led[:, kept])
    ends = led[-1, kept]
    want = {
        "proposal": support(answers, ends),
        "again": look_again(folded, pyramids, ends),
        "outside": share_outside(pyramids, index[kept], ends),
    }
    for name, value in want.items():
        np.testing.assert_allclose(found.measured[:, MEASURED.index(name)], value, atol=1e-5)


def test_a_second_look_is_the_glance_at_the_place_alone(models, monkeypatch):
    """A place that is upright and of the unit's size is looked at in the picture's own pixels."""
    monkeypatch.setenv("FOVEATE_PRECISION", "float32")
    image = np.random.default_rng(3).integers(0, 256, (96, 96, 3)).astype(np.uint8)
    at = torch.tensor([[UNIT, 0.0, 48.0, 48.0]], dtype=torch.float64)
    folded = models.periphery.folded(torch.float32)
    with torch.inference_mode():
        outputs = folded(standard(torch.from_numpy(image), torch.float32).permute(2, 0, 1)[None])
    want = outputs[0, 0, 5:8, 5:8].max()
    assert look_again(folded, Pyramids.from_images([image]), at).item() == pytest.approx(want.item(), abs=1e-3)
    twice = Pyramids.from_images([image.repeat(2, 0).repeat(2, 1)])
    assert look_again(folded, twice, 2 * at).item() == pytest.approx(want.item(), abs=1e-3)


def test_a_run_without_a_periphery_looks_from_a_single_start_alone(models):
    older = replace(models, periphery=None)
    pyramids = Pyramids.from_images([np.zeros((50, 60, 3), np.uint8)])
    assert search(older, pyramids, AttendSettings(starts="one")).trails.shape[0] == 11
    with pytest.raises(BadInput, match="made by an older version, train again"):
        search(older, pyramids, AttendSettings())


def test_the_single_start_covers_the_image_with_its_context():
    u = gaze.covering(400, 300)
    box = gaze.to_boxes(gaze.compose(u, torch.tensor([3.0, 0.0, 0.0, 0.0], dtype=torch.float64)))[0]
    assert box[0] <= 0 and box[1] <= 0 and box[2] >= 400 and box[3] >= 300


def test_following_is_looking_and_moving_again_and_again(net):
    rng = np.random.default_rng(1)
    pyramids = Pyramids.from_images([rng.integers(0, 256, (80, 90, 3)).astype(np.uint8)])
    at = torch.tensor([[12.0, 5, 20, 30], [20, 0, 40, 40], [8, -8, 60, 70], [30, 1, 45, 40], [9, 9, 80, 10]])
    starts = at.double()
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
