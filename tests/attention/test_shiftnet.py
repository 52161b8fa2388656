"""Claims about the ShiftNet, its pairs and its training."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pictures import in_disc, plain

from foveate.attention import shiftnet
from foveate.attention.settings import CLOSER
from foveate.attention.shiftnet import ShiftNet, change_between, follow, middle, move, to_gaze, window
from foveate.errors import BadInput
from foveate.scenes import gaze
from foveate.scenes.glimpse import contexts, glimpses
from foveate.scenes.pyramid import Pyramids
from foveate.storage.checkpoints import Checkpoints
from foveate.training.labels import Objects
from foveate.training.pairs import draw_pairs
from foveate.training.settings import FINE, AppearanceSettings, PairSettings, ShiftNetSettings
from foveate.training.shiftnet import pair_loss, train_shiftnet


@pytest.fixture(scope="module")
def scenes():
    """Noise with one bright disc in each image, and where it is."""
    rng = np.random.default_rng(0)
    images, gazes = [], []
    for _ in range(12):
        h, w, s = rng.integers(60, 90), rng.integers(70, 100), rng.uniform(8, 16)
        x, y = rng.uniform(20, w - 20), rng.uniform(20, h - 20)
        disc = in_disc(h, w, x, y, s)[..., None]
        images.append(np.where(disc, [0.9, 0.8, 0.2], rng.uniform(0, 0.5, (h, w, 3))))
        gazes.append([s, 0.0, x, y])
    return Pyramids.from_images(images), Objects(torch.arange(12), torch.tensor(gazes, dtype=torch.float64))


@pytest.fixture(scope="module")
def net():
    net = ShiftNet()
    net.reset(torch.Generator().manual_seed(0))
    return net.requires_grad_(False)


def test_the_weights_are_those_of_the_table():
    counts = [p.numel() for name, p in ShiftNet().named_parameters() if name.endswith("weight")]
    assert counts == [2352, 1200, 7_929_856, 4096]


def test_the_layers_are_those_of_the_table(net, monkeypatch):
    """Written out layer by layer as the table has it: ReLU before pooling, the product, two full layers."""
    monkeypatch.setenv("FOVEATE_PRECISION", "float32")
    rng = torch.Generator().manual_seed(1)
    x, v = torch.rand(3, 3, 72, 72, generator=rng), torch.randn(3, 3, 24, 24, generator=rng)
    brought = (x - x.mean((1, 2, 3), keepdim=True)) / (x.std((1, 2, 3), keepdim=True) + 0.02)
    two = F.relu(F.conv2d(brought, net.look.weight, net.look.bias))
    three = F.max_pool2d(two, 3)
    four = F.relu(F.conv2d(v, net.expect.weight, net.expect.bias, padding=1))
    assert two.shape == (3, 16, 66, 66) and three.shape == four.shape == (3, 16, 22, 22)
    six = F.relu(F.linear((three * four).flatten(1), net.combine.weight, net.combine.bias))
    seven = F.linear(six, net.shift.weight, net.shift.bias)
    assert torch.allclose(net(x, v), seven * torch.tensor(shiftnet.UNIT), atol=1e-5)
    assert torch.allclose(net.features(x, v), six, atol=1e-4)


def test_light_and_contrast_do_not_move_a_gaze(net):
    rng = torch.Generator().manual_seed(2)
    x, v = torch.rand(2, 3, 72, 72, generator=rng), torch.randn(2, 3, 24, 24, generator=rng)
    assert torch.allclose(net(10 * x, v), net(50 * x + 3, v), atol=1e-2 * float(net(10 * x, v).abs().max()))


def test_the_change_between_two_gazes_moves_the_one_to_the_other():
    rng = np.random.default_rng(3)
    u, target = (
        gaze.from_scale_angle(
            *(
                torch.from_numpy(x)
                for x in (rng.uniform(9, 20, 50), rng.uniform(-3, 3, 50), *rng.uniform(0, 20, (2, 50)))
            )
        )
        for _ in range(2)
    )
    delta = change_between(u, target)
    assert torch.allclose(gaze.compose(u, to_gaze(delta)), target, atol=1e-9)
    assert torch.allclose(move(u, delta), target, atol=1e-9)  # within the longest step
    far = move(u, torch.tensor([[9.0, 0.0, 99.0, 0.0]]).expand(50, 4))
    assert torch.allclose(gaze.scale(far) / gaze.scale(u), torch.full((50,), math.exp(shiftnet.LONGEST[0])).double())


def test_pairs_lead_to_their_object_and_show_it(scenes):
    pyramids, objects = scenes
    still = AppearanceSettings(*[0.0] * 9)
    settings = PairSettings(near=1.0, search=0.0, whole=0.0, in_mind=0.0, appearance=still)
    pairs = draw_pairs(pyramids, objects, plain, settings, None, 64, 0, 0)
    assert torch.allclose(gaze.compose(pairs.start, to_gaze(pairs.delta.double())), pairs.target, atol=1e-3)
    assert torch.allclose(pairs.v, pairs.context[:, :, 24:48, 24:48] - 0.5)
    at_rest = pairs.delta.abs().amax(1) < 0.05
    assert at_rest.any() and (pairs.context[at_rest][:, 0, 33:39, 33:39] > 0.7).all()  # the disc is in the middle


def test_mirrored_pairs_are_the_mirror_images_of_the_others(scenes):
    pyramids, objects = scenes
    still = AppearanceSettings(*[0.0] * 9)
    same = draw_pairs(pyramids, objects, plain, PairSettings(appearance=still), None, 16, 0, 5)
    flipped = draw_pairs(pyramids, objects, plain, PairSettings(appearance=replace(still, mirror=1.0)), None, 16, 0, 5)
    assert torch.equal(same.context, flipped.context.flip(-1)) and (flipped.mirrored == -1).all()
    assert torch.equal(same.delta * torch.tensor([1.0, -1.0, -1.0, 1.0]), flipped.delta)


def test_the_same_seed_and_step_give_the_same_pairs_and_others_give_others(scenes):
    pyramids, objects = scenes
    first, again, other = (
        draw_pairs(pyramids, objects, plain, PairSettings(), None, 32, 7, step) for step in (3, 3, 4)
    )
    assert torch.equal(first.context, again.context) and torch.equal(first.delta, again.delta)
    assert not torch.equal(first.delta, other.delta)


def test_the_loss_is_the_mean_squared_error_and_weighs_near_pairs_as_said():
    rng = torch.Generator().manual_seed(0)
    predicted, delta = torch.randn(9, 4, generator=rng), torch.randn(9, 4, generator=rng)
    unit = torch.tensor(shiftnet.UNIT)
    plain_error = ((predicted - delta) / unit).square().mean()
    assert torch.isclose(pair_loss(predicted, delta, ShiftNetSettings(near_weight=1e6)), plain_error)
    zero = torch.zeros(1, 4)
    assert torch.isclose(pair_loss(zero + unit, zero, ShiftNetSettings(near_weight=0.5)), torch.tensor(1.25 / 0.25))


def test_training_learns_and_resumes_to_the_same_bits(scenes, tmp_path):
    pyramids, objects = scenes
    settings = ShiftNetSettings(steps=12, batch=16, report_every=4, checkpoint_every=5)
    records = []
    whole = train_shiftnet(pyramids, objects, plain, settings, 0, log=records.append)
    assert [r["step"] for r in records] == [4, 8, 12] and all(math.isfinite(r["loss"]) for r in records)

    class Stop(Exception):
        pass

    def stop(record):
        if record["step"] == 8:
            raise Stop

    kept = Checkpoints(tmp_path)
    with pytest.raises(Stop):
        train_shiftnet(pyramids, objects, plain, settings, 0, checkpoints=kept, log=stop)
    again = []
    resumed = train_shiftnet(pyramids, objects, plain, settings, 0, checkpoints=kept, log=again.append)
    assert again == records[1:], "the losses before the checkpoint at step 5 count too"
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    other = train_shiftnet(pyramids, objects, plain, settings, 1)
    assert not torch.equal(other.shift.weight, whole.shift.weight)


def test_a_saved_network_is_read_back_and_a_damaged_one_refused(net, tmp_path):
    net.save(tmp_path / "net.safetensors")
    assert torch.equal(ShiftNet.load(tmp_path / "net.safetensors").combine.weight, net.combine.weight)
    from foveate.storage.files import save_tensors

    save_tensors(tmp_path / "bad.safetensors", {**net.state_dict(), "shift.weight": torch.zeros(4, 3)})
    with pytest.raises(BadInput, match=r"shift\.weight"):
        ShiftNet.load(tmp_path / "bad.safetensors")


def test_closer_up_the_middle_of_the_context_is_still_the_glimpse(scenes):
    """At the ordinary distance to the bit; closer up to what averaging four finer samples changes."""
    pyramids, objects = scenes
    seen = glimpses(pyramids, objects.image, objects.gaze)
    ordinary = middle(contexts(pyramids, objects.image, window(objects.gaze, 1.0)), 1.0)
    closer = middle(contexts(pyramids, objects.image, window(objects.gaze, CLOSER)), CLOSER)
    assert torch.equal(ordinary, seen)
    unshrunk = middle(contexts(pyramids, objects.image, objects.gaze), CLOSER)
    assert (closer - seen).abs().mean() < 0.4 * (unshrunk - seen).abs().mean()
    with pytest.raises(BadInput, match=r"0\.3"):
        ShiftNet(0.3)


def test_pairs_of_the_fine_network_are_near_and_their_delta_leads_to_the_object(scenes):
    pyramids, objects = scenes
    pairs = draw_pairs(pyramids, objects, plain, FINE.pairs, None, 64, 0, 0)
    back = pairs.delta.double() * torch.stack((torch.ones(64), pairs.mirrored, pairs.mirrored, torch.ones(64)), 1)
    assert torch.allclose(move(pairs.start, back), pairs.target, rtol=1e-4, atol=1e-3)
    assert pairs.delta[:, 2:].abs().max() < 1.2 and pairs.delta[:, 0].abs().max() < 1.0
    same = draw_pairs(pyramids, objects, plain, replace(FINE.pairs, closer=1.0), None, 64, 0, 0)
    assert torch.equal(same.start, pairs.start) and not torch.equal(same.context, pairs.context)


def test_a_fine_network_learns_where_a_disc_is_to_a_fraction_of_its_radius(scenes):
    """From a coarse one's weights; mean distance of the centre before and after two of its steps."""
    pyramids, objects = scenes
    settings = replace(
        FINE, steps=60, batch=32, rate=0.02, warm_up=10, decay=0.9,
        pairs=replace(FINE.pairs, appearance=AppearanceSettings(composite=0.0, cover=0.0)),
    )  # fmt: skip
    fine = train_shiftnet(pyramids, objects, plain, settings, 0)
    assert fine.closer == CLOSER
    away = torch.tensor([0.1, 0.0, 0.2, -0.15], dtype=torch.float64).expand(len(objects.image), 4)
    start = gaze.compose(objects.gaze, to_gaze(away))
    end = follow(fine, plain, pyramids, objects.image, start, 2)[-1]
    distance = [torch.hypot(*(u[:, 2:] - objects.gaze[:, 2:]).T) / gaze.scale(objects.gaze) for u in (start, end)]
    assert distance[1].mean() < 0.6 * distance[0].mean()
