"""Claims about what the periphery is told, what it is shown, and its training."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pictures import in_disc

from foveate.attention.periphery import LEAST, MOST, STRIDE, UNIT, Periphery, standard
from foveate.attention.proposals import Answers, glance, logit_of, propose
from foveate.attention.settings import SearchSettings
from foveate.errors import Interrupted
from foveate.runtime.progress import Progress, Quiet
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids
from foveate.storage.checkpoints import Checkpoints
from foveate.training.gallery import Gallery
from foveate.training.labels import Objects
from foveate.training.periphery import train as periphery
from foveate.training.periphery.loss import (
    NEAR,
    TURN,
    cell_centres,
    errors,
    periphery_loss,
    quality_of,
    targets,
)
from foveate.training.periphery.patches import make_patches
from foveate.training.periphery.train import (
    draw_batch,
    mine,
    period_of,
    sources_of,
    train_periphery,
    turned,
    turned_objects,
)
from foveate.training.periphery.views import BLOCKS, LARGE, SIDE, Plan, Source
from foveate.training.settings import PeripherySettings, SidewaysSettings, TrainSettings

CELLS = SIDE // STRIDE
DISC, BELOW = (230, 200, 40), (40, 60, 230)
SMALL = TrainSettings(
    periphery=PeripherySettings(
        steps=6, batch=4, pools=2, patches=8, clutter=1, report_every=2, checkpoint_every=2
    ),
    sideways=SidewaysSettings(share=0.3),
)  # fmt: skip


@pytest.fixture(autouse=True)
def whole_numbers(monkeypatch):
    monkeypatch.setenv("FOVEATE_PRECISION", "float32")


def noise(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 120, (160, 200, 3)).astype(np.uint8) for _ in range(count)]


def gallery_of(images, gazes, ignore=None, period=None):
    """Each image with one object, or none where its gaze is None."""
    image = torch.tensor([k for k, u in enumerate(gazes) if u is not None], dtype=torch.int64)
    there = torch.tensor([u for u in gazes if u is not None], dtype=torch.float64).reshape(-1, 4)
    period = None if period is None else torch.tensor(period, dtype=torch.int64)
    ignore = ignore or [torch.zeros(0, 4, dtype=torch.float64) for _ in images]
    names = [f"{k}.png" for k in range(len(images))]
    return Gallery(Pyramids.from_images(images), names, Objects(image, there, period), ignore, [])


@pytest.fixture(scope="module")
def discs():
    """Noise with a disc whose lower half is of another colour: it has an angle, and is the same in a mirror."""
    rng = np.random.default_rng(0)
    images, gazes = noise(12), []
    for pixels in images:
        s, x, y, angle = rng.uniform(24, 40), rng.uniform(60, 140), rng.uniform(50, 110), rng.uniform(-3, 3)
        rows, columns = np.mgrid[0:160, 0:200] + 0.5
        inside = in_disc(160, 200, x, y, s)
        below = (rows - y) * math.cos(angle) - (columns - x) * math.sin(angle) > 0
        pixels[inside], pixels[inside & below] = DISC, BELOW
        gazes.append([s * math.cos(angle), s * math.sin(angle), x, y])
    return gallery_of(images, gazes)


def patch_with(*objects):
    """One patch's objects, (s, angle in degrees, x, y, period) each."""
    rows = torch.zeros(1, 16, 5)
    for k, (s, degrees, x, y, period) in enumerate(objects):
        angle = math.radians(degrees)
        rows[0, k] = torch.tensor([s * math.cos(angle), s * math.sin(angle), x, y, period])
    return rows


NOTHING = torch.zeros(1, BLOCKS, BLOCKS, dtype=torch.bool)


def test_cells_near_an_object_answer_for_it_and_those_around_are_not_asked():
    told = targets(patch_with((12, 0, 60, 52, 360)), NOTHING, CELLS)
    for cell, (x, y) in enumerate(cell_centres(CELLS).tolist()):
        distance = math.hypot(x - 60, y - 52) / 12
        assert told.owner[0, cell] == (0 if distance <= NEAR else -1)
        assert told.asked[0, cell] == (distance <= NEAR or distance > 1)


@pytest.mark.parametrize("x", [47.9, 50.0, 52.4, 56.4])
def test_an_object_of_the_least_size_is_always_answered_for(x):
    told = targets(patch_with((LEAST, 0, x, 44.4, 360)), NOTHING, CELLS)
    assert (told.owner == 0).any()
    assert told.owner[0, torch.linalg.vector_norm(cell_centres(CELLS) - torch.tensor([x, 44.4]), dim=1).argmin()] == 0


@pytest.mark.parametrize(("s", "asked_there"), [(LEAST / 1.3, True), (7, False), (20, False), (MOST * 1.3, True)])
def test_objects_of_another_level_are_not_answered_for_nor_denied_near_the_limits(s, asked_there):
    told = targets(patch_with((s, 0, 64.5, 64.5, 360)), NOTHING, CELLS)
    assert (told.owner == -1).all()
    assert told.asked[0, 8 * CELLS + 8] == asked_there
    assert told.asked.float().mean() > 0.9


def test_a_cell_between_two_objects_answers_for_the_nearer_in_half_sides():
    told = targets(patch_with((10, 0, 60, 64.5, 360), (18, 0, 73, 64.5, 360)), NOTHING, CELLS)
    owner = told.owner.view(CELLS, CELLS)
    assert owner[8, 7] == 0 and owner[8, 8] == 0 and owner[8, 9] == 1  # 4.5 / 10 < 8.5 / 18


def test_ignored_blocks_are_not_asked_but_an_object_in_them_is():
    ignored = NOTHING.clone()
    ignored[0, :, :16] = True
    told = targets(patch_with((12, 0, 32.5, 32.5, 360)), ignored, CELLS)
    asked = told.asked.view(CELLS, CELLS)
    assert asked[:, 8:].all() and asked[4, 4] and told.owner.view(CELLS, CELLS)[4, 4] == 0
    assert asked[:, :8].sum() == (told.owner == 0).sum()


def answers_for(s, degrees, x, y, at, harmonic=1):
    angle = math.radians(degrees) * harmonic
    told = [(x - at[0]) / UNIT, (y - at[1]) / UNIT, math.log(s / UNIT), math.cos(angle), math.sin(angle)]
    return torch.tensor(told, dtype=torch.float64)[:, None]


AT = torch.tensor([[60.0, 52.0]], dtype=torch.float64)


def target_of(s, degrees, x, y, period):
    return patch_with((s, degrees, x, y, period))[0, :1].double()


@pytest.mark.parametrize("period", [360, 180, 90])
@pytest.mark.parametrize("told", [360, 180, 90])
def test_angles_that_look_the_same_are_equally_right(period, told):
    if told < period:
        return  # no network tells less than its objects have
    harmonic, target = 360 // told, target_of(12, 20, 62, 50, period)
    for turns in range(360 // period):
        answers = answers_for(12, 20 + turns * period, 62, 50, AT[0], harmonic)
        assert errors(answers, target, AT, harmonic).abs().max() < 1e-5
        assert quality_of(answers, target, AT, harmonic).item() == pytest.approx(1, abs=1e-5)
    wrong = answers_for(12, 20 + period / 2, 62, 50, AT[0], harmonic)
    assert quality_of(wrong, target, AT, harmonic).item() == pytest.approx(0, abs=1e-5)


def test_an_object_without_an_angle_is_right_at_any():
    target = target_of(12, 20, 62, 50, 0)
    for degrees in (0, 77, 200):
        answers = answers_for(12, degrees, 62, 50, AT[0])
        assert errors(answers, target, AT, 1).abs().max() < 1e-5
        assert quality_of(answers, target, AT, 1).item() == pytest.approx(1, abs=1e-5)
    assert errors(answers_for(12, 5, 62, 50, AT[0]), target, AT, 0)[3:].abs().max() == 0


def test_errors_and_quality_are_those_of_the_formulas():
    target = target_of(12, 30, 62, 50, 360)
    answers = answers_for(15, 75, 65, 46, AT[0])
    turn = TURN * np.array([math.cos(1.309) - math.cos(0.5236), math.sin(1.309) - math.sin(0.5236)])
    want = [3 / 12, -4 / 12, math.log(15 / 12), *turn]
    np.testing.assert_allclose(errors(answers, target, AT, 1)[:, 0], want, atol=1e-4)
    boxes = torch.tensor([[50.0, 31, 80, 61], [50.0, 38, 74, 62]], dtype=torch.float64)
    overlap = gaze.iou(boxes[:1], boxes[1:]).item()
    want = overlap * (0.5 + 0.5 * math.cos(math.radians(45)))
    assert quality_of(answers, target, AT, 1).item() == pytest.approx(want, rel=1e-5)


def test_the_nearest_of_equal_angles_is_told():
    target = target_of(12, 170, 0, 0, 180)
    own, period = gaze.angle(target[:, :4]), target[:, 4]
    for to, nearest in ((0.1, -10), (3.0, 170)):
        told = gaze.nearest_angle(torch.tensor([to], dtype=torch.float64), own, period)
        assert told.item() == pytest.approx(math.radians(nearest))


def test_the_loss_is_its_formula_summed_by_hand_and_quality_is_no_lever():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(1, 6, CELLS, CELLS, generator=generator, requires_grad=True)
    objects = patch_with((12, 40, 60, 52, 360), (9, -60, 100.5, 92.5, 180))
    told = targets(objects, NOTHING, CELLS)
    loss = periphery_loss(outputs, objects, told, 1)
    focal, huber, answering = 0.0, 0.0, 0
    for cell, at in enumerate(cell_centres(CELLS)):
        value = outputs.detach()[0].flatten(1)[:, cell]
        owner, quality = int(told.owner[0, cell]), torch.zeros(1)
        if owner >= 0:
            target = objects[0, owner : owner + 1]
            quality = quality_of(value[1:, None], target, at[None], 1)
            for error in errors(value[1:, None], target, at[None], 1)[:, 0].tolist():
                huber += abs(error) - 0.05 if abs(error) > 0.1 else 5 * error**2
            answering += 1
        if told.asked[0, cell]:
            p = torch.sigmoid(value[0])
            entropy = -(quality * torch.log(p) + (1 - quality) * torch.log(1 - p))
            focal += ((quality - p) ** 2 * entropy).item()
    assert answering >= 2
    assert loss.item() == pytest.approx((focal + huber) / answering, rel=1e-4)
    (gradient,) = torch.autograd.grad(loss, outputs)
    step = 1e-3 * gradient / gradient.norm()
    rise = periphery_loss(outputs + step, objects, told, 1) - periphery_loss(outputs - step, objects, told, 1)
    logits_alone = torch.zeros_like(gradient)
    logits_alone[:, 0] = gradient[:, 0]
    assert rise.item() != 0 and logits_alone.abs().sum() > 0
    silent = told.asked.view(CELLS, CELLS) | (told.owner.view(CELLS, CELLS) >= 0)
    assert (gradient[0, :, ~silent] == 0).all()


@pytest.mark.parametrize("k", range(8))
def test_a_turned_patch_has_its_objects_where_they_are_seen(k):
    """A disc with a darker half, drawn, turned as pixels, and found again where the turned object says."""
    rows, columns = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    objects = patch_with((14, 25, 40, 70, 360))

    def drawn(u, mirrored):
        a, b, x, y = u[:4].tolist()
        s, (dx, dy) = math.hypot(a, b), (columns - x, rows - y)
        right, down = (dx * a + dy * b) / s, (-dx * b + dy * a) / s
        seen = (-right if mirrored else right) + 2 * down
        return torch.where(dx**2 + dy**2 < s**2, 10 + seen / s, 0.0)

    want = drawn(turned_objects(objects, k)[0, 0], k >= 4)
    torch.testing.assert_close(turned(drawn(objects[0, 0], False), k), want, atol=1e-4, rtol=1e-4)


def test_plans_say_where_objects_are_seen(discs):
    """At an object's place patches show the disc's colours, the other one below; some are covered, or seen coarsely."""
    patches = make_patches([Source(discs, range(12))], 60, seed=1, pool=0)
    right = []
    for pixels, objects in zip(patches.pixels.float(), patches.objects, strict=True):
        for a, b, x, y, _ in objects.tolist():
            if 8 <= math.hypot(a, b) <= 18:
                halves = [pixels[:, int(y + f * a), int(x - f * b)] for f in (0.5, -0.5)]
                off = [
                    (half - torch.tensor(want)).abs().max() for half, want in zip(halves, (BELOW, DISC), strict=True)
                ]
                right.append(max(off) < 70)
    assert len(right) > 40 and np.mean(right) > 0.8


def test_patches_hold_objects_of_the_sizes_that_are_looked_for_and_blocks_where_they_are_cut(discs):
    patches = make_patches([Source(discs, range(12))], 40, seed=0, pool=0)
    s = gaze.scale(patches.objects[..., :4])
    assert ((s >= LEAST) & (s <= MOST)).any(1).float().mean() > 0.5
    assert (s > 0).any(1).float().mean() < 1
    assert patches.ignored.any() and not patches.ignored.flatten(1).all(1).any()


def test_ignored_regions_of_scenes_are_ignored_wherever_they_show():
    """Scenes that are ignored as a whole: every block that shows one is."""
    images = noise(3)
    everything = [torch.tensor([[-1e6, -1e6, 1e6, 1e6]], dtype=torch.float64) for _ in images]
    patches = make_patches([Source(gallery_of(images, [None] * 3, everything), range(3))], 6, seed=0, pool=0)
    assert patches.ignored.all() and (patches.objects == 0).all()


def test_periods_go_with_objects(discs):
    known = discs._replace(objects=discs.objects._replace(angle_period=torch.tensor([90] * 12)))
    patches = make_patches([Source(known, range(12))], 10, seed=0, pool=0)
    there = gaze.scale(patches.objects[..., :4]) > 0
    assert (patches.objects[..., 4][there] == 90).all()
    assert period_of(known.objects) == 90 and period_of(discs.objects) == 360
    mixed = known.objects._replace(angle_period=torch.tensor([90, 180] * 6))
    assert period_of(mixed) == 180


def test_patches_depend_on_seed_pool_and_number_alone(discs):
    sources = [Source(discs, range(12))]
    some, more = make_patches(sources, 3, 0, 1), make_patches(sources, 70, 0, 1)
    assert torch.equal(some.pixels, more.pixels[:3]) and torch.equal(some.objects, more.objects[:3])
    other = make_patches(sources, 3, 0, 2)
    assert not torch.equal(some.pixels, other.pixels)
    batch = draw_batch(more, SMALL.periphery, True, 0, 5)
    assert torch.equal(batch.planes, draw_batch(more, SMALL.periphery, True, 0, 5).planes)
    assert not torch.equal(batch.planes, draw_batch(more, SMALL.periphery, True, 0, 6).planes)


def test_small_scenes_and_tiny_objects_make_patches_too():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (30, 24, 3)).astype(np.uint8) for _ in range(4)]
    gallery = gallery_of(images, [[3.0, 0, 12, 12], [10.0, 0, 12, 15], None, None])
    patches = make_patches([Source(gallery, range(4))], 12, seed=0, pool=0)
    assert (gaze.scale(patches.objects[..., :4]) <= 1.5 * 10 + 1e-3).all()
    plan = Plan([Source(gallery, [2, 3])], np.random.default_rng(0))
    assert plan.layers and not plan.objects, "scenes without any object teach that there is none"


class StopAt(Progress):
    """Is asked to stop at a step."""

    def __init__(self, step):
        self.step = step

    def show(self, tick):
        if tick.name == "periphery" and tick.done >= self.step:
            raise Interrupted


def test_training_is_the_same_to_the_bit_wherever_it_was_stopped(discs, tmp_path):
    want = train_periphery(discs, range(12), SMALL, Quiet()).state_dict()
    log = []
    for step in (1, 3, 5):
        with pytest.raises(Interrupted):
            train_periphery(discs, range(12), SMALL, StopAt(step), Checkpoints(tmp_path), log.append)
    got = train_periphery(discs, range(12), SMALL, Quiet(), Checkpoints(tmp_path), log.append).state_dict()
    assert all(torch.equal(want[name], got[name]) for name in want)
    other = train_periphery(discs, range(12), replace(SMALL, seed=1), Quiet()).state_dict()
    assert not torch.equal(want["head.weight"], other["head.weight"])


def test_it_learns_to_find_what_it_was_shown(discs):
    """In scenes of the same kind that it didn't see, the best proposal is at the object and knows its angle."""
    settings = TrainSettings(periphery=PeripherySettings(steps=200, batch=8, pools=1, patches=200, clutter=4))
    net = train_periphery(discs, range(9), settings)
    for image in (9, 10, 11):
        found = propose(glance(net.folded(torch.float32), discs.pyramids, image), SearchSettings())
        truth = discs.of(image)
        assert gaze.iou(gaze.to_boxes(found.gazes[:1]), gaze.to_boxes(truth)).item() > 0.4
        turn = gaze.angle_difference(gaze.angle(found.gazes[0]), gaze.angle(truth[0]))
        assert abs(turn.item()) < 0.6


def test_a_network_goes_on_from_another(discs):
    start = Periphery()
    start.reset(torch.Generator().manual_seed(5))
    still = replace(SMALL, periphery=replace(SMALL.periphery, steps=1, pools=1, rate=1e-9))
    net = train_periphery(discs, range(12), still, start=start)
    torch.testing.assert_close(net.head.weight, start.head.weight, atol=1e-6, rtol=0)


def test_pixels_go_in_without_rounding():
    pixels = torch.arange(256, dtype=torch.uint8)
    torch.testing.assert_close(
        standard(pixels, torch.bfloat16).float(), standard(pixels, torch.float32), atol=0, rtol=0
    )
    assert F.relu(standard(pixels, torch.float32)).max() > 2 and LARGE > MOST


class Sees:
    """Stands for a network: what it proposes of each image is given."""

    def __init__(self, monkeypatch, proposals):
        def glance(net, pyramids, image):
            u, p = zip(*proposals.get(image, [([1.0, 0, 0, 0], 0.04)]), strict=True)
            return Answers(torch.tensor(u, dtype=torch.float64), torch.tensor([logit_of(each) for each in p]))

        monkeypatch.setattr(periphery, "glance", glance)


class Said(Quiet):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_what_looks_more_like_an_object_than_many_is_ignored_and_the_rest_is_hard(monkeypatch):
    """Ten objects found with .5 to .95; elsewhere one at .9, nobody's, one at .3, and one in an ignored region."""
    ignore = [torch.zeros(0, 4, dtype=torch.float64) for _ in range(11)]
    ignore[3] = torch.tensor([[0.0, 0, 40, 40]], dtype=torch.float64)
    gallery = gallery_of(noise(11), [[20.0, 0, 100, 80]] * 10 + [None], ignore)
    right, other, away = [20.0, 0, 101, 80], [10.0, 0, 20, 20], [9.0, 1, 150, 30]
    seen = {k: [(right, 0.5 + 0.05 * k)] for k in range(10)}
    seen[2] += [(other, 0.9), (away, 0.3)]
    seen[3] += [(other, 0.9)]
    seen[10] = [(away, 0.2), ([20.0, 0, 100, 80], 0.97)]
    Sees(monkeypatch, seen)
    said = Said()
    found = mine(Periphery(), gallery, range(11), said)
    assert said.lines == ["2 places where nothing is annotated look like objects: not taken as empty"]
    assert found["likely.image"].tolist() == [2, 10]
    assert found["hard.image"].tolist() == [2, 10]
    assert found["likely.gaze"].tolist() == [other, [20.0, 0, 100, 80]]
    few = mine(Periphery(), gallery, range(9), Quiet())
    assert not len(few["likely.image"]), "nothing is said of what objects look like by nine of them"


def test_hard_places_are_shown_at_the_size_of_objects_and_likely_objects_are_ignored(discs):
    """Scenes of noise and one square that was mistaken for an object: it is seen, and nothing else is told of it."""
    images = noise(2)
    images[0][60:100, 60:100] = (0, 255, 0)
    place = torch.tensor([[20.0, 0, 80, 80]], dtype=torch.float64)
    memory = {"hard.image": torch.tensor([0]), "hard.gaze": place}
    memory |= {"likely.image": torch.zeros(0, dtype=torch.int64), "likely.gaze": place[:0]}
    gallery = gallery_of(images, [None, None])
    settings = TrainSettings(periphery=PeripherySettings(clutter=0), sideways=SidewaysSettings(share=0.0))
    (source,) = sources_of(gallery, range(2), memory, settings, 0, Quiet())
    patches = make_patches([source], 40, 0, 0)
    green = (patches.pixels[:, 1].int() - patches.pixels[:, 0].int() > 150).flatten(1).sum(1)
    assert (green > 0).float().mean() > 0.4
    assert (green[green > 0] < (2 * LARGE) ** 2 * 1.2).float().mean() > 0.6
    assert not patches.ignored.any() and (patches.objects == 0).all()
    memory["likely.image"], memory["likely.gaze"] = memory["hard.image"], place
    (source,) = sources_of(gallery, range(2), memory, settings, 0, Quiet())
    again = make_patches([source], 40, 0, 0)
    assert torch.equal(again.pixels, patches.pixels)
    assert torch.equal(again.ignored.any(2).any(1), green > 0) or (again.ignored.any(2).any(1) | (green < 20)).all()
