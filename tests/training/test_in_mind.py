"""Pairs with one object in mind: what they show, what v is of, and that a network learns which one is meant."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pictures import in_disc, plain

from foveate.attention.shiftnet import follow, to_gaze
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids
from foveate.training.labels import Objects
from foveate.training.pairs import draw_pairs, feed_back
from foveate.training.settings import AppearanceSettings, PairSettings, ShiftNetSettings
from foveate.training.shiftnet import train_shiftnet

STILL = AppearanceSettings(*[0.0] * 9)
COLOURS = ([0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9])
ONLY_BESIDE = PairSettings(near=1.0, search=0.0, whole=0.0, in_mind=1.0, appearance=STILL)


@pytest.fixture(scope="module")
def scenes():
    """Grey noise with one disc in each image, red, green or blue by turns, and where it is."""
    rng = np.random.default_rng(0)
    images, gazes = [], []
    for k in range(12):
        s, x, y = rng.uniform(9, 14), *rng.uniform(35, 65, 2)
        disc = in_disc(100, 100, x, y, s)[..., None]
        images.append(np.where(disc, COLOURS[k % 3], rng.uniform(0.3, 0.5, (100, 100, 1))))
        gazes.append([s, 0.0, x, y])
    return Pyramids.from_images(images), Objects(torch.arange(12), torch.tensor(gazes, dtype=torch.float64))


def colour(planes):
    """Which channel is brightest in the middle of [n, 3, h, w]."""
    middle = planes.shape[-1] // 2
    return planes[:, :, middle - 2 : middle + 2, middle - 2 : middle + 2].mean((2, 3)).argmax(1)


def test_v_is_of_the_target_and_most_of_the_contexts_hold_another_object_at_its_place(scenes):
    pyramids, objects = scenes
    pairs = draw_pairs(pyramids, objects, plain, ONLY_BESIDE, None, 64, 0, 0)
    assert int((~pairs.alone).sum()) == 48
    assert torch.allclose(gaze.compose(pairs.start, to_gaze(pairs.delta.double())), pairs.target, atol=1e-3)
    uncovered = pairs.v.amax((1, 2, 3)) > 0.2  # not all of the light is left in every query
    assert (colour(pairs.v)[uncovered] == pairs.object[uncovered] % 3).double().mean() > 0.8
    centre = ((pairs.delta[:, 2:] + 3) * 12).round().long().clamp(2, 69)
    shown = torch.stack(
        [c[:, y - 1 : y + 2, x - 1 : x + 2].mean((1, 2)) for c, (x, y) in zip(pairs.context, centre, strict=True)]
    )
    assert (shown.argmax(1) == pairs.object % 3)[pairs.delta[:, 2:].abs().amax(1) < 2.6].all()
    vivid = (pairs.context.amax(1) - pairs.context.amin(1)) > 0.5
    kinds = [len(pairs.context[k].argmax(0)[vivid[k]].unique()) for k in range(64)]
    assert max(kinds[k] for k in torch.nonzero(pairs.alone)[:, 0]) == 1
    both = [kinds[k] == 2 for k in torch.nonzero(~pairs.alone)[:, 0]]
    assert np.mean(both) > 0.3  # others are alike, or out of sight


def test_a_mirrored_pair_has_a_mirrored_v_and_none_beside_another_is_fed_back(scenes):
    pyramids, objects = scenes
    same = draw_pairs(pyramids, objects, plain, ONLY_BESIDE, None, 32, 0, 5)
    flipped = replace(ONLY_BESIDE, appearance=replace(STILL, mirror=1.0))
    mirrored = draw_pairs(pyramids, objects, plain, flipped, None, 32, 0, 5)
    assert torch.equal(same.v.flip(-1), mirrored.v) and torch.equal(same.context.flip(-1), mirrored.context)
    assert len(feed_back(same, torch.zeros(32, 4)).object) <= int(same.alone.sum())


def test_the_mean_patch_stands_for_every_other_glimpse_and_for_nothing_that_is_in_mind(scenes):
    pyramids, objects = scenes
    mean = torch.full((3, 24, 24), 7.0)
    some = draw_pairs(pyramids, objects, plain, replace(ONLY_BESIDE, in_mind=0.4), None, 64, 0, 0, mean=mean)
    is_mean = (some.v == 7.0).all(1).all(1).all(1)
    assert not is_mean[1::2].any() and 10 < int(is_mean[::2].sum()) < 32 and not is_mean[~some.alone].any()


def test_a_network_goes_to_the_one_of_two_that_v_shows(scenes):
    pyramids, objects = scenes
    pairs = replace(ONLY_BESIDE, near=0.5, search=0.5)
    how = ShiftNetSettings(steps=70, batch=32, rate=0.03, warm_up=10, decay=0.95, pairs=pairs)
    net = train_shiftnet(pyramids, objects, plain, how, 0)
    picture = np.full((80, 160, 3), 0.4)
    for x, kind in ((50, 0), (110, 1)):
        picture[in_disc(80, 160, x, 40, 12)] = COLOURS[kind]
    both, here = Pyramids.from_images([picture]), torch.zeros(1, dtype=torch.int64)
    for kind, x in ((0, 50), (1, 110)):
        v = torch.full((1, 3, 24, 24), 0.4)
        v[:, :, 4:20, 4:20] = torch.tensor(COLOURS[kind])[:, None, None]
        start = torch.tensor([[16.0, 0.0, 80.0, 40.0]], dtype=torch.float64)
        end = follow(net, lambda glimpse, v=v: v - 0.5, both, here, start, 3)[-1]
        assert abs(float(end[0, 2]) - x) < 15
